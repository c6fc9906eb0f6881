"""The recorder in a user's own process: it records as a run does, and leaves the process alone."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from harness.errors import MachineError, RecorderError, WriteError
from harness.execution.plan import plan
from harness.execution.protocol import Plan, Progress, StepTime
from harness.execution.recorder import Recorder
from harness.execution.session import execute
from harness.settings.ranks import Rank
from tests.support.composing import composed

SIZES = {"batch": 4, "in_features": 6, "width": 8, "out_features": 3, "layers": 2}
TINY = ("workload=mlp", *(f"workload.{name}={size}" for name, size in SIZES.items()))
TWO_CYCLES = ("profiler.schedule.repeat=2", "profiler.schedule.active=1")

Train = Callable[[Recorder], None]


def planned(folder: Path, *overrides: str) -> Plan:
    return plan(composed("device=cpu", *TINY, *overrides), folder)


def recorder_in(folder: Path, *overrides: str, **words: Any) -> Recorder:
    return Recorder(planned(folder, *overrides).recording, folder, **words)


def plain_training() -> Train:
    """The program of a user: the same model as the workload mlp, and nothing of the harness."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs, labels = torch.randn(4, 6), torch.randint(3, (4,))

    def train(recorder: Recorder) -> None:
        with recorder.stage("forward"):
            loss = functional.cross_entropy(model(inputs), labels)
        with recorder.stage("backward"):
            torch.autograd.backward(loss)
        with recorder.stage("optimizer"):
            optimizer.step()
            optimizer.zero_grad()
        loss.detach()

    return train


def record(recorder: Recorder, steps: int = 4) -> None:
    """Train by hand, with warm-up and baseline as a run has them."""
    train = plain_training()
    with recorder:
        for phase in ("warmup", "warmup", *["baseline"] * 5, *[None] * steps):
            with recorder.step(phase):
                train(recorder)


def operators(folder: Path) -> pl.DataFrame:
    paths = sorted(folder.glob("cycles/*/operators.parquet"))
    return pl.concat([pl.read_parquet(path) for path in paths])


def counted(folder: Path) -> list[tuple[object, ...]]:
    kinds = ("step", "stage", "name", "input_shapes", "input_dtypes", "flops")
    return sorted(operators(folder).group_by(kinds).len().rows(), key=str)


