"""The first interrupt marks the sweep, its jobs obey the mark, the second one raises."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sweep import interrupts


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    """Take Python's own handler: what starts the tests may have set another, or none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_marks_and_the_second_raises(tmp_path: Path, sent: signal.Signals) -> None:
    before = signal.getsignal(sent)
    reports: list[str] = []
    with interrupts.first_marks(tmp_path, reports.append):
        assert not interrupts.marked(tmp_path)
        signal.raise_signal(sent)
        assert interrupts.marked(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(sent)
    assert len(reports) == 1
    assert signal.getsignal(sent) is before
    interrupts.clear(tmp_path)
    assert not interrupts.marked(tmp_path)


def test_a_job_leaves_ctrl_c_to_its_parent_and_obeys_the_mark(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interrupts.obeyed(tmp_path):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            mark_and_wait(tmp_path)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def mark_and_wait(sweep: Path) -> None:
    interrupts.mark(sweep)
    time.sleep(60)


def test_in_the_process_of_the_sweep_ctrl_c_marks_within_a_job_too(tmp_path: Path) -> None:
    reports: list[str] = []
    with (
        interrupts.first_marks(tmp_path, reports.append),
        pytest.raises(KeyboardInterrupt),
        interrupts.obeyed(tmp_path),
    ):
        press_and_wait()
    assert interrupts.marked(tmp_path)
    assert len(reports) == 1


def press_and_wait() -> None:
    signal.raise_signal(signal.SIGINT)
    time.sleep(60)
