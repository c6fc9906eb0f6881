"""The loop of a run takes a workload as it is: what it raises, forks, replaces."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness.execution import recorder
from harness.execution.plan import plan
from harness.execution.protocol import Outcome, Plan, StepTime
from harness.execution.session import execute
from harness.stopping import Interrupted
from tests.support.composing import composed

ACTIONS: list[Callable[[], object]] = []
"""What the step of `factory` does at its third call; the first two warm up."""
STEPS = 11


def factory(**_: object) -> Callable[[], None]:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            ACTIONS[-1]()

    return step


def planned(folder: Path) -> Plan:
    target = f"workload.target={__name__}:factory"
    return plan(composed("device=cpu", "profiler=level0", "workload=callable", target), folder)


def outcome(folder: Path, action: Callable[[], object]) -> Outcome:
    ACTIONS.append(action)
    return execute(planned(folder), lambda _: None)


def times(folder: Path) -> list[StepTime]:
    lines = (folder / "steps.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=StepTime) for line in lines]


def raising(error: BaseException) -> Callable[[], object]:
    def action() -> None:
        raise error

    return action


class MineError(BaseException):
    pass


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt("mine"), SystemExit(0), GeneratorExit(), MineError("mine")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_workload_raises_is_its_failure(tmp_path: Path, error: BaseException) -> None:
    ended = outcome(tmp_path, raising(error))
    assert ended.status == "failed"
    assert ended.reason.startswith(f"the workload raised {type(error).__name__}")
    assert "in action" in ended.traceback
    assert len(times(tmp_path)) == 2


def test_a_signal_is_no_failure(tmp_path: Path) -> None:
    ended = outcome(tmp_path, raising(Interrupted()))
    assert (ended.status, ended.reason) == ("interrupted", "interrupted")


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (lambda: None, 0),
        (lambda: sys.exit(3), 3),
        (lambda: sys.exit("bye"), 1),
        (raising(ValueError("in the copy")), 1),
    ],
    ids=["returns", "exits", "exits with a text", "raises"],
)
def test_a_forked_copy_ends_as_python_ends(
    tmp_path: Path, action: Callable[[], object], code: int
) -> None:
    codes: list[int] = []

    def forks() -> None:
        copy = os.fork()
        if not copy:
            action()
            return
        codes.append(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))

    assert outcome(tmp_path, forks).status == "ok"
    assert codes == [code]
    assert len(times(tmp_path)) == STEPS, "the copy writes no steps"


def test_clocks_that_are_replaced_everywhere_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("time_ns", "perf_counter_ns")
    clocks = [getattr(time, name) for name in names]

    def freeze() -> None:
        for module in (time, recorder):
            for name, value in list(vars(module).items()):
                if value in clocks:
                    monkeypatch.setattr(module, name, lambda: 0)

    assert outcome(tmp_path, freeze).status == "ok"
    monkeypatch.undo()
    assert all(step.start_ns and step.duration_ns for step in times(tmp_path))
