"""The verdict on a job: who ended it, who is missing, and what of each setting arrived where."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from harness.capture.run_record import Consistency, Delivery, RunRecord, Timing
from harness.errors import ExitCode
from harness.execution.rank_watch import StopOrder
from harness.ranks.verdict import JobEnd, ended, lead_of, result_of

SHAPES = Delivery(
    setting="profiler.record_shapes",
    requested="true",
    arrived="9 operators",
    status="delivered",
    expectation="shapes",
)
BEGUN = RunRecord(
    status="running",
    verdict="pending",
    exit_code=None,
    versions={},
    host="here",
    requested={},
    world_size=2,
)
GOOD = replace(
    BEGUN,
    status="ok",
    verdict="delivered",
    exit_code=ExitCode.OK,
    delivery=(SHAPES,),
    timing={"active": Timing(steps=3, median_ns=5, min_ns=4, max_ns=6)},
)
DEAD = replace(BEGUN, status="failed", verdict="not_delivered", exit_code=1, reason="SIGKILL")
STOPPED = replace(DEAD, reason="stopped, since rank 1 has ended the job: SIGKILL")


def job(*ranks: RunRecord | None, **end: Any) -> RunRecord:
    records = {
        rank: replace(record, rank=rank) for rank, record in enumerate(ranks) if record is not None
    }
    results = tuple(result_of(rank, records.get(rank)) for rank in range(len(ranks)))
    given = {"order": None, "launcher": "", "consistency": (), **end}
    return ended(BEGUN, JobEnd(ranks=results, records=records, **given))


def test_a_job_is_delivered_if_all_its_ranks_are() -> None:
    done = job(GOOD, GOOD)
    assert (done.status, done.verdict, done.exit_code) == ("ok", "delivered", 0)
    presence, shapes = done.delivery
    assert (presence.setting, presence.status) == ("profiler.ranks", "delivered")
    assert shapes.arrived == "9 operators"
    assert done.timing == GOOD.timing


def test_a_missing_rank_is_a_failed_delivery() -> None:
    done = job(GOOD, None)
    assert (done.status, done.verdict, done.exit_code) == ("ok", "not_delivered", 3)
    assert done.delivery[0].status == "missing"
    assert done.delivery[0].reason == "rank 1: it left no run folder"


def test_the_rank_that_ended_the_job_is_the_reason() -> None:
    done = job(STOPPED, DEAD, order=StopOrder(rank=1, reason="SIGKILL"))
    assert (done.status, done.reason, done.exit_code) == ("failed", "rank 1: SIGKILL", 1)


def test_a_rank_whose_own_process_died_is_the_reason_and_no_interrupt() -> None:
    interrupted = replace(GOOD, status="interrupted", exit_code=130, reason="interrupted")
    done = job(interrupted, DEAD, order=StopOrder(reason="interrupted"))
    assert (done.status, done.reason, done.exit_code) == ("failed", "rank 1: SIGKILL", 1)
    done = job(interrupted, interrupted, order=StopOrder(reason="interrupted"))
    assert (done.status, done.exit_code) == ("interrupted", 130)


def test_a_machine_that_cannot_do_it_is_told_by_the_exit_code() -> None:
    cannot = replace(DEAD, exit_code=ExitCode.UNAVAILABLE, reason="no NPU")
    assert job(cannot, cannot).exit_code == ExitCode.UNAVAILABLE
    assert job(GOOD, cannot).exit_code == ExitCode.FAILED


@pytest.mark.parametrize(
    ("status", "verdict", "shown"),
    [("missing", "not_delivered", "partial"), ("not_checkable", "delivered", "not_checkable")],
)
def test_a_setting_is_delivered_as_where_it_is_worst(status: Any, verdict: Any, shown: str) -> None:
    less = replace(SHAPES, arrived="nothing", status=status, reason="no operators")
    code = 3 if verdict == "not_delivered" else 0
    other = replace(GOOD, delivery=(less,), verdict=verdict, exit_code=code)
    done = job(GOOD, other)
    shapes = done.delivery[1]
    assert (shapes.status, done.verdict, done.exit_code) == (shown, verdict, code)
    assert shapes.arrived == "rank 0: 9 operators; rank 1: nothing"
    assert shapes.reason == "no operators"


def test_ranks_that_contradict_each_other_are_not_delivered() -> None:
    broken = Consistency(name="collectives", status="broken", reason="3 and 4")
    done = job(GOOD, GOOD, consistency=(broken,))
    assert (done.verdict, done.exit_code, done.consistency) == ("not_delivered", 3, (broken,))


def test_captures_that_are_analysed_later_leave_the_verdict_pending() -> None:
    later = replace(GOOD, verdict="pending", delivery=())
    assert (job(later, later).verdict, job(later, later).exit_code) == ("pending", 0)


def test_the_figures_are_of_the_first_rank_that_recorded() -> None:
    silent = replace(GOOD, records=False, timing={}, delivery=())
    records = {0: silent, 1: replace(GOOD, rank=1)}
    lead = lead_of(records)
    assert lead is not None
    assert lead.rank == 1
    assert lead_of({0: silent}) is None
