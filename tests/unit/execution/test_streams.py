"""What a program prints is passed on byte by byte, but for Kineto's own lines; the log has all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.execution.output import Printed
from harness.execution.streams import _PassedOn
from harness.files import Appended

START = b"USDT:2026-11-26 02:06:41 22428:22428 SyncActivityProfilerHandler.cpp:52] profiler_start\n"


@pytest.mark.parametrize(
    ("pieces", "passed"),
    [
        ([b"a\x1b[1mb\r", b"\xff\n"], b"a\x1b[1mb\r\xff\n"),
        ([b"one\n" + START + b"two\n"], b"one\ntwo\n"),
        ([b"one\n", b"USDT:", START[5:40], START[40:], b"two"], b"one\ntwo"),
        ([b"USDT: mine\n"], b"USDT: mine\n"),
        ([b"say " + START], b"say " + START),
        ([b"USDT:", b"x" * 300], b"USDT:" + b"x" * 300),
    ],
)
def test_bytes_are_passed_on(tmp_path: Path, pieces: list[bytes], passed: bytes) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as out, Appended(tmp_path, tmp_path / "log") as log:
        with os.fdopen(writing, "wb") as target:
            passing = _PassedOn(target.fileno(), Printed(log, lambda _line: None))
            for piece in pieces:
                passing.feed(piece)
        assert out.read() == passed
    assert (tmp_path / "log").stat().st_size >= len(b"".join(pieces)) - 2


def test_a_reader_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Appended(tmp_path, tmp_path / "log") as log, os.fdopen(writing, "wb", 0) as target:
        passing = _PassedOn(target.fileno(), Printed(log, lambda _line: None))
        for _ in range(2):
            passing.feed(b"line\n")
    assert (tmp_path / "log").read_bytes() == b"line\nline\n"
