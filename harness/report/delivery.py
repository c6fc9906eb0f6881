"""Sections that say whether a capture can be trusted: delivery, consistency, event counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from harness.capture.run_record import Delivery, DeliveryStatus, RunRecord
from harness.report.results import RunResults
from harness.report.section import LEFT_OUT, Brief, Column, Row, Section
from harness.tables.event_counts import EventCounts, LinkedKernels


def delivery(results: RunResults) -> Section | None:
    """Show what arrived of what was requested."""
    record = results.record
    if not record.delivery:
        return None
    reasons = _reasons(record)
    reasons += [
        f"{item.setting}: accepted by delivery.accept" for item in record.delivery if item.accepted
    ]
    holds = record.consistency and not any(check.fails for check in record.consistency)
    checks = [_consistency_counts(record)] if holds else []
    return Section(
        title="Delivery: what was requested, what arrived",
        columns=(Column("", "status"), Column("setting"), Column("requested"), Column("arrived")),
        rows=tuple(map(_row, record.delivery)),
        notes=(*reasons, *checks),
        # The first section counts what was delivered, if that is all.
        brief=LEFT_OUT
        if all_delivered(record)
        else Brief(
            rows=tuple(_row(item) for item in record.delivery if item.status not in _AS_ONE_LINE),
            notes=(*_as_one_line(record), *reasons),
        ),
    )


_AS_ONE_LINE: Final[Mapping[DeliveryStatus, str]] = {
    "delivered": "delivered",
    "not_requested": "not requested",
}
"""Statuses whose settings share a line where there is little room."""


def _as_one_line(record: RunRecord) -> Iterator[str]:
    """Yield which settings arrived as requested, and which were not requested."""
    for status, words in _AS_ONE_LINE.items():
        names = [
            item.setting.rpartition(".")[2] for item in record.delivery if item.status == status
        ]
        if names:
            yield f"{len(names)} of {len(record.delivery)} {words}: {', '.join(names)}"


def consistency(results: RunResults) -> Section | None:
    """Show which checks are broken; run.json has the others."""
    broken = [check for check in results.record.consistency if check.fails]
    if not broken:
        return None
    reasons = (f"{check.name}: {check.reason}" for check in broken)
    return Section(
        title="Consistency: contradictions within the capture",
        columns=(Column("", "status"), Column("check"), Column("expected"), Column("found")),
        rows=tuple((check.status, check.name, check.expected, check.actual) for check in broken),
        notes=(*reasons, _consistency_counts(results.record)),
    )


def event_counts(results: RunResults) -> Section | None:
    """Show how many of the profiler's events are in the tables, and how many kernels are linked."""
    record = results.record
    notes = []
    if record.event_counts:
        notes.append(_events(record.event_counts))
    if record.linked:
        notes.append(_links(record.linked))
    if not notes:
        return None
    lost = [_links(linked)] if (linked := record.linked) and linked.linked < linked.kernels else []
    return Section(
        title="Events: what became of what was recorded",
        notes=tuple(notes),
        brief=Brief(notes=tuple(lost)),
    )


def all_delivered(record: RunRecord) -> bool:
    """Tell whether a run ended well, and all that was requested of it arrived as requested."""
    statuses = {item.status for item in record.delivery}
    return record.status == "ok" and record.verdict == "delivered" and statuses == {"delivered"}


def is_of_setting(item: Delivery) -> bool:
    """Tell whether an item of the delivery is about a setting, not about the capture itself."""
    return item.setting.startswith("profiler.")


def _reasons(record: RunRecord) -> list[str]:
    """Return why settings were not delivered, those with the same reason together."""
    if record.status != "ok":
        # The run ended early, which is reason enough.
        return []
    settings: dict[str, list[str]] = {}
    for item in record.delivery:
        if item.reason:
            settings.setdefault(item.reason, []).append(item.setting)
    return [f"{', '.join(names)}: {reason}" for reason, names in settings.items()]


def _row(item: Delivery) -> Row:
    return (item.status, item.setting, item.requested, _arrived(item))


def _arrived(item: Delivery) -> str:
    if item.status == "delivered":
        return item.arrived
    status = item.status.replace("_", " ")
    return f"{status}: {item.arrived}" if item.arrived else status


def _consistency_counts(record: RunRecord) -> str:
    statuses = [check.status for check in record.consistency]
    holding, broken = statuses.count("holds"), statuses.count("broken")
    return f"{holding} consistency checks hold, {len(statuses) - holding - broken} not applicable"


def _events(kinds: Mapping[str, EventCounts]) -> str:
    recorded = sum(counts.seen for counts in kinds.values())
    rows = sum(counts.rows for counts in kinds.values())
    marks = sum(counts.marks for counts in kinds.values())
    unread = {kind: counts.seen - counts.rows - counts.marks for kind, counts in kinds.items()}
    others = ", ".join(f"{count:,} {kind}" for kind, count in unread.items() if count)
    return f"{recorded:,} profiler events: {rows:,} table rows, {marks:,} step and stage marks" + (
        f"; in the trace only: {others}" if others else ""
    )


def _links(kernels: LinkedKernels) -> str:
    if kernels.time_ns:
        share = kernels.linked_ns / kernels.time_ns
    else:
        share = kernels.linked / kernels.kernels
    return (
        f"{kernels.linked:,} of {kernels.kernels:,} kernels are linked to the operator that"
        f" launched them, {share:.1%} of their time"
    )