def times(folder: Path) -> list[StepTime]:
    lines = (folder / "steps.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=StepTime) for line in lines]


def raise_at(number: int, last: int, error: Exception) -> None:
    if number == last:
        raise error


def in_thread(work: Callable[[], object]) -> list[BaseException]:
    """Run something in another thread; return what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except (RecorderError, ValueError) as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised


@pytest.mark.parametrize("overrides", [("profiler=level1",), TWO_CYCLES], ids=str)
def test_a_loop_by_hand_is_recorded_as_the_sessions_is(
    tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    by_hand, by_session = tmp_path / "hand", tmp_path / "session"
    phases: list[str] = []

    def report(progress: Progress) -> None:
        phases.append(progress.phase)

    record(recorder_in(by_hand, *overrides))
    outcome = execute(planned(by_session, *overrides), report)
    assert (outcome.status, outcome.reason) == ("ok", "")
    assert len(counted(by_hand)) > 20
    assert counted(by_hand) == counted(by_session)
    assert {"forward", "backward", "optimizer"} <= set(operators(by_hand)["stage"])
    named = [[(time.phase, time.step) for time in times(run)] for run in (by_hand, by_session)]
    assert named[0] == named[1]
    writing = [phase for phase in phases if phase not in {"build", "drain", "done"}]
    assert writing == [phase for phase, _ in named[0]]
    raw = [sorted(path.name for path in (run / "raw").iterdir()) for run in (by_hand, by_session)]
    assert raw[0] == raw[1]


def test_the_facts_are_known_when_it_is_closed(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    assert (recorder.facts.device_name, recorder.facts.event_counts) == ("", {})
    assert set(recorder.facts.versions) == {"python", "torch"}
    record(recorder)
    facts = recorder.facts
    assert facts.device_name
    assert not facts.emulated
    assert sum(counts.rows for counts in facts.event_counts.values()) == operators(tmp_path).height
    written: list[str] = []
    recorder = recorder_in(tmp_path / "two", *TWO_CYCLES, on_write=lambda: written.append("now"))
    record(recorder)
    assert written == ["now", "now"]


def test_an_exception_passes_unchanged_and_what_was_recorded_is_kept(tmp_path: Path) -> None:
    error = ValueError("of the user")
    train = plain_training()

    def program() -> None:
        with recorder_in(tmp_path) as recorder:
            for number in range(4):
                with recorder.step():
                    train(recorder)
                    raise_at(number, 2, error)

    with pytest.raises(ValueError, match="of the user") as caught:
        program()
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (None, None)
    assert [time.step for time in times(tmp_path)] == [0, 1]
    steps = operators(tmp_path)["step"].drop_nulls().unique().sort().to_list()
    assert steps == [1, 2], "the operators of the unfinished step are there, too"
    assert (tmp_path / "raw" / "trace.json.gz").exists()
    with recorder_in(tmp_path / "next"):
        """The process is free for another one."""


def test_a_step_that_raised_can_be_tried_again(tmp_path: Path) -> None:
    with recorder_in(tmp_path) as recorder:
        for number in range(5):
            try:
                with recorder.step():
                    torch.ones(2)
                    raise_at(number, 1, StopIteration())
            except StopIteration:
                assert recorder.phase == "active"
                torch.ones(3)  # belongs to no step
    assert [time.step for time in times(tmp_path)] == [0, 1, 2, 3]
    ones = operators(tmp_path).filter(pl.col("name") == "aten::ones")
    assert ones["step"].to_list() == [1, None, 1, 2, 3]


def test_it_records_in_a_thread_that_is_not_the_main_one(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path / "thread", hold_interrupts=True)
    assert in_thread(lambda: record(recorder)) == []
    record(recorder_in(tmp_path / "main"))
    assert counted(tmp_path / "thread") == counted(tmp_path / "main")


def test_another_threads_recorder_is_refused_and_goes_on(tmp_path: Path) -> None:
    with recorder_in(tmp_path) as recorder:
        with recorder.step():
            torch.ones(2)
        calls: tuple[Callable[[], object], ...]
        calls = (recorder.begin_step, recorder.end_step, recorder.advance, recorder.close)
        for call in calls:
            (raised,) = in_thread(call)
            assert "in another thread" in str(raised)
        for _ in range(3):
            with recorder.step():
                torch.ones(2)
    assert set(operators(tmp_path)["step"].drop_nulls()) == {1, 2, 3}


def test_calls_in_a_wrong_order_are_named(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    for call in (recorder.begin_step, recorder.end_step, recorder.advance):
        with pytest.raises(RecorderError, match="is not open"):
            call()
    recorder.close()
    recorder.open()
    with pytest.raises(RecorderError, match="no step has begun"):
        recorder.end_step()
    recorder.begin_step()
    with pytest.raises(RecorderError, match="no step has ended"):
        recorder.advance()
    recorder.close()
    recorder.close()
    assert in_thread(recorder.close) == []
    with pytest.raises(RecorderError, match="is not open"):
        recorder.begin_step()
    with pytest.raises(RecorderError, match="opens only once"):
        recorder.open()
    with recorder.stage("forward"):
        """A program may name its stages where nothing is recorded."""


def test_two_recorders_at_once_are_an_error_and_the_first_goes_on(tmp_path: Path) -> None:
    first, second = recorder_in(tmp_path / "first"), recorder_in(tmp_path / "second")
    with first:
        for open_ in (second.open, lambda: in_thread(second.open)):
            raised: list[BaseException] | None
            try:
                raised = open_()
            except RecorderError as error:
                raised = [error]
            assert raised
            assert "another recorder is open" in str(raised[0])
        assert not (tmp_path / "second").exists()
        for _ in range(4):
            with first.step():
                torch.ones(2)
    assert set(operators(tmp_path / "first")["step"].drop_nulls()) == {1, 2, 3}
    record(second)


def test_a_profiler_of_the_users_own_is_an_error(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    with profile(activities=[ProfilerActivity.CPU]) as users:
        with pytest.raises(RecorderError, match="stop that profiler first"):
            recorder.open()
        (raised,) = in_thread(recorder.open)
        assert "stop that profiler first" in str(raised)
        torch.ones(2)
    assert users.events(), "the user's own recorded on"
    record(recorder)


def test_a_profiler_that_starts_before_the_first_recorded_step_is_an_error(tmp_path: Path) -> None:
    users = profile(activities=[ProfilerActivity.CPU])
    recorder = recorder_in(tmp_path, "profiler.schedule.wait=1")
    with recorder:
        with recorder.step("baseline"):
            users.start()
        with pytest.raises(RecorderError, match="stop that profiler first"):
            recorder.begin_step()
        users.stop()
        recorder.begin_step()
        users.start()
        recorder.end_step()
        with pytest.raises(RecorderError, match="stop that profiler first"):
            recorder.advance()
        users.stop()


def test_a_workload_whose_profiler_runs_is_a_failed_run(tmp_path: Path) -> None:
    users = profile(activities=[ProfilerActivity.CPU])
    with users:
        outcome = execute(planned(tmp_path), lambda _: None)
    assert (outcome.status, outcome.traceback) == ("failed", "")
    assert "stop that profiler first" in outcome.reason


def test_a_device_that_is_not_there_leaves_nothing_open(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        return
    made = plan(composed("device=cuda", *TINY), tmp_path)
    with pytest.raises(MachineError):
        Recorder(made.recording, tmp_path).open()
    record(recorder_in(tmp_path))


def test_a_cycle_that_cannot_be_written_is_an_error_and_the_process_lives_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "cycles" / "000").mkdir(parents=True)
    with pytest.raises(WriteError, match="cycles/000 cannot be written: File exists"):
        record(recorder_in(tmp_path, *TWO_CYCLES))
    record(recorder_in(tmp_path / "next", *TWO_CYCLES))
    assert set(operators(tmp_path / "next")["step"].drop_nulls()) == {1, 3}


def state() -> dict[str, Any]:
    """What a recorder must leave as it was."""
    tracker = torch.autograd.profiler.KinetoStepTracker
    return {
        "argv": list(sys.argv),
        "path": list(sys.path),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in signal.Signals},
        "warnings": list(warnings.filters),
        "random": random.getstate(),
        "torch's random numbers": torch.get_rng_state().tolist(),
        "type": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads of torch": torch.get_num_threads(),
        "threads": threading.enumerate(),
        "hooks": (sys.excepthook, threading.excepthook, sys.gettrace(), sys.getprofile()),
        "torch's profiler": (torch._C._autograd._profiler_enabled(), dict(tracker._step_dict)),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
    }


@pytest.mark.parametrize("steps", [2, 4], ids=["closed in a cycle", "whole"])
def test_nothing_of_the_process_is_changed(tmp_path: Path, steps: int) -> None:
    def ignore(*_: object) -> None:
        """The user's own profile function, which torch's stacks take away."""

    words = ("profiler=memory", "profiler.memory_timeline=true")
    record(recorder_in(tmp_path / "first", *words))
    recorder = recorder_in(tmp_path / "second", *words)
    sys.setprofile(ignore)
    try:
        before = state()
        with recorder:
            # torch sets it when it profiles CUDA graphs on an old CUDA.
            os.environ["TEARDOWN_CUPTI"] = "0"
            for _ in range(steps):
                with recorder.step():
                    torch.ones(2)
        after = state()
    finally:
        sys.setprofile(None)
    assert after == before
    assert (tmp_path / "second" / "raw" / "memory_timeline.json.gz").exists()


@pytest.mark.parametrize("hold", [False, True])
def test_a_signal_handler_is_set_while_a_cycle_is_written_and_only_if_asked(
    tmp_path: Path, hold: bool
) -> None:
    before = signal.getsignal(signal.SIGINT)
    while_writing: list[bool] = []
    recorder = recorder_in(
        tmp_path,
        on_write=lambda: while_writing.append(signal.getsignal(signal.SIGINT) is not before),
        hold_interrupts=hold,
    )
    with recorder:
        for _ in range(4):
            with recorder.step():
                torch.ones(2)
                assert signal.getsignal(signal.SIGINT) is before
    assert while_writing == [hold]


def test_an_interrupt_while_a_partial_cycle_is_written_waits(tmp_path: Path) -> None:
    recorder = recorder_in(
        tmp_path, on_write=lambda: signal.raise_signal(signal.SIGINT), hold_interrupts=True
    )
    recorder.open()
    for _ in range(3):
        with recorder.step():
            torch.ones(2)
    with pytest.raises(KeyboardInterrupt):
        recorder.close()
    assert set(operators(tmp_path)["step"].drop_nulls()) == {1, 2}
    recorder.close()


def test_a_rank_that_does_not_record_makes_the_same_steps_without_a_profiler(
    tmp_path: Path,
) -> None:
    two = composed("device=cpu", *TINY, "execution=torchrun", "profiler.ranks=[0]")
    silent = plan(two, tmp_path, Rank(rank=1, world_size=2))
    assert (silent.recording.recorded, silent.recording.expectations) == ((), ())
    assert plan(two, tmp_path, Rank(rank=0, world_size=2)).recording.expectations
    with Recorder(silent.recording, tmp_path) as recorder:
        for _ in range(silent.loop.steps):
            with recorder.step(), recorder.stage("forward"):
                assert not torch.autograd.profiler._is_profiler_enabled
    lines = (tmp_path / "steps.jsonl").read_bytes().splitlines()
    times = [msgspec.json.decode(line, type=StepTime) for line in lines]
    assert [(time.phase, time.step) for time in times] == [
        ("unrecorded", number) for number in range(4)
    ]
    assert not list((tmp_path / "raw").iterdir())
