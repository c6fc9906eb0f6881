"""Requests to 127.0.0.1 that ask a session for windows, by a token in a file of the user's.

``GET /status``, ``POST /windows`` and ``POST /stop``; what is sent and answered is JSON.
"""

from __future__ import annotations

import hmac
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NoReturn, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

from harness import files
from harness.errors import HarnessError, Problem, RefusedError, WriteError, refuse
from harness.sessions.trigger_file import LARGEST, Answer, answer_of, parsed
from harness.sessions.wanted import Wanted
from harness.sessions.window import Status, Window, state_of

HOST: Final = "127.0.0.1"
TOKEN: Final = "http-token"  # noqa: S105 - the name of its file
_IDLE_S: Final = 10.0
"""How long a client may take to say what it wants."""
_SHOWN: Final = 40
"""Characters of a header that are quoted."""
_ROUTES: Final = "GET /status, POST /windows, POST /stop"


class Endpoint:
    """The server; it answers while it is open."""

    def __init__(
        self,
        ask: Callable[[Wanted], Window],
        status: Callable[[], Status],
        folder: Path,
        port: int,
        suffix: str = "",
    ) -> None:
        """Bind the port, and write the token; 0: any free port.

        Args:
            ask: Opens a window.
            status: Tells what the session has seen.
            folder: Where the token is written.
            port: Of 127.0.0.1.
            suffix: The end of the token's file name.

        Raises:
            RefusedError: The port cannot be had.
            WriteError: The token cannot be written.
        """
        self._token = folder / f"{TOKEN}{suffix}"
        try:
            self._server = _Server((HOST, port), ask, status)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            fix = "http_port=0 for any free port"
            refuse([Problem(setting="http_port", given=str(port), reason=why, fix=fix)])
            raise AssertionError from error
        try:
            _write_token(self._token, self._server.token)
        except WriteError:
            self._server.server_close()
            raise
        self.url = f"http://{HOST}:{self._server.server_port}"
        """Without a slash at the end."""
        self._serving = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="harness-http", daemon=True
        )

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._serving.join()
        self._server.server_close()
        # Another session with this folder may have written its own.
        with suppress(OSError):
            if self._token.read_text(encoding="ascii").strip() == self._server.token:
                self._token.unlink()


def _write_token(path: Path, token: str) -> None:
    """Write it so that nobody else can read it, at any moment."""
    with files.failing_at(path):
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
            file.write(f"{token}\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A client that waits for a window must not keep the session from closing.
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        ask: Callable[[Wanted], Window],
        status: Callable[[], Status],
    ) -> None:
        self.ask, self.status = ask, status
        self.token = secrets.token_urlsafe(32)
        super().__init__(address, _Handler)

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that has gone: the program's output is its own."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_S
    server: _Server
    server_version = "harness"
    sys_version = ""

    def log_message(self, *_: Any) -> None:
        """Write nothing to the program's stderr."""

    def do_GET(self) -> None:
        """Answer ``GET /status``."""
        if not self._is_allowed():
            return
        if urlsplit(self.path).path != "/status":
            self._refuse(HTTPStatus.NOT_FOUND, f"there are {_ROUTES}")
            return
        status = self.server.status()
        window = None if status.window is None else answer_of(status.window)
        answer = {"steps": status.steps, "stages": status.stages, "window": window}
        self._send(HTTPStatus.OK, answer)

    def do_POST(self) -> None:
        """Answer ``POST /windows`` and ``POST /stop``."""
        if not self._is_allowed():
            return
        url = urlsplit(self.path)
        routes = {"/windows": self._window, "/stop": self._stop}
        if url.path not in routes:
            self._refuse(HTTPStatus.NOT_FOUND, f"there are {_ROUTES}")
            return
        try:
            routes[url.path](parse_qs(url.query, keep_blank_values=True))
        except RefusedError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except HarnessError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))

    def _window(self, query: dict[str, list[str]]) -> None:
        _check_query(query, ("until",))
        until = state_of(query.get("until", ["over"])[-1])
        window = self.server.ask(parsed(self._content()))
        window.wait(until)
        self._send(HTTPStatus.OK, answer_of(window))

    def _stop(self, query: dict[str, list[str]]) -> None:
        _check_query(query, ())
        window = self.server.status().window
        if window is None or window.state not in {"waiting", "recording"}:
            self._refuse(HTTPStatus.CONFLICT, "no window is open")
            return
        window.stop()
        self._send(HTTPStatus.OK, answer_of(window))

    def _content(self) -> bytes:
        encoding = self.headers.get("Transfer-Encoding")
        if encoding is not None:
            why, fix = "a request says its length", "send Content-Length instead"
            _refuse_header("Transfer-Encoding", encoding, why, fix)
        length = self.headers.get("Content-Length", "0")
        # Python reads no number of thousands of digits.
        digits = length.lstrip("0") or "0"
        is_number = length.isascii() and length.isdecimal() and len(digits) <= len(str(LARGEST))
        if not is_number or int(digits) > LARGEST:
            why, fix = f"a request has at most {LARGEST} bytes, and says how many", "send less"
            _refuse_header("Content-Length", length[:_SHOWN], why, fix)
        content = self.rfile.read(int(digits))
        if len(content) < int(digits):
            why = f"{len(content)} bytes came: a part of a request asks for something else"
            _refuse_header("Content-Length", length, why, "send all of it")
        return content

    def _is_allowed(self) -> bool:
        """Tell whether the token was sent; else answer."""
        # A page in the user's browser may reach the port by a name of its own.
        host = self.headers.get("Host", "").partition(":")[0]
        word = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if host not in {HOST, "localhost"}:
            self._refuse(HTTPStatus.FORBIDDEN, f"the host is {HOST}")
        elif not hmac.compare_digest(word.encode(), self.server.token.encode()):
            why = f"send Authorization: Bearer TOKEN, with the token in {TOKEN} of the folder"
            self._refuse(HTTPStatus.UNAUTHORIZED, why)
        else:
            return True
        return False

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, Answer(accepted=False, reason=reason))

    def _send(self, status: HTTPStatus, answer: Any) -> None:
        content = msgspec.json.encode(answer) + b"\n"
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def _refuse_header(name: str, given: str, reason: str, fix: str) -> NoReturn:
    raise RefusedError([Problem(setting=name, given=given, reason=reason, fix=fix)])


def _check_query(query: dict[str, list[str]], known: tuple[str, ...]) -> None:
    """Refuse words that mean nothing here.

    Raises:
        RefusedError: There are some.
    """
    fix = "?until=recording" if known else "take it out"
    why = "the steps are asked for in the body, and the address says at most until when to wait"
    refuse(
        [
            Problem(setting=name, given=values[-1], reason=why, fix=fix)
            for name, values in query.items()
            if name not in known
        ]
    )
