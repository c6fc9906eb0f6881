"""Report: the sections of a run's summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from harness.analyses.views import Views
from harness.capture.capture import Emulation
from harness.capture.run_record import RunRecord
from harness.readers.ascend.files import FILES
from harness.report import delivery as arrival
from harness.report.next_step import next_command
from harness.report.section import Section
from harness.report.units import duration, shortened, size

TOP = 10
"""Rows of a table in the summary; the parquet files have them all."""
UNSTABLE_SPREAD = 0.2
"""(max - min) / median of step times from which their spread is pointed out."""

_MAX_SHAPES = 48
_NAMED = 5


def sections(record: RunRecord, views: Views, folder: str) -> list[Section]:
    """Return everything that a person should see of a run, in order."""
    figures = [
        *_timing(record),
        *_breakdown(views),
        *_operators(views),
        *_types(views),
        *_kernels(views),
        *_stages(views),
        *_memory(views),
    ]
    if record.emulated:
        figures = [replace(each, title=f"{each.title} (emulated: invented)") for each in figures]
    return [
        _headline(record),
        *figures,
        *_calls(views),
        *_analysed(views),
        *arrival.sections(record),
        _files(record, folder),
    ]


def shapes(value: Sequence[Sequence[int]] | None) -> str:
    """Return the tensors' shapes, as [4,128]; arguments that are no tensors are left out."""
    if value is None:
        return "–"
    text = " ".join(f"[{','.join(map(str, shape))}]" for shape in value if shape)
    return text if len(text) <= _MAX_SHAPES else text[: _MAX_SHAPES - 1] + "…"


def _headline(record: RunRecord) -> Section:
    asked = record.requested
    device = record.device or asked["device.name"]
    where = f"{device} ({record.device_name})" if record.device_name else device
    if record.source:
        notes = [f"{record.source}, read, recorded on {where}"]
    else:
        notes = [f"{asked['workload.name']} on {where}, {record.recorded_steps} recorded step(s)"]
    if record.emulated:
        notes.append("EMULATED device: every time and counter is invented")
    if record.emulation:
        notes.append(_emulation(record.emulation))
    verdict = {
        "delivered": "everything asked for was delivered",
        "not_delivered": "NOT everything asked for was delivered",
        "pending": "its captures are not analysed yet, and the delivery is not checked",
    }[record.verdict]
    if record.source and not any(map(arrival.of_a_setting, record.delivery)):
        verdict = "nothing is known of what was asked for, so no setting is checked"
        if record.verdict == "not_delivered":
            verdict = f"a part is LOST or contradicts itself; {verdict}"
    ending = {
        "ok": verdict,
        "failed": f"FAILED: {record.reason}",
        "interrupted": f"INTERRUPTED: {record.reason}",
        "running": "still running",
    }[record.status]
    notes.append(f"{ending} (exit code {record.exit_code})")
    if record.verdict == "pending" and record.status != "ok":
        notes.append("its captures are not analysed yet, and the delivery is not checked")
    elif record.status in {"failed", "interrupted"} and record.event_counts:
        notes.append("what was captured before is kept, and shown here")
    return Section(title="harness", notes=tuple(notes))


def _emulation(emulation: Emulation) -> str:
    """Say how many operators yielded zeros."""
    zeros = emulation.operators_not_computed
    total = emulation.operators_computed + zeros
    if not zeros:
        return f"all of its {total:,} operators were computed"
    names = ", ".join(list(emulation.not_computed)[:_NAMED])
    more = ", …" if len(emulation.not_computed) > _NAMED else ""
    return f"{zeros:,} of {total:,} operators were not computed, and gave zeros" + (
        f": {names}{more}" if names else ""
    )


def _timing(record: RunRecord) -> Iterator[Section]:
    names = {"baseline": "unprofiled", "active": "profiled"}
    rows = [
        (
            names[phase],
            str(timing.steps),
            duration(timing.median_ns),
            duration(timing.min_ns),
            duration(timing.max_ns),
        )
        for phase, timing in record.timing.items()
    ]
    notes = []
    if len(rows) == len(names) and not record.emulated:
        unprofiled, profiled = record.timing["baseline"], record.timing["active"]
        ratio = profiled.median_ns / unprofiled.median_ns
        notes.append(f"a profiled step takes {ratio:.2f} × an unprofiled one")
    for phase, timing in record.timing.items():
        if timing.steps > 1 and timing.spread > UNSTABLE_SPREAD and not record.emulated:
            notes.append(
                f"unstable: the {names[phase]} steps spread over {timing.spread:.0%} of their"
                " median; compare times of this machine with care"
            )
    if rows:
        yield Section(
            title="Step time",
            columns=("steps", ">count", ">median", ">min", ">max"),
            rows=tuple(rows),
            notes=tuple(notes),
        )


