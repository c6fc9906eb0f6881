"""Windows that are asked for from outside: by requests to the loopback, by a file."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import torch

import harness
from harness.sessions import trigger_file

LIMIT_S = 60.0


class Program:
    """Makes steps in a thread of its own, until it is ended."""

    def __init__(self, session: harness.Session) -> None:
        self.session = session
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine")

    def _run(self) -> None:
        while not self._ended.wait(0.002):
            for stage in ("prefill", "decode"):
                with self.session.step(stage, batch=4):
                    torch.ones(3, 5) @ torch.ones(5, 7)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[harness.Session]:
    with harness.Session(out=tmp_path / "out", http_port=0, trigger_file=True) as session:
        yield session


def ask(
    session: harness.Session,
    method: str,
    path: str,
    body: str = "",
    **headers: str,
) -> tuple[int, dict[str, Any]]:
    port = int(session.address.rpartition(":")[2])
    word = (session.folder / "http-token").read_text(encoding="ascii").strip()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    sent = {"Authorization": f"Bearer {word}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    connection.request(method, path, body, sent)
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_a_request_is_answered_when_the_window_is_over(session: harness.Session) -> None:
    with Program(session):
        status, answer = ask(session, "POST", "/windows", '{"steps": 2, "stage": "decode"}')
    folder = session.folder / "000"
    assert (status, answer) == (
        200,
        {
            "accepted": True,
            "reason": "",
            "window": 0,
            "folder": str(folder),
            "state": "over",
            "verdict": "delivered",
        },
    )
    assert harness.load(folder).analyses["stages"]["stage"].to_list() == ["decode"]


def test_a_request_may_wait_for_less(session: harness.Session) -> None:
    with Program(session):
        status, answer = ask(session, "POST", "/windows?until=recording", '{"steps": 100000}')
        assert (status, answer["state"]) == (200, "recording")
        # A second one is answered at once.
        status, answer = ask(session, "POST", "/windows")
        assert status == 409
        assert answer["accepted"] is False
        assert answer["reason"].startswith(
            "window 0 of the session is under way (100,000 steps: is"
        )
        status, answer = ask(session, "GET", "/status")
        assert (status, answer["stages"]) == (200, ["prefill", "decode"])
        assert answer["steps"] > 0
        assert answer["window"]["state"] == "recording"
        with pytest.warns(harness.HarnessWarning, match="by request"):
            status, answer = ask(session, "POST", "/stop")
            window = session.status.window
            assert window is not None
            assert window.wait(timeout=LIMIT_S)
        assert (status, answer["accepted"]) == (200, True)
        assert answer["state"] in {"writing", "reading", "over"}
    assert ask(session, "POST", "/stop")[0] == 409


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"steps": 0}', "steps=0: a window records from 1 to 100,000 steps"),
        ('{"at_step": -1, "min_batch": 0}', "min_batch=0: it is 1 or more"),
        ('{"staeg": "decode"}', "unknown field `staeg`"),
        ('{"steps": "5"}', "Expected `int | null`, got `str`"),
        ("import os", "no JSON object"),
        ("[" * 3000, "no JSON object"),
        ('{"when": "later"}', "the next steps"),
    ],
)
def test_a_bad_request_says_what_is_wrong(session: harness.Session, body: str, reason: str) -> None:
    status, answer = ask(session, "POST", "/windows", body)
    assert (status, answer["accepted"]) == (400, False)
    assert reason in answer["reason"]
    assert session.status.window is None


@pytest.mark.parametrize(
    ("query", "lines", "body", "reason"),
    [
        ("", ["Content-Length: 30"], "", "Content-Length=30: 0 bytes came"),
        ("", ["Content-Length: 30"], "{}", "Content-Length=30: 2 bytes came"),
        ("", [f"Content-Length: {'1' * 5000}"], "", f"Content-Length={'1' * 40}: a request has at"),
        ("", ["Content-Length: -1"], "", "Content-Length=-1: a request has at most"),
        ("", ["Transfer-Encoding: chunked"], "2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding=chunked"),
        ("?stage=decode", [], "", "stage=decode: the steps are asked for in the body"),
        ("?untill", [], "", "untill: the steps are asked for in the body"),
    ],
)
def test_a_request_that_is_not_whole_asks_for_nothing(
    session: harness.Session, query: str, lines: list[str], body: str, reason: str
) -> None:
    status, answer = sent_raw(session, f"POST /windows{query} HTTP/1.1", lines, body)
    assert (status, answer["accepted"]) == (400, False)
    assert answer["reason"].startswith(reason)
    assert session.status.window is None


def sent_raw(
    session: harness.Session, first: str, lines: list[str], body: str, host: str = "127.0.0.1"
) -> tuple[int, dict[str, Any]]:
    word = (session.folder / "http-token").read_text(encoding="ascii").strip()
    # Without a port, as a client says it of port 80.
    head = [first, f"Host: {host}", f"Authorization: Bearer {word}", *lines]
    port = int(session.address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
        client.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    shown, _, content = answer.partition(b"\r\n\r\n")
    return int(shown.split()[1]), json.loads(content)


def test_a_host_may_be_without_its_port(session: harness.Session) -> None:
    assert sent_raw(session, "GET /status HTTP/1.0", [], "")[0] == 200
    assert sent_raw(session, "GET /status HTTP/1.1", [], "", host="evil.example")[0] == 403


def test_each_rank_has_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with ExitStack() as ranks:
        sessions = []
        for rank in ("0", "1"):
            monkeypatch.setenv("RANK", rank)
            one = harness.Session(out=tmp_path, read="later", http_port=0, trigger_file=True)
            sessions.append(ranks.enter_context(one))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["http-token.0", "http-token.1"]
        (tmp_path / "trigger.1").write_text('{"steps": -2}')
        answer, end = tmp_path / "trigger.answer.json.1", time.monotonic() + LIMIT_S
        while not answer.exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert not json.loads(answer.read_bytes())["accepted"]
        answer.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_session_removes_its_own_token_only(tmp_path: Path) -> None:
    one = harness.Session(out=tmp_path, read="later", http_port=0)
    with harness.Session(out=tmp_path, read="later", http_port=0):
        one.close()
        assert (tmp_path / "http-token").exists()
    assert list(tmp_path.iterdir()) == []


def test_nobody_gets_in_without_the_token(session: harness.Session) -> None:
    token = session.folder / "http-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert ask(session, "POST", "/windows", Authorization="Bearer wrong")[0] == 401
    assert ask(session, "POST", "/windows", Authorization="")[0] == 401
    assert ask(session, "GET", "/status", Authorization="Bearer \xe4")[0] == 401
    # A page in a browser that was led to the port by a name.
    status, answer = ask(session, "POST", "/windows", Host="evil.example:80")
    assert (status, answer["reason"]) == (403, "the host is 127.0.0.1")
    assert ask(session, "POST", "/windows?until=never")[0] == 400
    assert ask(session, "POST", "/windows", "x" * 5000)[0] == 400
    assert ask(session, "POST", "/", "")[0] == 404
    assert ask(session, "GET", "/windows")[0] == 404
    assert session.status.window is None
    assert session.address.startswith("http://127.0.0.1:")


def test_a_client_that_says_nothing_keeps_nothing_open(tmp_path: Path) -> None:
    with harness.Session(out=tmp_path, http_port=0) as session:
        port = int(session.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"POST /windows HTTP/1.1\r\nContent-Le")
            begun = time.monotonic()
            session.close()
            assert time.monotonic() - begun < 5
    assert not (tmp_path / "http-token").exists()


def test_a_port_that_is_taken_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(harness.RefusedError, match=f"http_port={port}: Address already in use"):
            harness.Session(out=tmp_path, http_port=port)
    with pytest.raises(harness.RefusedError, match="http_port=70000"):
        harness.Session(out=tmp_path, http_port=70000)
    # A client of another test may have gone meanwhile.
    assert threading.active_count() <= before
    assert list(tmp_path.iterdir()) == []


def answered(session: harness.Session) -> dict[str, Any]:
    path = session.folder / trigger_file.ANSWER
    end = time.monotonic() + LIMIT_S
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    answer: dict[str, Any] = json.loads(path.read_bytes())
    path.unlink()
    return answer


def told(session: harness.Session, state: str) -> dict[str, Any]:
    """Return the answer that says that the window has come to a state."""
    path = session.folder / trigger_file.ANSWER
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        if path.exists() and (answer := json.loads(path.read_bytes()))["state"] == state:
            path.unlink()
            found: dict[str, Any] = answer
            return found
        time.sleep(0.01)
    raise AssertionError(state)


def test_a_file_asks_for_a_window(session: harness.Session) -> None:
    trigger = session.folder / trigger_file.TRIGGER
    with Program(session):
        trigger.write_text('{"steps": 2, "stage": "prefill"}')
        answer = answered(session)
        assert not trigger.exists()
        assert (answer["accepted"], answer["window"]) == (True, 0)
        window = session.status.window
        assert window is not None
        assert window.wait(timeout=LIMIT_S)
        assert window.result.verdict == "delivered"
        assert window.result.analyses["stages"]["stage"].to_list() == ["prefill"]
        assert told(session, "over")["verdict"] == "delivered"
        trigger.touch()
        assert told(session, "over")["window"] == 1
        trigger.write_text('{"steps": -2}')
        answer = answered(session)
        assert not answer["accepted"]
        assert "steps=-2: a window records from 1" in answer["reason"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_asks_for_nothing(session: harness.Session, kind: str) -> None:
    trigger = session.folder / trigger_file.TRIGGER
    if kind == "link":
        (session.folder / "elsewhere").write_text("{}")
        trigger.symlink_to("elsewhere")
    elif kind == "fifo":
        os.mkfifo(trigger)
    else:
        trigger.mkdir()
    answer = answered(session)
    assert not answer["accepted"]
    assert "cannot be read" in answer["reason"]
    assert session.status.window is None
