"""A run whose steps do not end is noticed once, and its process is asked where it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.execution import stall
from harness.execution.plan import plan
from harness.execution.protocol import Progress
from harness.execution.stall import StallWatch, ask_for_stack, frame_of, is_of_stack
from harness.settings.ranks import Rank
from tests.support.composing import composed

Clock = Callable[[float], None]
ACTIVE = Progress(phase="active", done=3, total=9)


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Clock:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def by(seconds: float) -> None:
        now[0] += seconds

    return by


def watch(folder: Path, rank: int, *words: str, world_size: int = 1) -> StallWatch:
    planned = plan(composed(*words), folder, Rank(rank=rank, world_size=world_size))
    return StallWatch(planned)


def ended(folder: Path, steps: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "steps.jsonl").write_bytes(b"{}\n" * steps)


def test_a_stall_is_told_once_and_again_after_a_step(tmp_path: Path, advance: Clock) -> None:
    watched = watch(tmp_path, 0)
    watched.take(ACTIVE)
    ended(tmp_path, 3)
    advance(59)
    assert watched.notice() == ""  # It sees the three steps.
    advance(59)
    assert watched.notice() == ""
    advance(1)
    notice = watched.notice()
    assert notice.startswith("the run has ended no step since ")
    assert "(60 s), 3 before; Ctrl-C ends the run" in notice
    assert "execution.timeout_s=SECONDS" in notice
    advance(600)
    assert watched.notice() == ""
    ended(tmp_path, 4)
    advance(1)
    assert watched.notice() == ""
    advance(60)
    assert "4 before" in watched.notice()


@pytest.mark.parametrize("phase", ["build", "drain", "exit_barrier", "analyse", "done"])
def test_what_is_no_step_may_take_its_time(tmp_path: Path, advance: Clock, phase: str) -> None:
    watched = watch(tmp_path, 0)
    watched.take(replace(ACTIVE, phase=phase))
    advance(3600)
    assert watched.notice() == ""


def test_a_program_that_is_one_step_and_null_are_never_told(tmp_path: Path, advance: Clock) -> None:
    program = ("workload=program", "workload.module=train", "workload.step=whole")
    for words in (("execution.stall_notice_s=null",), program):
        watched = watch(tmp_path, 0, *words)
        watched.take(ACTIVE)
        advance(1e6)
        assert watched.notice() == ""


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((5, 5, 5), "5 before; all ranks are in the same step"),
        ((5, 4, 5), "5 before; behind is rank 1, with 4."),
        ((5, 4, 4), "5 before; behind is rank 1, 2, with 4."),
        ((5, 0, 6), "5 before; behind is rank 1, with 0."),
    ],
)
def test_the_ranks_with_the_fewest_steps_are_named(
    tmp_path: Path, advance: Clock, counts: tuple[int, ...], said: str
) -> None:
    for rank, count in enumerate(counts):
        if count:
            ended(tmp_path / "ranks" / str(rank), count)
    watched = watch(tmp_path / "ranks" / "0", 0, world_size=3)
    watched.take(ACTIVE)
    advance(1)
    watched.notice()
    advance(60)
    notice = watched.notice()
    assert notice.startswith("rank 0 has ended no step since ")
    assert said in notice


CHILD = """
import faulthandler, os, sys, time
from harness.execution.stall import STACK_SIGNAL
descriptor = int(sys.argv[1])
if sys.argv[2] != "catches nothing":
    faulthandler.register(STACK_SIGNAL, descriptor, all_threads=False)
if sys.argv[2] == "closes it":
    os.dup2(os.open("mine", os.O_CREAT | os.O_RDWR), descriptor)
print("there", flush=True)
time.sleep(1.5)
"""


@pytest.mark.parametrize("kind", ["catches it", "catches nothing", "closes it"])
def test_a_process_shows_its_stack_and_comes_to_no_harm(tmp_path: Path, kind: str) -> None:
    reading, writing = os.pipe()
    pipe = os.fstat(writing)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(writing), kind],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(stall.__file__).parents[2])},
        stdout=subprocess.PIPE,
        pass_fds=(writing,),
    ) as process:
        os.close(writing)
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        time.sleep(0.3)
        ask_for_stack(process.pid, writing, pipe)
        assert process.wait() == 0
    with os.fdopen(reading, "rb") as lines:
        shown = lines.readlines()
    if kind != "catches it":
        assert shown == []
        assert kind != "closes it" or (tmp_path / "mine").read_bytes() == b""
        return
    assert all(map(is_of_stack, shown))
    assert [frame_of(line) for line in shown] == ["", '  File "<string>", line 10 in <module>']
    ask_for_stack(process.pid, writing, pipe)  # It is gone.


def test_frames_of_what_runs_the_workload_are_left_out() -> None:
    ours = f'  File "{Path(stall.__file__).with_name("child.py")}", line 60 in main\n'
    assert frame_of(ours.encode()) == frame_of(b'  File "<string>", line 1 in <module>\n') == ""
    assert frame_of(b'  File "train.py", line 15 in <module>\n').endswith("in <module>")
    assert not is_of_stack(b'{"phase":"active","done":1,"total":2}')
