"""The end of a rehearsal: what the run on an NPU needs, and what a rehearsal cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.capture.run_record import RunRecord
from harness.report.next_step import command_on_device
from harness.report.results import RunResults
from harness.report.section import Brief, Column, Command, Section
from harness.settings.schema import show

_EXPERIMENTAL: Final = "profiler.experimental."
_NOT_CANNS: Final = frozenset({"gc_detect_threshold", "data_simplification", "record_op_args"})
"""Settings of torch_npu's own, which never reach CANN."""
_FOR_CANN: Final = "settings for CANN"
DOCTOR: Final = "python -m harness doctor device=npu"
_ERAS: Final = {
    "block_num": "tables as CANN writes them since 2026 (Block Num)",
    "block_dim": "tables as CANN wrote them before 2026 (Block Dim)",
}
_UNKNOWN: Final = (
    "not known from a rehearsal: how long steps and the analysis take; whether the memory of the"
    " device suffices; the values of counters; whether this chip, its driver and its CANN take each"
    " setting; whether CANN's buffers run over. The run itself checks what arrived."
)


def booking_sheet(results: RunResults) -> Section | None:
    """Show what the rehearsed run needs on an NPU; None for what was no rehearsal, or failed."""
    record = results.record
    if not record.requested.get("rehearsal.emulate") or record.status != "ok":
        return None
    rows = tuple(_needs(results))
    first = Command(purpose="first, on that machine", line=DOCTOR)
    then = Command(purpose="then", line=command_on_device(record))
    return Section(
        title="Booking sheet: the same run on an NPU",
        columns=(Column("needs"), Column("of this run")),
        rows=rows,
        notes=(_UNKNOWN, first, then),
        brief=Brief(rows=tuple(row for row in rows if row[0] == _FOR_CANN), notes=(then,)),
    )


def _needs(results: RunResults) -> Iterator[tuple[str, str]]:
    record = results.record
    devices = max(1, record.world_size)
    yield "devices", f"{devices} NPU(s), and a CANN environment that is set (set_env.sh)"
    versions = [f"{name} {record.versions.get(name, 'not known')}" for name in _VERSIONS]
    yield "versions", f"{', '.join(versions)}, as here"
    era = record.requested.get("rehearsal.era")
    if era in _ERAS:
        yield "CANN", f"rehearsed with {_ERAS[era]}"
    yield _FOR_CANN, ", ".join(_for_cann(record))
    yield "steps", _steps(record)
    if not results.analyses:
        return  # A job of several ranks whose figures are of none of them.
    calls = results.analyses["profiling_calls"]
    if not calls.is_empty():
        yield "profiling calls", f"{calls['times'].sum():,} of ACL, listed above"
    files = results.analyses["analysed_files"]
    if not files.is_empty():
        folders = max(files["captures"])
        yield "files", f"{files.height:,} in each of {folders:,} folder(s), listed above"


_VERSIONS: Final = ("torch", "torch_npu")


def _for_cann(record: RunRecord) -> Iterator[str]:
    """Yield the settings that CANN gets: those with a value."""
    for path, value in record.effective.items():
        name = path.removeprefix(_EXPERIMENTAL)
        if name != path and value and name not in _NOT_CANNS:
            yield f"{name}={show(value)}"


def _steps(record: RunRecord) -> str:
    requested = record.requested
    counts = (
        (requested["workload.warmup_steps"], "to warm up"),
        (requested["profiler.baseline.steps"], "unprofiled"),
        (record.recorded_steps, "recorded"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in counts)
