"""Arrival: the sections of a summary that say what arrived of what was asked for and recorded."""

from __future__ import annotations

from collections.abc import Iterator

from harness.capture.run_record import Delivery, RunRecord
from harness.report.section import Section
from harness.tables.event_counts import LinkedKernels

_MARKS = {
    "delivered": "✓",
    "partial": "◐",
    "missing": "✗",
    "substituted": "✗",
    "not_checkable": "–",
    "not_requested": "–",
}


def sections(record: RunRecord) -> Iterator[Section]:
    """Yield what there is to say of delivery, consistency and coverage."""
    yield from _delivery(record)
    yield from _consistency(record)
    yield from _coverage(record)


def of_a_setting(item: Delivery) -> bool:
    """Tell whether an item of the delivery is about a setting, not about the capture itself."""
    return item.setting.startswith("profiler.")


def _delivery(record: RunRecord) -> Iterator[Section]:
    delivery = record.delivery
    if not delivery:
        return
    # A run that ended early needs no other reason for what it did not deliver.
    whys: dict[str, list[str]] = {}
    for item in delivery if record.status == "ok" else ():
        if item.reason:
            whys.setdefault(item.reason, []).append(item.setting)
    notes = [f"{', '.join(settings)}: {why}" for why, settings in whys.items()]
    notes += [f"{item.setting}: accepted by delivery.accept" for item in delivery if item.accepted]
    if record.consistency and not any(each.fails for each in record.consistency):
        notes.append(_counted(record))
    yield Section(
        title="Delivery: what was asked, what arrived",
        columns=("", "setting", "asked", "arrived"),
        rows=tuple(
            (
                _MARKS[item.status],
                item.setting,
                item.requested,
                item.arrived if item.status == "delivered" else _undelivered(item),
            )
            for item in delivery
        ),
        notes=tuple(notes),
    )


def _consistency(record: RunRecord) -> Iterator[Section]:
    """Show what is broken; the others are in run.json."""
    checks = record.consistency
    broken = [each for each in checks if each.fails]
    if not broken:
        return
    yield Section(
        title="Consistency: what contradicts itself in the capture",
        columns=("", "check", "expected", "found"),
        rows=tuple(
            (_MARKS["missing"], each.name, each.expected or "–", each.actual or "–")
            for each in broken
        ),
        notes=(*(f"{each.name}: {each.reason}" for each in broken), _counted(record)),
    )


def _counted(record: RunRecord) -> str:
    statuses = [each.status for each in record.consistency]
    holding, broken = statuses.count("holds"), statuses.count("broken")
    return f"{holding} consistency checks hold, {len(statuses) - holding - broken} not applicable"


def _undelivered(item: Delivery) -> str:
    status = item.status.replace("_", " ")
    return f"{status}: {item.arrived}" if item.arrived else status


def _coverage(record: RunRecord) -> Iterator[Section]:
    """Show what became of everything that was recorded."""
    kinds = record.event_counts
    notes = []
    if kinds:
        seen = sum(each.seen for each in kinds.values())
        rows = sum(each.rows for each in kinds.values())
        marks = sum(each.marks for each in kinds.values())
        left = {kind: each.seen - each.rows - each.marks for kind, each in kinds.items()}
        others = ", ".join(f"{count:,} {kind}" for kind, count in left.items() if count)
        notes.append(
            f"{seen:,} profiler events: {rows:,} table rows, {marks:,} step and stage marks"
            + (f"; in the trace only: {others}" if others else "")
        )
    if record.linked:
        notes.append(_links(record.linked))
    if notes:
        yield Section(title="Coverage: what became of what was recorded", notes=tuple(notes))


def _links(found: LinkedKernels) -> str:
    part = found.linked_ns / found.time_ns if found.time_ns else found.linked / found.kernels
    return (
        f"{found.linked:,} of {found.kernels:,} kernels are linked to the operator that launched"
        f" them, {part:.1%} of their time"
    )
