"""The reader of the text exports of torch_npu and msprof: csv files and timelines.

A file of one by itself is read as well: its columns or events tell what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from harness import tables
from harness.readers.ascend import communication, csv_files, layout, memory, operator_details
from harness.readers.ascend import folder as ascend
from harness.readers.ascend import trace as ascend_trace
from harness.readers.ascend.steps import table_of_steps
from harness.readers.base import CaptureError, LazyTables, ReadContext, ReadResult
from harness.readers.call_tree import CallTree, StepMarkers
from harness.readers.cells import SHAPES, WORDS, parsed_late, shapes, whole, words
from harness.readers.kernel_launches import arrivals, placed
from harness.tables.event_counts import EventCounts
from harness.tables.selection import is_hccl
from harness.waits import waiting

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
"""The column of the table `kernels` for each column of kernel_details.csv, and its type: repeated
texts are categories, times are nanoseconds."""
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
"""The columns that a file of kernels must have."""
_KERNEL_INPUTS: Final = ("name", "core", "start_ns", "duration_ns", "stream", "device", "step_id")
_LAUNCH_COLUMNS: Final = ("correlation", "host_ns", "inner")
_UNTIMED: Final = "without start, thread and step, and not linked to kernels"
STEP_NAMES: Final = {
    "Computing": "compute_ns",
    "Communication": "communication_ns",
    "Overlapped": "overlapped_ns",
    "Free": "idle_ns",
}
"""The column of the table `steps` for each column of step_trace_time.csv."""
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
        """Tell whether this is a file that the text exports write, or a folder that has one."""
        if any(ascend.output(path, name) for name in (layout.TIMELINE, layout.KERNELS)):
            return True
        # A database has all that this file has, and when it was.
        return bool(ascend.output(path, layout.OPERATORS)) and ascend.database(path) is None

    def read(self, path: Path, context: ReadContext) -> ReadResult:
        """Read a capture. Raises `CaptureError` if nothing in it can be read."""
        with waiting(f"reading {path.name}"):
            return _Capture(path, context).read()


class _Capture:
    """A folder that is being read: an error in one file is noted, and the others are read."""

    def __init__(self, folder: Path, context: ReadContext) -> None:
        self._folder, self._context = folder, context
        self._notes: list[str] = []
        self._remarks: list[str] = []
        self._event_counts: dict[str, EventCounts] = {}
        self._rank = ascend.rank(folder, context, self._notes)

    def read(self) -> ReadResult:
        has_table = bool(layout.slices(self._folder, layout.KERNELS))
        trace = self._trace(kernels=not has_table)
        step_markers = StepMarkers(trace.markers, self._context)
        call_tree = CallTree(trace.operators, trace.frames, step_markers)
        kernels = self._kernels() if has_table else self._of_timeline(trace, step_markers)
        if has_table and kernels is not None:
            self._compare(kernels, trace)
        launched = _launched(
            _kernels(pl.DataFrame()) if kernels is None else kernels, trace, call_tree
        )
        both = placed(launched, call_tree, step_markers, self._context, self._rank)
        frames: dict[str, pl.DataFrame | pl.LazyFrame] = {}
        if trace.event_counts:
            frames |= {"operators": both.operators, "stacks": trace.stacks}
        else:
            frames |= self._operator_details()
        if kernels is not None:
            info = {name: launched[name] for name in ("device", "correlation")}
            columns = {cells.name: cells for cells in kernels} | info | both.columns
            frames["kernels"] = _late(columns)
        self._refuse_empty(launched.height, frames)
        optional = {
            "steps": self._steps(step_markers),
            "memory": self._memory(call_tree),
            "communication": self._communication(
                launched.with_columns(step=both.columns["step"]), step_markers
            ),
        }
        frames |= {name: frame for name, frame in optional.items() if frame is not None}
        if not frames:
            raise CaptureError(f"{self._folder}: nothing can be read: {'; '.join(self._notes)}")
        return ReadResult(
            frames=LazyTables(frames),
            event_counts=self._event_counts,
            notes=tuple(self._notes),
            remarks=tuple(self._remarks),
            info=ascend.info(self._folder),
        )

    def _refuse_empty(
        self, kernels: int, frames: Mapping[str, pl.DataFrame | pl.LazyFrame]
    ) -> None:
        """Refuse a single file without rows: in a folder, other files say why there are none."""
        operators = frames.get("operators", pl.DataFrame()).lazy()
        if kernels or self._folder.is_dir() or operators.head(1).collect().height:
            return
        why = "; ".join(self._notes) or f"{self._folder.name}: it has no row"
        raise CaptureError(f"{why}: neither kernels nor operators are in it")

    def _count(self, kind: str, count: int, rows: int) -> None:
        self._event_counts[kind] = EventCounts(seen=count, rows=rows, marks=0, hidden=0)

    def _trace(self, *, kernels: bool) -> ascend_trace.TraceView:
        paths = layout.slices(self._folder, layout.TIMELINE)
        trace = ascend_trace.nothing()
        if paths:
            try:
                trace = ascend_trace.read(paths, kernels=kernels)
            except CaptureError as error:
                self._notes.append(str(error))
            else:
                empty = not (trace.event_counts or trace.notes)
                self._notes += [f"{paths[0].name}: it has no events"] if empty else []
        elif self._folder.is_dir():
            details = ascend.output(self._folder, layout.OPERATORS)
            instead = f": operators are those of {layout.OPERATORS}, {_UNTIMED}"
            why = ", so no operators" if details is None else instead
            self._notes.append(f"{self._missing(layout.TIMELINE)}{why}")
        self._event_counts |= trace.event_counts
        self._notes += trace.notes
        return trace

    def _missing(self, name: str) -> str:
        return f"{layout.written_name(self._folder, name)}: no such file"

    def _operator_details(self) -> dict[str, pl.DataFrame]:
        """Read the operators of a capture without timeline, as far as another file has them."""
        path = ascend.output(self._folder, layout.OPERATORS)
        if path is None:
            return {}
        try:
            details = operator_details.read(path, self._context, self._rank)
        except CaptureError as error:
            self._notes.append(str(error))
            return {}
        self._notes += details.notes
        self._remarks += details.remarks
        if self._folder.is_file():
            self._remarks.append(f"{path.name}: its operators are {_UNTIMED}")
        self._count("cpu_op", details.rows, details.operators.height)
        return {"operators": details.operators, "stacks": details.stacks}

    def _of_timeline(
        self, trace: ascend_trace.TraceView, step_markers: StepMarkers
    ) -> pl.DataFrame | None:
        """Return the kernels of a capture that has no table of them."""
        rows = trace.kernels
        if rows.is_empty():
            return None
        why = f"its {rows.height:,} kernels are those of the timeline, without shapes and counters"
        if self._folder.is_dir():
            self._notes.append(f"{self._missing(layout.KERNELS)}: {why}")
        else:
            self._remarks.append(f"{self._folder.name}: {why}")
        kernels = _kernels(rows)
        self._count("kernel", rows.height, kernels.height)
        # torch_npu's own Step Id is the step that contains the start, too.
        steps = step_markers.torch_numbers(kernels["start_ns"]).alias("step_id")
        return kernels.with_columns(steps)

    def _table(
        self, name: str, known_types: Mapping[str, pl.DataType], times: Sequence[str] = ()
    ) -> pl.DataFrame | None:
        parts = []
        for path in layout.slices(self._folder, name):
            try:
                content = csv_files.typed(path, known_types, times)
            except CaptureError as error:
                self._notes.append(str(error))
                continue
            self._notes += content.notes
            self._remarks += content.remarks
            parts.append(content.table)
        # One table needs no copy.
        return pl.concat(parts, how="diagonal_relaxed") if parts[1:] else next(iter(parts), None)

    def _kernels(self) -> pl.DataFrame | None:
        name = layout.slices(self._folder, layout.KERNELS)[0].name
        rows = self._table(layout.KERNELS, KERNEL_TYPES, _TIMES)
        if rows is None:
            return None
        if missing := [column for column in NEEDED if column not in rows.columns]:
            self._notes.append(f"{name}: not read: no column {', '.join(missing)}")
            return None
        kernels = _kernels(rows)
        self._count("kernel", rows.height, kernels.height)
        if kernels.height < rows.height:
            lost = rows.height - kernels.height
            self._notes.append(f"{name}: {lost} rows without start or duration were skipped")
        counted = self._counted()
        if kernels.height < counted:
            self._notes.append(
                f"{name}: cut off: it has {kernels.height} kernels; "
                f"op_statistic.csv counts {counted}"
            )
        return kernels

    def _compare(self, kernels: pl.DataFrame, trace: ascend_trace.TraceView) -> None:
        """Note that the table of kernels ends before the timeline does."""
        # Communication may last far beyond the kernels that are cut off.
        ends = (kernels["start_ns"] + kernels["duration_ns"]).filter(~is_hccl(kernels))
        end = ends.max()
        later = trace.computing if end is None else trace.computing.filter(trace.computing > end)
        if len(later):
            name = layout.slices(self._folder, layout.KERNELS)[0].name
            self._notes.append(
                f"{name}: cut off: the timeline has {len(later):,} kernels after its last"
            )

    def _counted(self) -> int:
        """Return how many kernels, without communication, CANN itself counted; 0 if unknown."""
        try:
            statistics = ascend.table(self._folder, "op_statistic")
        except CaptureError as error:
            self._notes.append(str(error))
            return 0
        if statistics is None or "Count" not in statistics.columns:
            return 0
        return int(statistics["Count"].cast(_WHOLE, strict=False).sum())

    def _steps(self, step_markers: StepMarkers) -> pl.DataFrame | None:
        rows = self._table("step_trace_time.csv", STEP_TIMES)
        times = None
        if rows is not None and "Step" in rows.columns:
            device = {
                column: whole(rows[name], 1000)
                for name, column in STEP_NAMES.items()
                if name in rows.columns
            }
            others = rows.drop("Step", *STEP_NAMES, strict=False)
            times = pl.DataFrame({"step": rows["Step"], **device}).hstack(others)
        return table_of_steps(step_markers, self._rank, times)

    def _memory(self, call_tree: CallTree) -> pl.DataFrame | None:
        columns = memory.OPERATOR_COLUMNS
        rows = self._table("operator_memory.csv", memory.csv_types(columns))
        if rows is not None:
            cells = memory.from_csv(rows, columns)
            table = memory.of_operators(cells, call_tree, self._context, self._rank)
            self._count("operator_memory", rows.height, memory.timed(cells))
            return table
        columns = memory.RECORD_COLUMNS
        rows = self._table("memory_record.csv", memory.csv_types(columns))
        if rows is None:
            return None
        table = memory.of_records(memory.from_csv(rows, columns), self._rank)
        self._count("memory_record", rows.height, table.height)
        return table

    def _communication(
        self, kernels: pl.DataFrame, step_markers: StepMarkers
    ) -> pl.DataFrame | None:
        path = ascend.output(self._folder, "communication.json")
        calls: list[communication.Call] = []
        if path is not None:
            try:
                calls = communication.calls(path)
            except CaptureError as error:
                self._notes.append(str(error))
        table = communication.table(kernels, calls, step_markers, self._rank)
        return table if table.height or calls else None


def _kernels(rows: pl.DataFrame) -> pl.DataFrame:
    """Rename the columns as in the table, and drop rows without start or duration."""
    columns = {
        column: rows.get_column(name, default=_null(rows, dtype)).alias(column)
        for name, (column, dtype) in KERNEL_COLUMNS.items()
    }
    step = next((name for name in STEP_COLUMNS if name in rows.columns), "")
    columns["step_id"] = rows.get_column(step, default=_null(rows, _WHOLE))
    others = rows.drop(*KERNEL_COLUMNS, *STEP_COLUMNS, strict=False)
    kernels = pl.DataFrame(columns).hstack(others)
    timed = pl.col("start_ns").is_not_null() & pl.col("duration_ns").is_not_null()
    # A filter would copy all columns.
    all_timed = kernels.select(timed.all()).item()
    return kernels if all_timed else kernels.filter(timed)


def _null(table: pl.DataFrame, dtype: pl.DataType) -> pl.Series:
    return pl.repeat(None, table.height, dtype=dtype, eager=True)


def _late(columns: Mapping[str, pl.Series]) -> pl.LazyFrame:
    """Build the table lazily: as categories, a row takes a third of the memory."""
    schema = tables.SCHEMAS["kernels"]
    dtypes = {name: cells.dtype for name, cells in columns.items() if name != "step_id"}
    kept: dict[str, pl.Series] = {}
    made: dict[str, pl.Expr] = {}
    for name, dtype in {**dtypes, **schema}.items():
        cells = columns.get(name)
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
    return pl.LazyFrame(kept).with_columns(**made).select(*dict.fromkeys((*schema, *dtypes)))


def _launched(
    kernels: pl.DataFrame, trace: ascend_trace.TraceView, call_tree: CallTree
) -> pl.DataFrame:
    """Return what `placed` needs of each kernel, its driver's number, and where it was launched."""
    # Not `select`, which would copy each column into one chunk.
    kernels = pl.DataFrame([kernels[name] for name in _KERNEL_INPUTS])
    if all(arrived.is_empty() for arrived in trace.arrived.values()):
        unknown = _null(kernels, _WHOLE)
        return kernels.hstack([unknown.alias(name) for name in _LAUNCH_COLUMNS])
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
        call_tree.innermost(operator["thread"], operator["host_ns"]).alias("inner"),
    )


def _sent(arrived: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """Find the start of each flow: the last of the same link that was sent before."""
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
