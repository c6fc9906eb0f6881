"""Ranks hear of each other by files: who ended the job, and who has made its steps."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from harness.execution.protocol import Outcome
from harness.execution.rank_watch import RankWatch, StopOrder, order_stop, stop_order
from harness.paths import RunFolder


def watches(folder: Path, world_size: int) -> list[RankWatch]:
    job = RunFolder(folder)
    for rank in range(world_size):
        job.rank(rank).path.mkdir(parents=True)
    return [
        RankWatch(folder=job.rank(rank), rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]


def test_the_first_rank_that_ends_the_job_is_named_to_all(tmp_path: Path) -> None:
    first, second = watches(tmp_path, 2)
    assert first.stop_reason() == ""
    second.tell_others(Outcome(status="ok"))
    assert first.stop_reason() == ""
    second.tell_others(Outcome(status="failed", reason="died of SIGKILL"))
    first.tell_others(Outcome(status="failed", reason="connection closed by peer"))
    order = stop_order(RunFolder(tmp_path))
    assert order == StopOrder(rank=1, reason="died of SIGKILL")
    assert first.stop_reason() == "stopped, since rank 1 has ended the job: died of SIGKILL"
    assert [path.name for path in (tmp_path / "ranks").iterdir() if path.is_file()] == ["stop.json"]


def test_a_job_that_is_interrupted_has_no_culprit(tmp_path: Path) -> None:
    first, second = watches(tmp_path, 2)
    second.tell_others(Outcome(status="interrupted", reason="interrupted"))
    assert first.stop_reason() == "interrupted"


def test_a_rank_that_is_done_waits_for_the_others(tmp_path: Path) -> None:
    first, second = watches(tmp_path, 2)
    late = threading.Timer(0.2, second.wait_at_end, [5.0])
    late.start()
    begun = time.monotonic()
    assert first.wait_at_end(5.0) == ()
    assert time.monotonic() - begun > 0.15
    late.join()


def test_it_waits_no_longer_than_its_limit_and_names_who_is_late(tmp_path: Path) -> None:
    first, *_ = watches(tmp_path, 3)
    (note,) = first.wait_at_end(0.1)
    assert note.startswith("rank 1, 2 had not made its steps 0.1 s after this one")
    assert "execution.exit_barrier_timeout_s" in note


def test_it_does_not_wait_in_a_job_that_has_ended(tmp_path: Path) -> None:
    first, *_ = watches(tmp_path, 2)
    order_stop(RunFolder(tmp_path), StopOrder(rank=1, reason="gone"))
    begun = time.monotonic()
    assert first.wait_at_end(None) == ()
    assert time.monotonic() - begun < 1
