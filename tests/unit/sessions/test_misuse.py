"""What a program should not do with a session: it is told, or nothing is lost but that step."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import harness

LIMIT_S = 60.0
ALL = "profiler.experimental.profile_all_threads=true"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[harness.Session]:
    with harness.Session("device=cpu", out=tmp_path / "out", read="later") as session:
        yield session


def steps(session: harness.Session, count: int) -> None:
    for _ in range(count):
        with session.step():
            torch.ones(3, 5) @ torch.ones(5, 7)


def in_a_copy(do: Callable[[], None]) -> None:
    """Call it in a fork of the process, which must end, and in which it must return."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        copy = os.fork()
    if not copy:
        try:
            do()
            os._exit(0)
        finally:
            os._exit(1)
    end = time.monotonic() + LIMIT_S / 4
    while (found := os.waitpid(copy, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    if found == (0, 0):
        os.kill(copy, signal.SIGKILL)
        os.waitpid(copy, 0)
    assert found == (copy, 0)


def test_the_thread_of_the_steps_does_not_wait_for_itself(session: harness.Session) -> None:
    asked = session.window(steps=9)
    assert asked.wait("waiting")
    with session.step():
        assert asked.wait("recording")
        calls: list[Callable[[], bool]] = [asked.wait, lambda: asked.wait("writing"), asked.stop]
        for call in calls:
            with pytest.raises(harness.RecorderError, match="this thread would wait for ever"):
                call()
        assert not asked.wait(timeout=0.01)
        assert not asked.stop(timeout=0)
    with pytest.warns(harness.HarnessWarning, match="by request"):
        assert asked.wait(timeout=LIMIT_S)
    assert asked.reason == (
        "the window (9 steps) was ended by request: it has 1 of the 10 steps that it needs with"
        " the profiler's warm-up"
    )


@pytest.mark.parametrize("stage", ["half \udc80", "nul\0", 5])
@pytest.mark.parametrize("opens", [False, True])
def test_a_stage_that_no_trace_can_hold_is_refused_always(
    session: harness.Session, stage: Any, *, opens: bool
) -> None:
    asked = session.window(steps=1) if opens else None
    with pytest.raises(harness.RefusedError, match=r"stage=.*: it is a name"), session.step(stage):
        raise AssertionError
    with session.step("a\nb", batch=4):
        pass
    steps(session, 1)
    assert session.status[:2] == (2, ("a\nb",))
    assert asked is None or asked.wait(timeout=LIMIT_S)


def test_a_batch_is_a_whole_number(session: harness.Session) -> None:
    class Size:
        def __index__(self) -> int:
            return 7

    given: Any = Size()
    asked = session.window(steps=1, min_batch=7)
    for _ in range(2):
        with session.step(batch=given):
            pass
    assert asked.wait(timeout=LIMIT_S)
    given = "7"
    with pytest.raises(harness.RefusedError, match=r"batch='7': it is how many items"):
        session.step(batch=given)


def test_a_step_that_another_thread_ends_does_not_count(session: harness.Session) -> None:
    asked = session.window(steps=2)
    for _ in range(3):
        step = session.step("crossed")
        step.__enter__()
        other = threading.Thread(target=step.__exit__, args=(None, None, None))
        other.start()
        other.join()
    steps(session, 3)
    assert asked.wait(timeout=LIMIT_S)
    program = asked.result.record.program
    assert program is not None
    assert (asked.result.status, asked.reason, program.steps) == ("ok", "", 3)
    assert "3 steps were ended by another thread" in "\n".join(asked.result.record.notes)


@pytest.mark.parametrize("settings", [(), (ALL,)])
def test_a_copy_that_is_made_within_a_step_ends_no_window(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    with harness.Session(*settings, out=tmp_path, read="later") as session:
        asked = session.window(steps=4)
        assert asked.wait("waiting")
        if settings:
            assert asked.wait("recording", LIMIT_S)
        step = session.step()
        step.__enter__()

        def copied() -> None:
            for call in (asked.wait, asked.stop, session.window):
                with pytest.raises(harness.RecorderError, match="forked from"):
                    call()
            # As if it had been asked for just before.
            asked._progress.limits.asked = "by the original"
            step.__exit__()
            steps(session, 2)
            recording = session._seen.recording
            assert recording is not None
            assert recording.steps.made == 0
            assert getattr(recording.steps, "counting", True)
            session.close()

        in_a_copy(copied)
        assert list((asked.folder / "raw").iterdir()) == []
        step.__exit__()
        while not asked.wait("writing", 0.01):
            steps(session, 1)
        assert asked.wait(timeout=LIMIT_S)
    program = asked.result.record.program
    assert program is not None
    assert (asked.result.status, asked.reason, program.steps) == ("ok", "", 5)


def test_a_copy_does_not_wait_for_a_lock_that_is_held(session: harness.Session) -> None:
    def copied() -> None:
        with pytest.raises(harness.RecorderError, match="forked from"):
            session.window()

    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with session._lock:
            held.set()
            go_on.wait()

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    try:
        in_a_copy(copied)
    finally:
        go_on.set()
        other.join()


def test_a_signal_that_asks_while_a_window_is_opened_is_refused(
    session: harness.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def interrupted(taken: object) -> None:
        # What a signal's handler does, in the midst of window().
        try:
            session.window()
        except harness.RecorderError as error:
            refused.append(str(error))
        take(taken)  # type: ignore[arg-type]

    take = session._keeper.take
    monkeypatch.setattr(session._keeper, "take", interrupted)
    asked: list[harness.Window] = []
    opening = threading.Thread(target=lambda: asked.append(session.window(steps=1)), daemon=True)
    opening.start()
    opening.join(LIMIT_S / 6)
    assert not opening.is_alive()
    assert "this signal's handler has interrupted" in refused[0]
    steps(session, 2)
    assert asked[0].wait(timeout=LIMIT_S)
    assert asked[0].result.status == "ok"
