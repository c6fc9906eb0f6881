"""Windows over the steps of one thread: which steps, what is left, what is refused."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

import harness
from harness.execution import recorder
from harness.sessions import recordings

FEW = ("device=cpu", "profiler.record_shapes=true")
LIMIT_S = 60.0


def work(size: int = 5) -> None:
    (torch.ones(3, size) @ torch.ones(size, 7)).relu()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[harness.Session]:
    with harness.Session(*FEW, out=tmp_path / "out") as session:
        yield session


def steps(session: harness.Session, count: int, stage: str | None = None) -> None:
    for _ in range(count):
        with session.step(stage, batch=session.status.steps):
            work(session.status.steps)


def sizes(run: harness.Run) -> list[int]:
    """Return which steps were recorded: each has a product of its own size."""
    frame = run.tables["operators"].filter(
        pl.col("name") == "aten::mm", pl.col("step").is_not_null()
    )
    return [shapes[0][1] for shapes in frame.sort("step")["input_shapes"].to_list()]


def test_a_window_records_the_next_steps(session: harness.Session) -> None:
    steps(session, 10)
    asked = session.window(steps=3)
    assert (asked.state, asked.number, asked.verdict) == ("waiting", 0, "")
    assert asked.folder == session.folder / "000"
    steps(session, 20)
    assert asked.wait(timeout=LIMIT_S)
    run = asked.result
    assert (run.status, run.verdict, run.missing, asked.reason) == ("ok", "delivered", (), "")
    # Step 10 is the profiler's warm-up; a step's size is its number and one.
    assert sizes(run) == [12, 13, 14]
    assert run.tables["steps"]["phase"].to_list() == ["profiler_warmup", *["active"] * 3]
    assert run.record.program is not None
    assert run.record.program.steps == 4
    assert run.record.overrides == (*FEW, "profiler.schedule.active=3")
    assert sorted(path.name for path in (run.folder / "raw").iterdir()) == ["trace.json.gz"]
    assert session.status == (30, (), asked)


def test_a_window_may_be_for_some_steps_only(session: harness.Session) -> None:
    asked = session.window(steps=2, stage="decode", min_batch=7)
    for number in range(12):
        with session.step("decode" if number % 2 else "prefill", batch=number):
            work(number)
    assert asked.wait(timeout=LIMIT_S)
    # 7 fits and warms the profiler up.
    assert sizes(asked.result) == [9, 11]
    assert asked.result.analyses["stages"]["stage"].to_list() == ["decode"]
    assert session.status.stages == ("prefill", "decode")


def test_a_window_may_begin_at_a_step(session: harness.Session) -> None:
    asked = session.window(steps=2, at_step=7)
    steps(session, 12)
    assert asked.wait(timeout=LIMIT_S)
    assert sizes(asked.result) == [8, 9]
    with pytest.raises(harness.RefusedError) as refused:
        session.window(at_step=12)
    assert str(refused.value) == (
        "at_step=12: the next step of the session is number 12, and 1 of the profiler's warm-up"
        " come first.\n    fix: at_step=13 or more"
    )


def test_what_a_window_records_is_what_a_profile_records(tmp_path: Path) -> None:
    with harness.Session("profiler=level1", out=tmp_path / "session") as session:
        asked = session.window(steps=2)
        steps(session, 3)
    with harness.profile(
        *("profiler=level1", "profiler.with_flops=false", "profiler.schedule.active=2"),
        *("workload.warmup_steps=0", "profiler.baseline.steps=0"),
        out=tmp_path / "profile",
    ) as p:
        for number in range(3):
            work(number + 1)
            p.step()
    both = [
        run.tables["operators"]
        .filter(pl.col("step").is_not_null())
        .select("step", "name", "input_shapes", "input_dtypes")
        for run in (asked.result, p.result)
    ]
    assert both[0].height > 10
    assert both[0].equals(both[1])


def test_windows_come_one_after_the_other(session: harness.Session) -> None:
    first = session.window(steps=2)
    with pytest.raises(harness.RecorderError) as refused:
        session.window()
    assert str(refused.value) == (
        "window 0 of the session is under way (2 steps: waits for its first step), and torch runs"
        " one profiler at a time: wait for it, or stop it"
    )
    steps(session, 3)
    assert first.wait("reading", LIMIT_S)
    # The first one may still be read.
    second = session.window(steps=1)
    steps(session, 2)
    assert first.wait(timeout=LIMIT_S)
    assert second.wait(timeout=LIMIT_S)
    assert [sizes(one.result) for one in (first, second)] == [[2, 3], [5]]
    assert second.folder.name == "001"


def test_numbers_go_on_after_those_of_an_earlier_program(tmp_path: Path) -> None:
    (tmp_path / "000").mkdir()
    (tmp_path / "002").mkdir()
    with harness.Session(*FEW, out=tmp_path, read="later") as session:
        names = []
        for _ in range(2):
            asked = session.window(steps=1)
            steps(session, 2)
            assert asked.wait(timeout=LIMIT_S)
            assert asked.result.verdict == "pending"
            names.append(asked.folder.name)
    assert names == ["001", "003"]


def test_a_stage_that_never_comes_is_reported(session: harness.Session) -> None:
    steps(session, 3, "prefill")
    with pytest.warns(harness.HarnessWarning, match="none of these steps began"):
        asked = session.window(stage="decod", within=0.2)
        assert asked.wait(timeout=LIMIT_S)
    why = "as none of these steps began within 0.2 s; 3 steps have begun, their stages: prefill"
    assert f"was ended {why}: it has" in asked.reason
    assert (asked.result.verdict, asked.result.exit_code) == ("not_delivered", 3)
    assert any(why in line for line in asked.result.missing)


def test_a_program_without_steps_is_told_how_to_make_them(session: harness.Session) -> None:
    with pytest.warns(harness.HarnessWarning, match="with session.step"):
        session.window(within=0.1).wait(timeout=LIMIT_S)


def test_a_window_is_stopped_between_steps(session: harness.Session) -> None:
    asked = session.window(steps=100)
    steps(session, 5)
    assert asked.state == "recording"
    with pytest.warns(harness.HarnessWarning, match="by request"):
        assert asked.stop(LIMIT_S)
        assert asked.wait(timeout=LIMIT_S)
    assert sizes(asked.result) == [2, 3, 4, 5]
    assert asked.result.verdict == "not_delivered"
    assert "it has 5 of the 101 steps" in "\n".join(asked.result.missing)


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("profiler.max_seconds=0.2", "after profiler.max_seconds=0.2"),
        ("profiler.max_memory_gib=0.0625", "after profiler.max_memory_gib=0.0625 were added"),
    ],
)
def test_a_window_is_bounded(tmp_path: Path, setting: str, why: str) -> None:
    held = []
    with harness.Session(*FEW, setting, out=tmp_path) as session:
        asked = session.window(steps=10_000)
        with pytest.warns(harness.HarnessWarning, match=why):
            while not asked.wait("writing", 0.02):
                steps(session, 1)
                held.append(torch.ones(1 << 21))
            assert asked.wait(timeout=LIMIT_S)
    assert f"was ended {why}: it has" in asked.reason
    assert len(sizes(asked.result)) > 1


def test_closing_ends_the_window_and_waits_for_it(tmp_path: Path) -> None:
    with harness.Session(*FEW, out=tmp_path) as session:
        asked = session.window(steps=10)
        steps(session, 4)
        with pytest.warns(harness.HarnessWarning, match="as the session was closed"):
            session.close()
        assert asked.state == "over"
        assert sizes(asked.result) == [2, 3, 4]
        session.close()
    with pytest.raises(harness.RecorderError, match="is closed"):
        session.window()
    with session.step():
        work()


def test_a_step_that_raises_is_a_step(session: harness.Session) -> None:
    asked = session.window(steps=2)
    for number in range(3):
        with suppress(ZeroDivisionError), session.step("train"):
            work(number)
            raise ZeroDivisionError
    assert asked.wait(timeout=LIMIT_S)
    assert sizes(asked.result) == [1, 2]


def test_steps_within_a_step_are_counted_with_it(session: harness.Session) -> None:
    asked = session.window(steps=2)
    for number in range(3):
        with session.step("outer"):
            with session.step("inner"):
                work(number)
            work(number)
    assert asked.wait(timeout=LIMIT_S)
    assert sizes(asked.result) == [1, 1, 2, 2]
    assert asked.result.analyses["stages"]["stage"].to_list() == ["outer"]
    assert any(note.startswith("3 steps began before") for note in asked.result.record.notes)


def test_steps_of_several_threads_need_a_profiler_of_all(session: harness.Session) -> None:
    ready = threading.Barrier(2)

    def program() -> None:
        steps(session, 1)
        ready.wait()
        ready.wait()

    other = threading.Thread(target=program)
    other.start()
    steps(session, 1)
    ready.wait()
    try:
        with pytest.raises(harness.RefusedError) as refused:
            session.window()
    finally:
        ready.wait()
        other.join()
    assert str(refused.value) == (
        "profiler.experimental.profile_all_threads=false: 2 threads make steps of the session, and"
        " the profiler records the thread that starts it.\n"
        "    fix: profiler.experimental.profile_all_threads=true"
    )
    # A thread that has ended makes no more.
    with pytest.warns(harness.HarnessWarning, match="by request"):
        asked = session.window(steps=1)
        asked.stop()
        assert asked.wait(timeout=LIMIT_S)


def test_steps_of_a_thread_that_comes_later_are_not_in_the_window(session: harness.Session) -> None:
    asked = session.window(steps=2)
    steps(session, 1)
    other = threading.Thread(target=steps, args=(session, 3))
    other.start()
    other.join()
    steps(session, 2)
    assert asked.wait(timeout=LIMIT_S)
    assert sizes(asked.result) == [5, 6]
    (note,) = [one for one in asked.result.record.notes if "other threads" in one]
    assert note.startswith("3 more steps")
    assert "profiler.experimental.profile_all_threads=true" in note


def test_a_thread_that_ends_in_a_window_loses_it_and_nothing_else(
    session: harness.Session,
) -> None:
    asked = session.window(steps=5)
    thread = threading.Thread(target=steps, args=(session, 3))
    thread.start()
    thread.join()
    with pytest.warns(harness.HarnessWarning, match="has ended"):
        asked.stop()
        assert asked.wait(timeout=LIMIT_S)
    assert asked.result.status == "failed"
    assert "the thread that made its steps has ended" in asked.reason
    again = session.window(steps=1)
    steps(session, 2)
    assert again.wait(timeout=LIMIT_S)
    assert again.result.verdict == "delivered"


def test_a_thread_that_makes_no_step_is_waited_for(
    session: harness.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "_PATIENCE_S", 0.1)
    asked = session.window(steps=5)
    go, end = threading.Event(), threading.Event()

    def program() -> None:
        steps(session, 3)
        go.set()
        end.wait()
        steps(session, 1)

    thread = threading.Thread(target=program, name="engine")
    thread.start()
    go.wait()
    with pytest.warns(harness.HarnessWarning) as warned:
        assert not asked.stop(0.5)
        assert "thread engine has made no step for 0.1 s" in asked.reason
        end.set()
        thread.join()
        assert asked.wait(timeout=LIMIT_S)
    assert ["was ended by request: it has 3 of" in str(one.message) for one in warned] == [
        False,
        True,
    ]
    assert sizes(asked.result) == [2, 3]


def test_no_window_opens_beside_another_profiler(session: harness.Session) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as own:
        with pytest.raises(harness.RecorderError, match="another profiler is recording"):
            session.window(steps=1)
        steps(session, 2)
    assert len(own.events()) > 0
    asked = session.status.window
    assert asked is not None
    assert not asked.folder.exists()
    with pytest.raises(harness.RecorderError, match="another profiler is recording"):
        _ = asked.result


def test_no_profile_opens_beside_a_window(session: harness.Session, tmp_path: Path) -> None:
    asked = session.window(steps=2)
    with (
        pytest.raises(harness.RecorderError, match="is open in this process"),
        harness.profile(*FEW, out=tmp_path / "profile"),
    ):
        pass
    steps(session, 3)
    assert asked.wait(timeout=LIMIT_S)
    assert asked.result.verdict == "delivered"


def test_a_failure_of_the_recorder_does_not_end_the_program(
    session: harness.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no profiler today")

    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, "advance", broken)
        asked = session.window(steps=1)
        with pytest.warns(harness.HarnessWarning, match="no profiler today"):
            steps(session, 3)
            assert asked.wait(timeout=LIMIT_S)
    assert asked.result.status == "failed"
    again = session.window(steps=1)
    steps(session, 2)
    assert again.wait(timeout=LIMIT_S)
    assert again.result.verdict == "delivered"


def test_a_copy_of_the_process_records_nothing(session: harness.Session) -> None:
    asked = session.window(steps=2)
    steps(session, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        copy = os.fork()
    if not copy:
        try:
            steps(session, 5)
            session.close()
            os._exit(0)
        finally:
            os._exit(1)
    end = time.monotonic() + LIMIT_S
    while (found := os.waitpid(copy, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    if found == (0, 0):
        os.kill(copy, signal.SIGKILL)
        os.waitpid(copy, 0)
    assert found == (copy, 0)
    steps(session, 2)
    assert asked.wait(timeout=LIMIT_S)
    assert sizes(asked.result) == [2, 3]


def test_stages_that_are_made_up_for_each_request_do_not_pile_up(
    session: harness.Session,
) -> None:
    for number in range(300):
        with session.step(f"request {number}"):
            pass
    assert len(session.status.stages) == 100
    asked = session.window(steps=1, stage="last")
    steps(session, 2, "last")
    assert asked.wait(timeout=LIMIT_S)
    assert asked.result.analyses["stages"]["stage"].to_list() == ["last"]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_is_left_over(tmp_path: Path) -> None:
    before = threading.active_count(), descriptors()
    with harness.Session(*FEW, out=tmp_path, read="later", trigger_file=True, http_port=0) as one:
        for _ in range(3):
            asked = one.window(steps=1)
            steps(one, 2)
            assert asked.wait(timeout=LIMIT_S)
    assert (threading.active_count(), descriptors()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000", "001", "002"]
