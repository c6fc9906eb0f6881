"""The first section of a run: what ran where, and how it ended."""

from __future__ import annotations

from typing import Final

from harness.capture.capture import Emulation
from harness.capture.run_record import RunRecord
from harness.report.delivery import all_delivered, is_of_setting
from harness.report.results import RunResults
from harness.report.section import Brief, Section

_NAMED: Final = 5
"""Operators that are named of those that the emulator did not compute."""
_NOT_ANALYSED: Final = "the captures are not analysed yet, so the delivery is not checked"
_VERDICTS: Final = {
    "delivered": "everything requested was delivered",
    "not_delivered": "NOT everything requested was delivered",
    "pending": _NOT_ANALYSED,
}


def headline(results: RunResults) -> Section:
    """Show what ran where, how it ended and the exit code."""
    record = results.record
    notes = [_subject(record)]
    if record.emulated:
        notes.append("EMULATED device: every time and counter is invented")
    computed = [_emulation(record.emulation)] if record.emulation else []
    zeros = computed if record.emulation and record.emulation.operators_not_computed else []
    code = f" (exit code {record.exit_code})"
    counts = f": {len(record.delivery)} of {len(record.delivery)}" if all_delivered(record) else ""
    ending = []
    if record.verdict == "pending" and record.status != "ok":
        ending.append(_NOT_ANALYSED)
    elif record.status in {"failed", "interrupted"} and record.event_counts:
        ending.append("what was recorded before that is kept, and shown below")
    return Section(
        title="harness",
        notes=(*notes, *computed, _ending(record) + code, *ending),
        brief=Brief(notes=(*notes, *zeros, _ending(record) + counts + code, *ending)),
    )


def _subject(record: RunRecord) -> str:
    device = record.device or record.requested["device.name"]
    where = f"{device} ({record.device_name})" if record.device_name else device
    if record.engine:
        engine = record.engine
        what = f"a window in {engine.engine} {engine.version} at {engine.url}"
        return f"{what}, recorded on {where}"
    if record.source:
        return f"imported capture {record.source}, recorded on {where}"
    workload = record.requested["workload.name"]
    if record.program:
        workload = " ".join((record.program.source, *record.program.args))
    rank = ""
    if record.ranks:
        rank = f"{len(record.ranks)} rank(s): "
    elif record.world_size > 1:
        rank = f"rank {record.rank} of {record.world_size}: "
    steps = "recorded step(s)" if record.status == "ok" else "step(s) to record"
    return f"{rank}{workload} on {where}, {record.recorded_steps} {steps}"


def _ending(record: RunRecord) -> str:
    match record.status:
        case "ok":
            return _verdict(record)
        case "failed":
            return f"FAILED: {record.reason}"
        case "interrupted":
            return f"INTERRUPTED: {record.reason}"
        case "running":
            return f"UNFINISHED: {record.unended}"


def _verdict(record: RunRecord) -> str:
    if not record.source or any(map(is_of_setting, record.delivery)):
        return _VERDICTS[record.verdict]
    unchecked = "the capture does not record which settings were requested, so none is checked"
    if record.verdict == "not_delivered":
        return f"a part of the capture is LOST or contradicts another; {unchecked}"
    return unchecked


def _emulation(emulation: Emulation) -> str:
    """Say how many operators yielded zeros."""
    zeros = emulation.operators_not_computed
    total = emulation.operators_computed + zeros
    if not zeros:
        return f"the emulator computed all {total:,} operators"
    names = ", ".join(list(emulation.not_computed)[:_NAMED])
    more = ", …" if len(emulation.not_computed) > _NAMED else ""
    return (
        f"the emulator did not compute {zeros:,} of {total:,} operators, and their outputs are"
        " zeros" + (f": {names}{more}" if names else "")
    )