def _operators(views: Views) -> Iterator[Section]:
    table = views.operators
    if table.is_empty():
        return
    with_device = table["device_ns"].is_not_null().any()
    with_flops = table["flops"].is_not_null().any()
    columns = ["operator", "input shapes", ">count", ">self", ">share"]
    columns += [">device"] if with_device else []
    columns += [">flops"] if with_flops else []
    rows = []
    for row in table.head(TOP).iter_rows(named=True):
        cells = [
            shortened(row["name"] or "–"),
            shapes(row["input_shapes"]),
            f"{row['count']:,}",
            duration(row["self_ns"]),
            _optional(row["share"], _percent),
        ]
        cells += [_optional(row["device_ns"], duration)] if with_device else []
        cells += [_optional(row["flops"], _flops)] if with_flops else []
        rows.append(tuple(cells))
    yield Section(
        title="Operators by self time, all recorded steps",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=_more(table.height),
    )


def _breakdown(views: Views) -> Iterator[Section]:
    table = views.steps
    if table.is_empty():
        return
    several = table["device"].n_unique() > 1
    moving = bool((table["communication_ns"] > 0).any() or (table["overlapped_ns"] > 0).any())
    times = ("compute", *(("communication", "overlapped") if moving else ()), "idle")
    yield Section(
        title="Steps on the device",
        columns=("step", *(["device"] if several else []), ">wall", ">span", *_right(times)),
        rows=tuple(
            (
                _optional(row["step"], str),
                *([_optional(row["device"], str)] if several else []),
                _optional(row["wall_ns"], duration),
                duration(row["span_ns"]),
                *(f"{duration(row[f'{each}_ns'])} {_part(row, each)}" for each in times),
            )
            for row in table.head(TOP).iter_rows(named=True)
        ),
        notes=(
            f"span = {'compute + communication, not overlapped,' if moving else 'compute'} + idle",
            *_more(table.height),
        ),
    )


def _right(names: Iterable[str]) -> Iterator[str]:
    return (f">{name}" for name in names)


def _part(row: Mapping[str, int], name: str) -> str:
    span = row["span_ns"]
    return f"({row[f'{name}_ns'] / span:.0%})" if span else ""


def _types(views: Views) -> Iterator[Section]:
    if views.types.is_empty():
        return
    yield Section(
        title="Kernels by type, all recorded steps",
        columns=("type", "core", ">count", ">time", ">mean", ">share"),
        rows=tuple(
            (
                row["type"] or "–",
                row["core"] or "–",
                f"{row['count']:,}",
                duration(row["duration_ns"]),
                duration(row["mean_ns"]),
                _optional(row["share"], _percent),
            )
            for row in views.types.head(TOP).iter_rows(named=True)
        ),
        notes=_more(views.types.height),
    )


def _kernels(views: Views) -> Iterator[Section]:
    if views.kernels.is_empty():
        return
    yield Section(
        title="Kernels by device time, all recorded steps",
        columns=("kernel", "input shapes", ">count", ">time", ">share"),
        rows=tuple(
            (
                shortened(row["name"] or "–"),
                shapes(row["input_shapes"]),
                f"{row['count']:,}",
                duration(row["duration_ns"]),
                _optional(row["share"], _percent),
            )
            for row in views.kernels.head(TOP).iter_rows(named=True)
        ),
        notes=_more(views.kernels.height),
    )


def _stages(views: Views) -> Iterator[Section]:
    if views.stages["stage"].is_null().all():
        return
    yield Section(
        title="Stages",
        columns=("stage", ">operators", ">self", ">share"),
        rows=tuple(
            (
                row["stage"] or "(outside)",
                f"{row['operators']:,}",
                duration(row["self_ns"]),
                _optional(row["share"], _percent),
            )
            for row in views.stages.iter_rows(named=True)
        ),
    )


def _memory(views: Views) -> Iterator[Section]:
    if views.memory.is_empty():
        return
    yield Section(
        title="Memory peaks",
        columns=("device", ">in use", "reached in"),
        rows=tuple(
            (
                row["device"] or "–",
                _optional(row["total_allocated"], size),
                row["operator"] or "(no operator)",
            )
            for row in views.memory.iter_rows(named=True)
        ),
    )


def _calls(views: Views) -> Iterator[Section]:
    if views.calls.is_empty():
        return
    yield Section(
        title="ACL profiling calls, as on an NPU",
        columns=("call", "arguments"),
        rows=tuple(
            (call + (f" × {times}" if times > 1 else ""), arguments)
            for call, arguments, times in views.calls.iter_rows()
        ),
    )


def _analysed(views: Views) -> Iterator[Section]:
    if views.files.is_empty():
        return
    yield Section(
        title="Files of the analysis, ASCEND_PROFILER_OUTPUT",
        columns=("file", "holds"),
        rows=tuple((name, FILES.get(name, "")) for name in views.files["file"]),
    )


def _files(record: RunRecord, folder: str) -> Section:
    notes = [f"{folder}: {', '.join(record.files)}"] if record.files else [folder]
    notes += record.notes
    notes.append("next, {}:\n{}".format(*next_command(record, folder)))
    return Section(title="Files", notes=tuple(notes))


def _more(height: int) -> tuple[str, ...]:
    return (f"{height - TOP:,} more in analyses/",) if height > TOP else ()


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _optional(value: float | None, render: object) -> str:
    assert callable(render)
    return "–" if value is None else str(render(value))


def _flops(count: int) -> str:
    for unit, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return str(count)
