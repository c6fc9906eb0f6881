"""What a child prints costs linear time, and is cut with a note."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.execution import output
from harness.execution.output import Lines, Printed
from harness.files import Appended


def lines_of(*chunks: bytes, longest: int = 100) -> list[tuple[bytes, int]]:
    taken: list[tuple[bytes, int]] = []
    lines = Lines(lambda line, more: taken.append((line, more)), longest)
    for chunk in chunks:
        lines.feed(chunk)
    lines.flush()
    return taken


def test_lines_are_cut_across_chunks() -> None:
    taken = lines_of(b"one\ntw", b"o\n\nthr", b"ee")
    assert taken == [(b"one", 0), (b"two", 0), (b"", 0), (b"three", 0)]


def test_a_long_line_keeps_its_beginning_however_it_comes() -> None:
    assert lines_of(b"abcdef\ng", longest=4) == [(b"abcd", 2), (b"g", 0)]
    assert lines_of(*[b"ab"] * 3, b"\n", longest=3) == [(b"aba", 3)]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Appended]:
    with Appended(tmp_path, tmp_path / "log") as file:
        yield file


def test_a_log_keeps_its_beginning_and_its_end(
    log: Appended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "LOG_BYTES", 10)
    monkeypatch.setattr(output, "TAIL_BYTES", 4)
    printed = Printed(log, lambda _: None)
    for chunk in (b"0123456", b"789abc", b"defgh"):
        printed.feed(chunk)
    printed.flush()
    note = "\n… 4 bytes are left out here: a log keeps 10\n"
    assert (tmp_path / "log").read_text(encoding="utf-8") == f"0123456789{note}efgh"
    assert printed.notes == ("harness.log lacks 4 bytes of what was printed, before its end",)


def test_what_orders_a_terminal_is_text_in_the_log(log: Appended, tmp_path: Path) -> None:
    printed = Printed(log, lambda _: None)
    for chunk in (b"\x1b[31mred\n10%\r20%\r\n", "µ".encode()[:1], "µ".encode()[1:], b"\xff\n"):
        printed.feed(chunk)
    printed.flush()
    kept = (tmp_path / "log").read_text(encoding="utf-8")
    assert kept == "[U+001B][31mred\n10%\n20%\nµ\ufffd\n"


def test_so_many_lines_are_shown_and_no_more(
    log: Appended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "SHOWN_LINES", 3)
    shown: list[str] = []
    printed = Printed(log, shown.append)
    printed.feed(b"1\n2\n3\n4\n5")
    printed.flush()
    assert shown == ["1", "2", "… 3 lines are shown; the others are in harness.log alone"]
    assert printed.last_line == "5"
    assert (tmp_path / "log").read_bytes() == b"1\n2\n3\n4\n5"
