"""What the stack of a crash shows, in stacks as Python's faulthandler prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness.execution
from harness.execution.crashes import cause_of_crash

LOOP = str(Path(harness.execution.__file__).with_name("session.py"))
RECORDER = str(Path(harness.execution.__file__).with_name("recorder.py"))
ENTERS = ("/lib/torch/profiler/profiler.py", 1118, "__enter__")
PREPARES = ("/lib/torch/autograd/profiler.py", 402, "_prepare_trace")
RANGE = ("/lib/torch/autograd/profiler.py", 780, "__enter__")
USER = ("/home/me/mine.py", 37, "step")
STEP = (LOOP, 171, "_step")
Frame = tuple[str, int, str]


def stack(*frames: Frame) -> str:
    lines = [f'  File "{file}", line {line} in {function}\n' for file, line, function in frames]
    head = (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x0 (most recent call first):\n"
    )
    return head + "".join(lines) + "\nExtension modules: torch._C (total: 1)\n"


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ((PREPARES, ENTERS, USER, STEP), "a profiler of its own while the harness's records"),
        ((PREPARES, USER, STEP), "(mine.py, line 37, in step, in the stack of harness.log)"),
        ((ENTERS, USER, USER, STEP), "take that profiler out of the step"),
        ((RANGE, USER, STEP), "a crash in native code, called in profiler.py, line 780"),
        ((USER, STEP), "called in mine.py, line 37, in step (the stack in harness.log)"),
        # The harness's own profiler.
        ((ENTERS, (RECORDER, 3, "advance"), STEP), "called in profiler.py, line 1118"),
    ],
)
def test_the_last_stack_shows_the_cause(
    tmp_path: Path, frames: tuple[Frame, ...], words: str
) -> None:
    log = tmp_path / "harness.log"
    log.write_text("printed before\n" + stack(USER, STEP) + stack(*frames))
    assert words in cause_of_crash(log)


def test_without_a_stack_nothing_is_known(tmp_path: Path) -> None:
    log = tmp_path / "harness.log"
    assert cause_of_crash(log) == ""
    log.write_text("Fatal Python error: Segmentation fault\n")
    assert cause_of_crash(log) == ""
