"""What takes a while is heard by who listens, in its thread, and by nobody else."""

from __future__ import annotations

from threading import Thread

import pytest

from harness.waits import Wait, heard_by, waiting


def test_what_is_done_is_counted_and_the_end_is_told() -> None:
    heard: list[Wait | None] = []
    with heard_by(heard.append), waiting("reading", 10, "bytes") as more:
        more(4)
        more(6)
    assert heard == [
        Wait(what="reading", total=10, unit="bytes"),
        Wait(what="reading", done=4, total=10, unit="bytes"),
        Wait(what="reading", done=10, total=10, unit="bytes"),
        None,
    ]


def test_within_what_is_counted_it_is_a_part() -> None:
    heard: list[Wait | None] = []
    with heard_by(heard.append), waiting("reading the ranks", 2, "ranks") as more:
        with waiting("reading trace.json", 100, "bytes") as more_bytes:
            more_bytes(100)
        more(1)
    ranks = Wait(what="reading the ranks", total=2, unit="ranks")
    assert heard == [
        ranks,
        Wait(what="reading the ranks", total=2, unit="ranks", part="reading trace.json"),
        ranks,
        Wait(what="reading the ranks", done=1, total=2, unit="ranks"),
        None,
    ]


def test_within_what_is_not_counted_it_takes_the_place() -> None:
    heard: list[Wait | None] = []
    with heard_by(heard.append), waiting("reading a folder"), waiting("reading a.csv", 5, "bytes"):
        pass
    folder = Wait(what="reading a folder")
    assert heard == [folder, Wait(what="reading a.csv", total=5, unit="bytes"), folder, None]


def test_an_error_ends_it_and_listeners_are_put_back() -> None:
    outer: list[Wait | None] = []
    inner: list[Wait | None] = []
    with heard_by(outer.append):
        with pytest.raises(OSError, match="gone"), heard_by(inner.append), waiting("reading"):
            raise OSError("gone")
        assert inner == [Wait(what="reading"), None]
        with waiting("checking"):
            pass
    assert outer == [Wait(what="checking"), None]
    with waiting("heard by nobody"):
        pass
    assert len(outer) == 2


def test_other_threads_are_not_heard() -> None:
    heard: list[Wait | None] = []

    def work() -> None:
        with waiting("in a thread"):
            pass

    with heard_by(heard.append):
        thread = Thread(target=work)
        thread.start()
        thread.join()
    assert heard == []
