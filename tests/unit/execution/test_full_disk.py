"""A child process on a full disk reports what it could not write, at least to its parent."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.execution.plan import plan
from harness.execution.process import run
from harness.execution.protocol import Progress, write_json
from harness.paths import RunFolder
from tests.support.composing import composed
from tests.support.full_disks import fill, small_disk, unfinished_files

TINY = ("profiler=level0", "workload=matmul", "workload.shapes=[[8,8,8]]")


class _Listener:
    """Keeps the phases and the lines that it is told."""

    lends_streams = False

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.lines: list[str] = []

    def progress(self, progress: Progress) -> None:
        self.phases.append(progress.phase)

    def output(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("room", [2, 3])
def test_an_outcome_reaches_the_parent_where_there_is_no_room_for_it(
    tmp_path: Path, room: int
) -> None:
    listener = _Listener()
    with small_disk(tmp_path / "disk", pages=8) as disk:
        planned = plan(composed(*TINY), disk)
        write_json(planned, RunFolder(disk).plan)
        fill(disk, leave=room)  # for harness.log and steps.jsonl; and for the outcome
        outcome = run(planned, listener)
        assert RunFolder(disk).outcome.exists() == (room == 3)
        assert unfinished_files(disk) == []
    assert outcome.status == "failed"
    assert "cycles/000/" in outcome.reason
    assert "cannot be written: No space left on device" in outcome.reason
    assert outcome.versions["torch"], "the rest of what the child knows is there, too"
    assert outcome.traceback == ""
    assert not any("Traceback" in line for line in listener.lines)
    assert listener.phases[0] == "build"
