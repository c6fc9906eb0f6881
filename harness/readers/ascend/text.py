"""The reader of torch_npu's text export: csv files and trace_view.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from harness import tables
from harness.readers.ascend import communication, csv_files, memory
from harness.readers.ascend import folder as ascend
from harness.readers.ascend import trace as ascend_trace
from harness.readers.base import CaptureError, LazyTables, ReadContext, ReadResult
from harness.readers.call_tree import CallTree, StepMarkers
from harness.readers.cells import SHAPES, WORDS, parsed_late, shapes, whole, words
from harness.readers.kernel_launches import arrivals, placed
from harness.tables.event_counts import EventCounts

_TEXT: Final = pl.String()
_REPEATED: Final = pl.Categorical()
_WHOLE: Final = pl.Int64()

KERNEL_COLUMNS: Final[Mapping[str, tuple[str, pl.DataType]]] = {
    "Device_id": ("device", pl.Int32()),
    "Stream ID": ("stream", _WHOLE),
    "Name": ("name", _REPEATED),
    "Type": ("type", _REPEATED),
    "Accelerator Core": ("core", _REPEATED),
    "Start Time(us)": ("start_ns", _WHOLE),
    "Duration(us)": ("duration_ns", _WHOLE),
    "Wait Time(us)": ("wait_ns", _WHOLE),
    "Input Shapes": ("input_shapes", _REPEATED),
    "Input Data Types": ("input_dtypes", _REPEATED),
    "Input Formats": ("input_formats", _REPEATED),
    "Output Shapes": ("output_shapes", _REPEATED),
    "Output Data Types": ("output_dtypes", _REPEATED),
    "Output Formats": ("output_formats", _REPEATED),
}
"""What a column of kernel_details.csv is in the table `kernels`, and how it is read: texts that
come again once each, times as nanoseconds."""
_TIMES: Final = tuple(name for name, (column, _) in KERNEL_COLUMNS.items() if column[-3:] == "_ns")
STEP_COLUMNS: Final = ("Step Id", "Step ID")
OTHER_COLUMNS: Final[Mapping[str, pl.DataType]] = {
    **dict.fromkeys(STEP_COLUMNS, _WHOLE),
    **dict.fromkeys(("Model ID", "Task ID", "Context ID"), _WHOLE),
    **dict.fromkeys(("Block Dim", "Mix Block Dim", "Block Num", "Mix Block Num"), _WHOLE),
    **dict.fromkeys(("OP State", "HF32 Eligible"), _REPEATED),
    "memory_bound": pl.Float64(),
}
"""Columns of kernel_details.csv that keep their names, beside the counters."""
KERNEL_TYPES: Final = {name: dtype for name, (_, dtype) in KERNEL_COLUMNS.items()} | dict(
    OTHER_COLUMNS
)
NEEDED: Final = ("Name", "Start Time(us)", "Duration(us)")
"""What makes a file one of kernels."""
_ASKED: Final = ("name", "core", "start_ns", "duration_ns", "stream", "device", "step_id")
_TOLD: Final = ("correlation", "host_ns", "inner")
STEP_NAMES: Final = {
    "Computing": "compute_ns",
    "Communication": "communication_ns",
    "Overlapped": "overlapped_ns",
    "Free": "idle_ns",
}
"""What a column of step_trace_time.csv is in the table `steps`."""
STEP_TIMES: Final[Mapping[str, pl.DataType]] = {
    **dict.fromkeys(("Step", "Device_id"), _WHOLE),
    **dict.fromkeys(STEP_NAMES, pl.Float64()),
    **dict.fromkeys(("Stage", "Bubble", "Preparing"), pl.Float64()),
    "Communication(Not Overlapped)": pl.Float64(),
    "Communication(Not Overlapped and Exclude Receive)": pl.Float64(),
}


class AscendText:
    """Reads the text export of a folder ``*_ascend_pt``."""

    name = "torch_npu text export"

    def recognises(self, path: Path) -> bool:
        """Tell whether the folder holds one of the files that the text export always has."""
        return any(ascend.output(path, name) for name in ("trace_view.json", "kernel_details.csv"))

    def read(self, path: Path, context: ReadContext) -> ReadResult:
        """Read a capture. Raises `CaptureError` if nothing of it can be read."""
        return _Capture(path, context).read()


class _Capture:
    """A folder while it is read: what goes wrong in one file is noted, and the others are read."""

    def __init__(self, folder: Path, context: ReadContext) -> None:
        self._folder, self._context = folder, context
        self._notes: list[str] = []
        self._remarks: list[str] = []
        self._coverage: dict[str, EventCounts] = {}
        self._rank = ascend.rank(folder, context, self._notes)

    def read(self) -> ReadResult:
        trace = self._trace()
        marks = StepMarkers(trace.marks, self._context)
        host = CallTree(trace.operators, trace.frames, marks)
        kernels = self._kernels()
        launched = _launched(_kernels(pl.DataFrame()) if kernels is None else kernels, trace, host)
        both = placed(launched, host, marks, self._context, self._rank)
        frames: dict[str, pl.DataFrame | pl.LazyFrame] = {}
        if trace.event_counts:
            frames |= {"operators": both.operators, "stacks": trace.stacks}
        if kernels is not None:
            info = {name: launched[name] for name in ("device", "correlation")}
            columns = {cells.name: cells for cells in kernels} | info | both.columns
            frames["kernels"] = _late(columns)
        found = {
            "steps": self._steps(marks),
            "memory": self._memory(host),
            "communication": self._communication(
                launched.with_columns(step=both.columns["step"]), marks
            ),
        }
        frames |= {name: frame for name, frame in found.items() if frame is not None}
        if not frames:
            raise CaptureError(f"{self._folder}: nothing can be read: {'; '.join(self._notes)}")
        return ReadResult(
            frames=LazyTables(frames),
            event_counts=self._coverage,
            notes=tuple(self._notes),
            remarks=tuple(self._remarks),
            info=ascend.info(self._folder),
        )

    def _count(self, kind: str, seen: int, rows: int) -> None:
        self._coverage[kind] = EventCounts(seen=seen, rows=rows, marks=0, hidden=0)

    def _trace(self) -> ascend_trace.TraceView:
        path = ascend.output(self._folder, "trace_view.json")
        trace = ascend_trace.nothing()
        if path is None:
            self._notes.append("trace_view.json: no such file, so no operators")
        else:
            try:
                trace = ascend_trace.read(path)
            except CaptureError as error:
                self._notes.append(str(error))
        self._coverage |= trace.event_counts
        self._notes += trace.notes
        return trace

    def _table(
        self, name: str, known: Mapping[str, pl.DataType], times: Sequence[str] = ()
    ) -> pl.DataFrame | None:
        path = ascend.output(self._folder, name)
        if path is None:
            return None
        try:
            found = csv_files.typed(path, known, times)
        except CaptureError as error:
            self._notes.append(str(error))
            return None
        self._notes += found.notes
        self._remarks += found.remarks
        return found.table

    def _kernels(self) -> pl.DataFrame | None:
        name = "kernel_details.csv"
        found = self._table(name, KERNEL_TYPES, _TIMES)
        if found is None:
            return None
        if missing := [each for each in NEEDED if each not in found.columns]:
            self._notes.append(f"{name}: not read: no column {', '.join(missing)}")
            return None
        kernels = _kernels(found)
        self._count("kernel", found.height, kernels.height)
        if kernels.height < found.height:
            lost = found.height - kernels.height
            self._notes.append(f"{name}: {lost} rows without start or duration are left out")
        counted = self._counted()
        if kernels.height < counted:
            info = f"{counted} kernels by op_statistic.csv"
            self._notes.append(f"{name}: {kernels.height} kernels of {info}: the file was cut off")
        return kernels

    def _counted(self) -> int:
        """Return how many kernels CANN itself counted, communication left out; 0: not known."""
        try:
            found = ascend.table(self._folder, "op_statistic")
        except CaptureError as error:
            self._notes.append(str(error))
            return 0
        if found is None or "Count" not in found.columns:
            return 0
        return int(found["Count"].cast(_WHOLE, strict=False).sum())

    def _steps(self, marks: StepMarkers) -> pl.DataFrame | None:
        found = self._table("step_trace_time.csv", STEP_TIMES)
        if found is None or "Step" not in found.columns:
            return None
        times = {
            column: whole(found[name], 1000)
            for name, column in STEP_NAMES.items()
            if name in found.columns
        }
        others = found.drop("Step", *STEP_NAMES, strict=False)
        return pl.DataFrame(
            {
                "step": marks.of_torch(found["Step"]),
                "rank": pl.repeat(self._rank, found.height, dtype=pl.Int32, eager=True),
                **times,
            }
        ).hstack(others)

    def _memory(self, host: CallTree) -> pl.DataFrame | None:
        columns = memory.OPERATOR_COLUMNS
        found = self._table("operator_memory.csv", memory.csv_types(columns))
        if found is not None:
            cells = memory.from_csv(found, columns)
            table = memory.of_operators(cells, host, self._context, self._rank)
            self._count("operator_memory", found.height, memory.timed(cells))
            return table
        columns = memory.RECORD_COLUMNS
        found = self._table("memory_record.csv", memory.csv_types(columns))
        if found is None:
            return None
        table = memory.of_records(memory.from_csv(found, columns), self._rank)
        self._count("memory_record", found.height, table.height)
        return table

    def _communication(self, kernels: pl.DataFrame, marks: StepMarkers) -> pl.DataFrame | None:
        path = ascend.output(self._folder, "communication.json")
        calls: list[communication.Call] = []
        if path is not None:
            try:
                calls = communication.calls(path)
            except CaptureError as error:
                self._notes.append(str(error))
        table = communication.table(kernels, calls, marks, self._rank)
        return table if table.height or calls else None


def _kernels(found: pl.DataFrame) -> pl.DataFrame:
    """Call the columns as in the table, and leave out rows without their times."""
    columns = {
        column: found.get_column(name, default=_null(found, dtype)).alias(column)
        for name, (column, dtype) in KERNEL_COLUMNS.items()
    }
    step = next((name for name in STEP_COLUMNS if name in found.columns), "")
    columns["step_id"] = found.get_column(step, default=_null(found, _WHOLE))
    others = found.drop(*KERNEL_COLUMNS, *STEP_COLUMNS, strict=False)
    kernels = pl.DataFrame(columns).hstack(others)
    timed = pl.col("start_ns").is_not_null() & pl.col("duration_ns").is_not_null()
    # A filter copies all columns.
    whole_ = kernels.select(timed.all()).item()
    return kernels if whole_ else kernels.filter(timed)


def _null(found: pl.DataFrame, dtype: pl.DataType) -> pl.Series:
    return pl.repeat(None, found.height, dtype=dtype, eager=True)


def _late(found: Mapping[str, pl.Series]) -> pl.LazyFrame:
    """Bring columns into the form of the table: before, a row takes a third of the memory."""
    schema = tables.SCHEMAS["kernels"]
    known = {name: cells.dtype for name, cells in found.items() if name != "step_id"}
    kept: dict[str, pl.Series] = {}
    made: dict[str, pl.Expr] = {}
    for name, dtype in {**known, **schema}.items():
        cells = found.get(name)
        if cells is None or cells.null_count() == len(cells):
            made[name] = pl.lit(None, _TEXT if dtype == _REPEATED else dtype)
            continue
        kept[name] = cells.alias(name)
        if name.endswith("_shapes"):
            made[name] = parsed_late(kept[name], shapes, SHAPES)
        elif name.endswith(("_dtypes", "_formats")):
            made[name] = parsed_late(kept[name], words, WORDS)
        elif cells.dtype == _REPEATED:
            made[name] = pl.col(name).cast(_TEXT)
    return pl.LazyFrame(kept).with_columns(**made).select(*dict.fromkeys((*schema, *known)))


def _launched(kernels: pl.DataFrame, trace: ascend_trace.TraceView, host: CallTree) -> pl.DataFrame:
    """Return what is asked of each kernel, its driver's number, and where it was launched."""
    # Not by `select`, which would copy the columns into one piece each.
    kernels = pl.DataFrame([kernels[name] for name in _ASKED])
    if all(arrived.is_empty() for arrived in trace.arrived.values()):
        unknown = _null(kernels, _WHOLE)
        return kernels.hstack([unknown.alias(name) for name in _TOLD])
    task = arrivals(kernels, trace.arrived[ascend_trace.TASK])
    operator, call = (
        _sent(arrivals(kernels, trace.arrived[kind]), trace.sent[kind])
        for kind in (ascend_trace.OPERATOR, ascend_trace.CALL)
    )
    device = pl.coalesce(kernels["device"], task["device"], call["device"], operator["device"])
    return kernels.with_columns(
        pl.select(device).to_series().alias("device"),
        task["link"].alias("correlation"),
        call["host_ns"].alias("host_ns"),
        host.innermost(operator["thread"], operator["host_ns"]).alias("inner"),
    )


def _sent(arrived: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """Find the other end: the last of that link that was sent before."""
    return (
        arrived.with_row_index("n")
        .sort("start_ns", maintain_order=True)
        .join_asof(
            sent.sort("host_ns"),
            left_on="start_ns",
            right_on="host_ns",
            by="link",
            coalesce=False,
            check_sortedness=False,
        )
        .sort("n")
    )
