"""The verdict on a job: from those on its ranks, and on those that left nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from harness.capture.run_record import Consistency, Delivery, DeliveryStatus, RankResult, RunRecord
from harness.errors import ExitCode, worst
from harness.execution.rank_watch import StopOrder

RANKS: Final = "profiler.ranks"
_WORST_FIRST: Final[tuple[DeliveryStatus, ...]] = (
    "missing",
    "substituted",
    "partial",
    "not_checkable",
    "not_requested",
    "delivered",
)
_LEFT_NOTHING: Final = "it left no run folder"


def result_of(rank: int, record: RunRecord | None) -> RankResult:
    """Return what became of a rank, by its record; None if it left none."""
    if record is None:
        return RankResult(
            rank=rank,
            records=True,
            status="missing",
            verdict="not_delivered",
            reason=_LEFT_NOTHING,
        )
    return RankResult(
        rank=rank,
        records=record.records,
        status=record.status,
        verdict=record.verdict,
        exit_code=record.exit_code,
        reason=record.reason or record.unended or record.analysis,
        step=record.timing.get("active"),
    )


class JobEnd(Struct, frozen=True, kw_only=True):
    """All that the verdict on a job rests on."""

    ranks: tuple[RankResult, ...]
    """What became of each."""
    records: Mapping[int, RunRecord]
    """Of those that left one."""
    order: StopOrder | None
    """Why the job was ended before its time, if it was."""
    launcher: str
    """Why the launcher itself failed; empty if it did not."""
    consistency: tuple[Consistency, ...]
    """The checks across the ranks."""


def ended(record: RunRecord, end: JobEnd) -> RunRecord:
    """Return the record of a job that is over; `record` is its first state."""
    ranks, records = end.ranks, end.records
    status, reason = _ending(ranks, end.order, end.launcher)
    delivery = (*_presence(ranks), *_delivery(records))
    failing = any(item.fails for item in delivery) or any(item.fails for item in end.consistency)
    failing |= any(rank.verdict == "not_delivered" for rank in ranks)
    pending = any(rank.verdict == "pending" for rank in ranks)
    verdict: Literal["delivered", "not_delivered", "pending"]
    verdict = "not_delivered" if failing else "pending" if pending else "delivered"
    lead = lead_of(records)
    ended_job = replace(
        record,
        writer=None,
        status=status,
        verdict=verdict,
        exit_code=_exit_code(status, ranks, failing=failing),
        reason=reason,
        ranks=ranks,
        delivery=delivery,
        consistency=end.consistency,
    )
    if lead is None:
        return ended_job
    # A job that is read again has them already.
    notes = dict.fromkeys(
        [*record.notes, *(note for each in records.values() for note in each.notes)]
    )
    return replace(
        ended_job,
        notes=tuple(notes),
        versions=record.versions | lead.versions,
        device_name=lead.device_name,
        program=lead.program,
        emulated=any(each.emulated for each in records.values()),
        timing=lead.timing,
        machine_load=lead.machine_load,
        event_counts=lead.event_counts,
        linked=lead.linked,
    )


def lead_of(records: Mapping[int, RunRecord]) -> RunRecord | None:
    """Return the record of the rank whose figures are shown: the first that recorded something."""
    recording = [each for _, each in sorted(records.items()) if each.records]
    return next(iter([each for each in recording if each.timing] + recording), None)


def _ending(
    ranks: Sequence[RankResult], order: StopOrder | None, launcher: str
) -> tuple[Literal["ok", "failed", "interrupted"], str]:
    """Return how a job ended, and why: the rank that ended it, not those that were stopped."""
    if order is not None and order.rank is not None:
        return "failed", f"rank {order.rank}: {order.reason}"
    failed = [rank for rank in ranks if rank.status == "failed"]
    interrupted = [rank for rank in ranks if rank.status == "interrupted"]
    if failed:
        return "failed", f"rank {failed[0].rank}: {failed[0].reason}"
    if order is not None or interrupted:
        return "interrupted", order.reason if order else interrupted[0].reason
    if launcher:
        return "failed", launcher
    return "ok", ""


def _exit_code(status: str, ranks: Sequence[RankResult], *, failing: bool) -> ExitCode:
    codes = [rank.exit_code for rank in ranks if rank.exit_code is not None]
    if status == "interrupted":
        return ExitCode.INTERRUPTED
    if codes and set(codes) == {ExitCode.UNAVAILABLE}:
        return ExitCode.UNAVAILABLE
    if status == "failed":
        return ExitCode.FAILED
    return ExitCode.NOT_DELIVERED if failing else worst(codes)


def _presence(ranks: Sequence[RankResult]) -> Iterator[Delivery]:
    """Yield whether every rank has left something."""
    there = [rank.rank for rank in ranks if rank.status not in {"missing", "running"}]
    gone = [rank for rank in ranks if rank.rank not in there]
    yield Delivery(
        setting=RANKS,
        requested=f"{len(ranks)} rank(s)",
        arrived=_numbers(there),
        status="missing" if gone else "delivered",
        expectation="every rank leaves a run folder whose run has ended",
        reason="; ".join(f"rank {rank.rank}: {rank.reason}" for rank in gone),
    )


def _delivery(records: Mapping[int, RunRecord]) -> Iterator[Delivery]:
    """Yield the delivery of each setting: the worst over the ranks, with their numbers."""
    items: dict[str, dict[int, Delivery]] = {}
    for rank, record in sorted(records.items()):
        for item in record.delivery:
            items.setdefault(item.setting, {})[rank] = item
    for of_ranks in items.values():
        unaccepted = [item for item in of_ranks.values() if not item.accepted]
        order = sorted(unaccepted or of_ranks.values(), key=lambda each: _place(each.status))
        statuses = {item.status for item in of_ranks.values()}
        yield replace(
            order[0],
            status="partial" if statuses > {"missing"} else order[0].status,
            arrived=_by_rank({rank: item.arrived for rank, item in of_ranks.items()}),
            reason=_by_rank({rank: item.reason for rank, item in of_ranks.items() if item.reason}),
        )


def _place(status: DeliveryStatus) -> int:
    return _WORST_FIRST.index(status)


def _by_rank(texts: Mapping[int, str]) -> str:
    """Return one text for all ranks if it is the same, else those of each with its number."""
    if len(set(texts.values())) < 2:  # noqa: PLR2004 - it is one text
        return next(iter(texts.values()), "")
    return "; ".join(f"rank {rank}: {text or 'nothing'}" for rank, text in texts.items())


def _numbers(ranks: Sequence[int]) -> str:
    if not ranks:
        return ""
    if list(ranks) == list(range(len(ranks))) and len(ranks) > 1:
        return f"ranks 0–{len(ranks) - 1}"
    return f"rank {', '.join(map(str, ranks))}"
