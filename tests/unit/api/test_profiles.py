"""``harness.profile`` in a program: what it records, what it leaves, what it never does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness import steps as marks
from harness.errors import MachineError

FEW = (
    "device=cpu",
    "workload.warmup_steps=1",
    "profiler.baseline.steps=1",
    "profiler.schedule.active=2",
    "profiler.record_shapes=true",
)
NEEDED = 5
"""Warm-up, baseline, profiler warm-up, two recorded."""


def work() -> None:
    (torch.ones(3, 5) @ torch.ones(5, 7)).relu()


def steps(profile: harness.Profile, count: int = NEEDED) -> None:
    for _ in range(count):
        with profile.stage("forward"):
            work()
        profile.step()


def counts(run: harness.Run) -> dict[str, int]:
    frame = run.tables["operators"].group_by("name").len()
    return dict(frame.sort("name").iter_rows())


PER_STEP = {"aten::fill_": 2, "aten::matmul": 1, "aten::mm": 1, "aten::ones": 2, "aten::relu": 1}


def test_the_steps_that_the_schedule_names_are_recorded(tmp_path: Path) -> None:
    with harness.profile(*FEW, out=tmp_path / "run") as p:
        assert p.folder == tmp_path / "run"
        steps(p, NEEDED + 3)
    run = p.result
    assert (run.status, run.verdict, run.exit_code) == ("ok", "delivered", 0)
    assert (run.folder, run.missing, run.reason) == (tmp_path / "run", (), "")
    found = counts(run)
    assert {name: found[name] for name in PER_STEP} == {
        name: 2 * count for name, count in PER_STEP.items()
    }
    frame = run.tables["operators"]
    products = frame.filter(frame["name"] == "aten::mm")
    assert products["input_shapes"].to_list() == [[[3, 5], [5, 7]]] * 2
    phases = run.tables["steps"]["phase"].to_list()
    assert phases == ["warmup", "baseline", "profiler_warmup", "active", "active"]
    assert run.record.program is not None
    assert run.record.program.steps == NEEDED
    assert "## Delivery" in run.summary
    loaded = harness.load(run.folder)
    assert loaded.record == run.record
    assert loaded.tables["operators"].equals(frame)
    assert set(loaded.analyses) >= {"hot_operators", "stages"}


def test_marks_of_the_program_count_too(tmp_path: Path) -> None:
    with harness.profile(*FEW, out=tmp_path) as p:
        for _ in range(NEEDED):
            with harness.stage("both"):
                work()
            harness.step()
    assert p.result.verdict == "delivered"
    assert p.result.record.program is not None
    assert p.result.record.program.steps == NEEDED
    assert p.result.analyses["stages"]["stage"].to_list()[0] == "both"
    assert not marks.are_counted()


def test_each_call_of_a_decorated_function_is_a_run(tmp_path: Path) -> None:
    @harness.profile(*FEW, "workload.step=whole", out=tmp_path)
    def block(sign: int) -> int:
        work()
        harness.step()
        return -sign

    assert [block(1), block(2)] == [-1, -2]
    for number in ("0", "1"):
        run = harness.load(tmp_path / number)
        assert run.verdict == "delivered"
        assert counts(run)["aten::mm"] == 1
    with pytest.raises(TypeError, match="is a coroutine or a generator"):
        harness.profile(*FEW)(waiting)


async def waiting() -> None:
    """Do nothing."""


@pytest.mark.parametrize("on_missing", ["warn", "raise", "ignore"])
def test_what_is_missing_is_said_as_the_program_wants(tmp_path: Path, on_missing: Any) -> None:
    p = harness.profile(*FEW, out=tmp_path, on_missing=on_missing)
    said = ""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with p:
                steps(p, NEEDED - 1)
        except harness.NotDeliveredError as error:
            said = str(error)
    texts = [str(item.message) for item in warned if item.category is harness.HarnessWarning]
    assert (p.result.status, p.result.verdict, p.result.exit_code) == ("ok", "not_delivered", 3)
    assert "the block made 4 whole steps (calls of step()), and the schedule needs 5" in str(
        p.result.missing
    )
    got = {"warn": "".join(texts), "raise": said, "ignore": "needs 5"}[on_missing]
    assert "needs 5" in got
    assert (len(texts), bool(said)) == (on_missing == "warn", on_missing == "raise")


def test_a_block_that_raises_keeps_what_was_recorded(tmp_path: Path) -> None:
    p = harness.profile(*FEW, "profiler.schedule.repeat=2", out=tmp_path, on_missing="raise")

    def program() -> None:
        with p:
            steps(p)
            assert 1 // 0

    with pytest.raises(ZeroDivisionError):
        program()
    run = p.result
    assert (run.status, run.reason) == (
        "failed",
        "the program raised ZeroDivisionError: integer division or modulo by zero",
    )
    assert counts(run)["aten::mm"] == 2
    assert not marks.are_counted()
    with harness.profile(*FEW, out=tmp_path / "next", on_missing="raise") as other:
        steps(other)


def test_two_at_once_and_a_profiler_of_the_programs_are_refused(tmp_path: Path) -> None:
    with harness.profile(*FEW, out=tmp_path / "one") as p:
        with pytest.raises(harness.RecorderError, match="is open in this process"):
            harness.profile(*FEW, out=tmp_path / "two").start()
        steps(p)
    assert p.result.verdict == "delivered"
    with (
        torch.profiler.profile(),
        pytest.raises(harness.RecorderError, match="another profiler is recording"),
    ):
        harness.profile(*FEW, out=tmp_path / "three").start()
    assert not (tmp_path / "two").exists()
    assert not (tmp_path / "three").exists()
    with pytest.raises(harness.RecorderError, match="a profile is used once"):
        p.start()


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_profiler_within_fails_the_recording_and_not_the_program(
    tmp_path: Path, on_error: Any
) -> None:
    p = harness.profile(*FEW, out=tmp_path, on_error=on_error)
    done = 0

    def program() -> None:
        nonlocal done
        with p:
            for _ in range(NEEDED):
                with torch.profiler.profile():
                    work()
                p.step()
                done += 1

    if on_error == "raise":
        with pytest.raises(harness.RecorderError, match="another profiler"):
            program()
    else:
        with pytest.warns(harness.HarnessWarning, match="the program goes on: another profiler"):
            program()
    assert done == (NEEDED if on_error == "warn" else 2)
    assert p.result.status == "failed"
    assert "another profiler" in p.result.reason


def test_a_profile_that_cannot_begin_leaves_the_next_one_alone(tmp_path: Path) -> None:
    # Without CANN, torch_npu cannot be loaded.
    npu = harness.profile("device=npu", *FEW[1:], out=tmp_path / "npu", on_error="raise")
    with pytest.raises(MachineError, match="device=npu"):
        npu.start()
    run = harness.load(tmp_path / "npu")
    assert run.status == "failed"
    assert run.reason.startswith("device=npu")
    with harness.profile(*FEW, out=tmp_path / "cpu") as p:
        steps(p)
    assert p.result.status == "ok"


def test_it_works_in_a_thread(tmp_path: Path) -> None:
    profiles = []

    def program() -> None:
        with harness.profile(*FEW, out=tmp_path) as p:
            steps(p)
        profiles.append(p)

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert profiles[0].result.verdict == "delivered"


def test_a_limit_that_needs_the_main_thread_is_refused_in_another(tmp_path: Path) -> None:
    raised: list[harness.RefusedError] = []

    def program() -> None:
        try:
            harness.profile(*FEW, "workload.step=whole", out=tmp_path / "x").start()
        except harness.RefusedError as error:
            raised.append(error)

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert [problem.setting for problem in raised[0].problems] == [
        "profiler.max_seconds",
        "profiler.max_memory_gib",
    ]
    assert not (tmp_path / "x").exists()


def test_steps_of_other_threads_are_told_apart(tmp_path: Path) -> None:
    with harness.profile(*FEW, out=tmp_path) as p:
        thread = threading.Thread(target=steps, args=(p, 3))
        thread.start()
        thread.join()
        steps(p)
    assert p.result.verdict == "delivered"
    assert "3 more steps were made in other threads" in str(p.result.record.notes)


def state() -> tuple[object, ...]:
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return (
        handlers,
        dict(os.environ),
        Path.cwd(),
        list(sys.argv),
        list(sys.path),
        sys.getprofile(),
        sys.gettrace(),
        threading.active_count(),
        sorted(path.name for path in Path("/proc/self/fd").iterdir()),
        warnings.filters[:],
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("step", ["marked", "whole"])
def test_nothing_global_is_left_changed(tmp_path: Path, step: str) -> None:
    work()
    stacks = ("profiler.with_stack=true", "profiler.experimental.verbose=true")
    with harness.profile(*FEW, out=tmp_path / "first", on_missing="ignore"):
        pass
    before = state()
    with harness.profile(*FEW, *stacks, f"workload.step={step}", out=tmp_path / "run") as p:
        steps(p)
    assert state() == before
    assert p.result.verdict == "delivered"


def test_a_forked_copy_has_no_run(tmp_path: Path) -> None:
    with harness.profile(*FEW, out=tmp_path) as p:
        steps(p, 2)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                p.step()
                p.stop()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert harness.load(tmp_path).status == "running"
        steps(p, 3)
    assert p.result.verdict == "delivered"


def test_a_copy_that_lives_on_does_not_hold_the_folder(tmp_path: Path) -> None:
    p = harness.profile(*FEW, out=tmp_path, on_error="raise")
    p.start()
    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(0)
    try:
        steps(p)
        p.stop()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert p.result.verdict == "delivered"


def test_words_that_are_none_are_refused() -> None:
    with pytest.raises(harness.RefusedError) as refused:
        harness.profile(on_missing="shout", on_error="ignore")  # type: ignore[arg-type]
    assert [problem.setting for problem in refused.value.problems] == ["on_missing", "on_error"]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(harness.RefusedError, match="something in its place that is no run"):
        harness.profile(*FEW, out=tmp_path).start()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_profile_that_has_not_ended_has_no_result(tmp_path: Path) -> None:
    p = harness.profile(*FEW, out=tmp_path)
    with pytest.raises(harness.RecorderError, match="has not begun"):
        p.stage("forward")
    p.step()
    with pytest.raises(harness.RecorderError, match="has no result"):
        p.result  # noqa: B018 - a property
    with pytest.raises(harness.RefusedError, match=r"run\.json"):
        harness.load(tmp_path)


def test_several_ranks_need_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(harness.RefusedError, match="this is rank 1 of 2, and all need one folder"):
        harness.profile(*FEW).start()
    with harness.profile(*FEW, out=tmp_path) as p:
        steps(p)
    assert p.result.folder == tmp_path / "ranks" / "1"
    assert (p.result.record.rank, p.result.record.world_size) == (1, 2)
    assert set(p.result.tables["operators"]["rank"]) == {1}
