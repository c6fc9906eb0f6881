"""Servers that answer badly, or not at all: one line each, and never longer than the limit."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import msgspec
import pytest

from harness.attach.engines import ENGINES, known
from harness.attach.http import Refused, Server, Unanswered, server_at
from harness.errors import MachineError, RefusedError

LIMIT_S = 1.0
Answering = Callable[[socket.socket], None]
Start = Callable[[Answering], Server]


@pytest.fixture
def start() -> Iterator[Start]:
    """Serve each connection by a function, which gets the socket after the request."""
    listeners: list[socket.socket] = []

    def begin(answer: Answering) -> Server:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    try:
                        answer(connection)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        return server_at(f"http://127.0.0.1:{listener.getsockname()[1]}")

    yield begin
    for listener in listeners:
        listener.close()


def said(status: str, body: bytes = b"", *headers: str) -> Answering:
    head = "\r\n".join((f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""))
    return lambda connection: connection.sendall(head.encode() + body)


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.1)


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(20):
        connection.sendall(b"x" * (1 << 20))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (drip, "no whole answer came within 1 s"),
        (lambda _: time.sleep(5), "no whole answer came within 1 s"),
        (lambda connection: connection.sendall(b"SSH-2.0-x\r\n"), "it gave no answer in HTTP"),
        (lambda _: None, "it gave no answer in HTTP"),
        (
            lambda each: each.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500),
            "no answer in HTTP",
        ),
    ],
)
def test_what_is_no_answer_is_told_within_the_limit(
    start: Start, answer: Answering, why: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(Unanswered, match=why):
        start(answer).ask("GET", "/version", LIMIT_S)
    assert time.monotonic() - begun < 4 * LIMIT_S


def test_a_connection_that_took_the_whole_time_is_not_waited_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = HTTPConnection.connect

    def slowly(connection: HTTPConnection) -> None:
        time.sleep(1.2 * LIMIT_S)
        connect(connection)

    server = start(drip)
    monkeypatch.setattr(HTTPConnection, "connect", slowly)
    begun = time.monotonic()
    with pytest.raises(Unanswered, match="no whole answer came within 1 s"):
        server.ask("GET", "/version", LIMIT_S)
    assert time.monotonic() - begun < 4 * LIMIT_S


def test_an_answer_that_does_not_end_is_cut(start: Start) -> None:
    with pytest.raises(Unanswered, match="it answers with more than 8 MiB"):
        start(flood).ask("GET", "/version", 30.0)


def test_a_key_that_an_error_repeats_is_not_shown(start: Start) -> None:
    said_back = said("500 Oops", b'{"error": {"message": "no user has sk-1, as sk-1 says"}}')
    server = msgspec.structs.replace(start(said_back), key="sk-1")
    answer = server.ask("GET", "/version", LIMIT_S)
    assert answer.text == "no user has (key), as (key) says"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = server_at(f"http://127.0.0.1:{port}")
    assert not server.listens()
    with pytest.raises(Refused, match="nothing listens there"):
        server.ask("GET", "/version", LIMIT_S)


def test_a_name_that_nobody_knows_and_a_server_without_tls(start: Start) -> None:
    with pytest.raises(Unanswered, match=r"no host is known by the name no\.such\.invalid"):
        server_at("http://no.such.invalid").ask("GET", "/version", LIMIT_S)
    plain = start(said("200 OK"))
    secure = server_at(plain.url.replace("http", "https"))
    with pytest.raises(Unanswered, match="it does not speak TLS"):
        secure.ask("GET", "/version", LIMIT_S)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            said("302 Found", b"", "Location: http://evil.example/\x1b[31m"),
            r"/version: it sends on to http://evil\.example/\[U\+001B\]\[31m \(302\), and no",
        ),
        (said("401 Unauthorized"), r"it wants a key \(401\); --api-key-env NAME"),
        (said("403 Forbidden"), r"it wants a key \(403\)"),
        (
            said("503 Busy", b'{"error": {"message": "later\\n"}}'),
            r"it answers 503: later\[U\+000A\]",
        ),
        (said("200 OK", b"<html>"), "its answer is not what the engine says there"),
        (said("200 OK", b'{"version": 7}'), "its answer is not what the engine says there"),
        (said("200 OK", b"[" * 100_000), "its answer is not what the engine says there"),
        (said("200 OK", b"\xff\xfe"), "its answer is not what the engine says there"),
    ],
)
def test_what_is_no_engine_is_told(start: Start, answer: Answering, why: str) -> None:
    with pytest.raises(MachineError, match=why):
        known(start(answer), ENGINES["vllm"])


@pytest.mark.parametrize(
    "sizes",
    [
        *(b'"tp_size": 0', b'"tp_size": 99999999999', b'"dp_size": -1'),
        b'"tp_size": 60000, "pp_size": 60000',
    ],
)
def test_ranks_that_cannot_be(start: Start, sizes: bytes) -> None:
    server = start(said("200 OK", b'{"version": "0.5.23", ' + sizes + b"}"))
    with pytest.raises(MachineError, match="ranks, which cannot be"):
        known(server, ENGINES["sglang"])


@pytest.mark.parametrize(
    ("sizes", "ranks"),
    [
        ('"tp_size": 4, "pp_size": 2, "dp_size": 2, "attn_dp_size": 1', 16),
        ('"tp_size": 8, "dp_size": 1, "attn_dp_size": 8, "enable_dp_attention": true', 8),
        ('"tp_size": 8, "dp_size": 8, "enable_dp_attention": true', 8),  # before attn_dp_size
        ('"tp_size": 2, "dp_size": 2, "enable_dp_attention": false', 4),
    ],
)
def test_sglang_says_how_many_ranks_it_has(start: Start, sizes: str, ranks: int) -> None:
    server = start(said("200 OK", f'{{"version": "0.5.23", {sizes}}}'.encode()))
    assert known(server, ENGINES["sglang"]).ranks == ranks


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://host", "it must begin with http:// or https://"),
        ("localhost:30000", "it must begin with http:// or https://"),
        ("http://", "it names no host"),
        ("http://a b", "it names no host"),
        ("http://host:99999", "it is no URL"),
        ("http://host:0", "nothing listens at port 0"),
        ("http://host/?key=x", r"a server's address has no \? and no #"),
        ("http://[::1", "it is no URL"),
        ("http://host/ä", "its path has characters"),
    ],
)
def test_what_is_no_address_is_refused(url: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        server_at(url)


def test_credentials_in_a_url_are_refused_and_not_shown() -> None:
    with pytest.raises(RefusedError) as caught:
        server_at("http://me:secret@host:1")
    assert "secret" not in str(caught.value)
    assert "--api-key-env NAME" in str(caught.value)


def test_the_address_is_shown_whole() -> None:
    assert server_at("http://[::1]:30000/engine/").url == "http://[::1]:30000/engine"
    assert server_at("https://host").url == "https://host:443"
