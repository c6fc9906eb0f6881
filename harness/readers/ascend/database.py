"""The reader of torch_npu's database, ``ascend_pytorch_profiler*.db``: the same tables as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl
from msgspec.structs import replace

from harness.readers.ascend import communication, memory
from harness.readers.ascend import folder as ascend
from harness.readers.ascend.csv_files import counter_type
from harness.readers.ascend.lacking import lacking
from harness.readers.ascend.ranks import are_exchanged, communication_devices, rank_of
from harness.readers.ascend.steps import table_of_steps
from harness.readers.ascend.trace import FORWARD, NO_CONNECTION, NO_SEQUENCE, SEQUENCE
from harness.readers.base import CaptureError, ReadContext, ReadResult
from harness.readers.call_tree import TORCH_MARK, CallTree, Marker, StepMarkers, is_mark
from harness.readers.cells import (
    NOT_RECORDED,
    SHAPES,
    WORDS,
    argument_shapes,
    argument_words,
    parsed,
    shapes,
    whole,
    words,
)
from harness.readers.kernel_launches import linked
from harness.readers.sqlite import Tables, opened
from harness.tables import stacks
from harness.tables.event_counts import EventCounts

_INT: Final = pl.Int64()
_OPERATOR: Final = 50001
_FRAME: Final = 50003
_MARK: Final = 50004
_NODE: Final = 10000
_THREAD_BITS: Final = 0xFFFFFFFF
_NO_CONTEXT: Final = 4294967295
_US: Final = 1000
_TIMES: Final = ("startNs", "endNs")
_LATEST: Final = 1 << 61  # nanoseconds: two of them can be added

_CELLS: Final[Mapping[str, str]] = {
    "name": "name",
    "opType": "type",
    "taskType": "core",
    "inputShapes": "input_shapes",
    "inputDataTypes": "input_dtypes",
    "inputFormats": "input_formats",
    "outputShapes": "output_shapes",
    "outputDataTypes": "output_dtypes",
    "outputFormats": "output_formats",
    "opState": "OP State",
    "hf32Eligible": "HF32 Eligible",
    "attrInfo": "attrInfo",
}
"""The column of the table `kernels` for each text of COMPUTE_TASK_INFO; the others have the names
of the text export."""
_BLOCKS: Final = {
    "blockDim": "Block Dim",
    "mixBlockDim": "Mix Block Dim",
    "blockNum": "Block Num",
    "mixBlockNum": "Mix Block Num",
}
_STEP_TIMES: Final = {
    "computing": "compute_ns",
    "communication": "communication_ns",
    "overlapped": "overlapped_ns",
    "free": "idle_ns",
}
_RENAMED: Final = {
    "aic_total_time": "aicore_time(us)",
    "aiv_total_time": "aiv_time(us)",
    "cube_utilization": "cube_utilization(%)",
}
_UNITS: Final = (
    (re.compile(r"_time$"), "(us)"),
    (re.compile(r"_bw(_|$)"), "(GB/s)"),
    (re.compile(r"_datas$"), "(KB)"),
)


class AscendDb:
    """Reads the database of a folder ``*_ascend_pt``."""

    name = "torch_npu database"

    def recognises(self, path: Path) -> bool:
        """Tell whether this is a database of torch_npu or msprof, or a folder that has one."""
        return ascend.database(path) is not None

    def read(self, path: Path, context: ReadContext) -> ReadResult:
        """Read a capture. Raises `CaptureError` if nothing in it can be read."""
        file = ascend.database(path)
        if file is None:
            raise CaptureError(f"{path}: no database")
        notes: list[str] = []
        info, rank = ascend.info(path), ascend.rank(path, context, notes)
        calls = _calls_between_devices(path, notes)
        with opened(file) as database:
            if info.rank is None and (stated := rank_of(database, file)) is not None:
                info, rank = replace(info, rank=stated), stated
            notes += lacking(database)
            capture = _Capture(database, context, rank, calls)
            frames = capture.frames()
        times = _step_times(path, notes)
        if not frames and times is None:
            raise CaptureError(f"{file}: it has none of the tables that torch_npu writes")
        step_times = table_of_steps(capture.step_markers, rank, times)
        frames |= {} if step_times is None else {"steps": step_times}
        return ReadResult(
            frames=frames,
            event_counts=capture.event_counts,
            notes=(*notes, *database.notes),
            info=info,
        )


class _Capture:
    """A database that is being read."""

    def __init__(
        self, database: Tables, context: ReadContext, rank: int, calls: list[communication.Call]
    ) -> None:
        self._database, self._context, self._rank = database, context, rank
        self._communication_calls = calls
        self.event_counts: dict[str, EventCounts] = {}
        self._api, self._call_count = self._calls()
        self._names = database.texts(self._api["name"])
        self.step_markers = StepMarkers(self._ranges(), context)

    def frames(self) -> dict[str, pl.DataFrame]:
        has = self._database.has
        frames: dict[str, pl.DataFrame] = {}
        operators, all_stacks = self._operators()
        python_frames, python_count = self._of_python()
        call_tree = CallTree(operators, python_frames, self.step_markers)
        kernels, kernel_count = self._kernels(call_tree)
        linked_tables = linked(kernels, call_tree, self.step_markers, self._context, self._rank)
        if has("PYTORCH_API"):
            used = pl.col("stack_id").is_in(
                linked_tables.operators["stack_id"].drop_nulls().implode()
            )
            frames |= {"operators": linked_tables.operators, "stacks": all_stacks.filter(used)}
            marked = self._api.height - operators.height
            self._count("cpu_op", self._call_count, operators.height, marked)
            self._count("python_function", python_count, 0)
        if has("COMPUTE_TASK_INFO") or has("COMMUNICATION_OP"):
            frames["kernels"] = linked_tables.kernels
            self._count("kernel", kernel_count, linked_tables.kernels.height)
        if has("COMMUNICATION_OP"):
            frames["communication"] = self._communication(linked_tables.kernels)
        if has("OP_MEMORY"):
            frames["memory"] = self._memory(call_tree)
        return frames

    def _count(self, kind: str, count: int, rows: int, marks: int = 0) -> None:
        self.event_counts[kind] = EventCounts(seen=count, rows=rows, marks=marks, hidden=0)

    def _read(self, table: str, columns: tuple[str, ...], where: str = "") -> pl.DataFrame:
        """Read columns of whole numbers; a time out of range is null."""
        rows = self._database.read(table, dict.fromkeys(columns, _INT), where)
        times = [name for name in _TIMES if name in columns]
        return rows.with_columns(
            pl.when(pl.col(name).is_between(-_LATEST, _LATEST)).then(name) for name in times
        )

    def _host(self, columns: tuple[str, ...], where: str) -> tuple[pl.DataFrame, int]:
        """Return the host's calls that have times, and the number of all rows."""
        rows = self._read("PYTORCH_API", columns, where)
        timed = rows.filter(pl.col("startNs") <= pl.col("endNs"))
        if lost := rows.height - timed.height:
            self._database.notes.append(f"PYTORCH_API: {lost} calls without start and end")
        return timed, rows.height

    def _calls(self) -> tuple[pl.DataFrame, int]:
        names = ("startNs", "endNs", "globalTid", "connectionId", "name", "sequenceNumber")
        others = ("fwdThreadId", "inputDtypes", "inputShapes", "callchainId")
        return self._host((*names, *others), f"type IN ({_OPERATOR}, {_MARK})")

    def _of_python(self) -> tuple[pl.DataFrame, int]:
        calls, count = self._host(("startNs", "endNs", "globalTid"), f"type = {_FRAME}")
        return _timed(calls), count

    def _ranges(self) -> list[Marker]:
        named = self._api.select("startNs", "endNs", name=self._names).filter(
            pl.col("name").str.contains("#", literal=True)
        )
        ranges = [Marker(*row) for row in named.rows() if is_mark(row[2])]
        if not any(mark.name.startswith(TORCH_MARK) for mark in ranges):
            steps = self._read("STEP_TIME", ("startNs", "endNs", "id")).drop_nulls()
            ranges += [Marker(start, end, f"{TORCH_MARK}{n}") for start, end, n in steps.rows()]
        return ranges

    def _operators(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        api, texts = self._api, self._database.texts
        ids, table = self._stacks()
        dtypes, cells = texts(api["inputDtypes"]), texts(api["inputShapes"])
        if are_exchanged(cells, dtypes):
            dtypes, cells = cells, dtypes
        # A single argument without shape is a scalar: its empty text is stored as null.
        single = dtypes.is_not_null() & ~dtypes.str.contains(";", literal=True)
        cells = cells.set(single & cells.is_null(), "")
        operators = _timed(api).with_columns(
            name=self._names,
            input_shapes=parsed(cells, argument_shapes, SHAPES),
            input_dtypes=parsed(dtypes, argument_words, WORDS),
            stack_id=pl.DataFrame({"id": api["callchainId"]}).join(
                ids, on="id", how="left", maintain_order="left"
            )["stack_id"],
            **{
                SEQUENCE: _unless(api["sequenceNumber"], NO_SEQUENCE),
                FORWARD: _unless(api["fwdThreadId"], 0),
            },
        )
        return operators.filter([not is_mark(name or "") for name in self._names]), table

    def _stacks(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        frames = self._read("PYTORCH_CALLCHAINS", ("id", "stack", "stackDepth"))
        chains = (
            frames.with_columns(frame=self._database.texts(frames["stack"]))
            .sort("id", "stackDepth")
            .group_by("id", maintain_order=True)
            .agg(pl.col("frame").drop_nulls())
        )
        ids, table = stacks.identified(chains["frame"].to_list())
        columns = {"id": chains["id"], "stack_id": pl.Series(ids, dtype=pl.Int64)}
        return pl.DataFrame(columns), table

    def _kernels(self, call_tree: CallTree) -> tuple[pl.DataFrame, int]:
        """Return the kernels that have times, and the number of all rows."""
        parts = [self._computed()]
        if self._database.has("COMMUNICATION_OP"):
            parts.append(self._communicated())
        all_rows = pl.concat(parts, how="diagonal_relaxed")
        kernels = all_rows.filter(pl.col("duration_ns") >= 0).sort(
            "device", "start_ns", maintain_order=True
        )
        if lost := all_rows.height - kernels.height:
            self._database.notes.append(f"TASK: {lost} kernels without start and end")
        end = (pl.col("start_ns") + pl.col("duration_ns")).shift().over("device")
        launched = self._launched(kernels["correlation"])
        wait = pl.max_horizontal(pl.lit(0), pl.col("start_ns") - end).fill_null(0)
        placed = kernels.with_columns(
            wait_ns=wait,
            host_ns=launched["host_ns"],
            inner=call_tree.innermost(launched["thread"], launched["start_ns"]),
            step_id=self.step_markers.torch_numbers(kernels["start_ns"]),
        )
        return placed, all_rows.height

    def _launched(self, connections: pl.Series) -> pl.DataFrame:
        """Return the operator of each connection, and when CANN was called."""
        operator_calls = (
            _timed(self._api).with_columns(id=self._api["connectionId"]).drop_nulls("id")
        )
        pairs = self._read("CONNECTION_IDS", ("id", "connectionId"))
        operators = (
            pairs.join(operator_calls, on="id").sort("start_ns").unique("connectionId", keep="last")
        )
        calls = (
            self._read("CANN_API", ("startNs", "connectionId", "type"))
            .sort(pl.col("type") != _NODE, "startNs")
            .unique("connectionId", keep="first", maintain_order=True)
            .select("connectionId", host_ns="startNs")
        )
        kernels = pl.DataFrame({"connectionId": connections})
        return kernels.join(operators, on="connectionId", how="left", maintain_order="left").join(
            calls, on="connectionId", how="left", maintain_order="left"
        )

    def _computed(self) -> pl.DataFrame:
        database = self._database
        blocks = [column for column in database.columns("COMPUTE_TASK_INFO") if column in _BLOCKS]
        info = self._read("COMPUTE_TASK_INFO", ("globalTaskId", *_CELLS, *blocks))
        names = ("startNs", "endNs", "deviceId", "connectionId", "globalTaskId", "contextId")
        task = self._read("TASK", (*names, "streamId", "taskId", "modelId"))
        task_rows = info.join(task, on="globalTaskId", how="left", maintain_order="left")
        columns = {
            "start_ns": task_rows["startNs"],
            "duration_ns": task_rows["endNs"] - task_rows["startNs"],
            "device": task_rows["deviceId"].cast(pl.Int32, strict=False),
            "stream": task_rows["streamId"],
            "correlation": _unless(task_rows["connectionId"], NO_CONNECTION),
            "Model ID": task_rows["modelId"],
            "Task ID": task_rows["taskId"],
            "Context ID": _unless(task_rows["contextId"], _NO_CONTEXT),
            **{_BLOCKS[name]: task_rows[name] for name in blocks},
            **{column: self._cell(task_rows[name], column) for name, column in _CELLS.items()},
        }
        counters = self._counters(task_rows["globalTaskId"])
        return pl.DataFrame(columns).hstack(counters)

    def _cell(self, ids: pl.Series, column: str) -> pl.Series:
        cells = self._database.texts(ids)
        cells = cells.set((cells == NOT_RECORDED) | (cells == ""), None)
        if column.endswith("_shapes"):
            return parsed(cells, shapes, SHAPES)
        if column.endswith(("_dtypes", "_formats")):
            return parsed(cells, words, WORDS)
        return cells

    def _counters(self, tasks: pl.Series) -> pl.DataFrame:
        types = {"globalTaskId": _INT, "name": _INT, "value": pl.Float64()}
        long = self._database.read("TASK_PMU_INFO", types)
        if long.is_empty():
            return pl.DataFrame()
        info = self._database.texts(long["name"])
        # The database may have a name twice, with and without its unit.
        names = info.replace({name: counter_name(name) for name in info.drop_nulls().unique()})
        wide = (
            long.with_columns(name=names)
            .filter(names.is_not_null())
            .pivot("name", index="globalTaskId", values="value", aggregate_function="first")
        )
        kernels = pl.DataFrame({"globalTaskId": tasks})
        counters = kernels.join(wide, on="globalTaskId", how="left", maintain_order="left")
        counters = counters.drop("globalTaskId")
        return counters.with_columns(
            counters[name].cast(counter_type(name) or pl.Float64(), strict=False)
            for name in counters.columns
        )

    def _communicated(self) -> pl.DataFrame:
        names = ("opName", "startNs", "endNs", "connectionId", "groupName", "opType", "deviceId")
        operations = self._read("COMMUNICATION_OP", names)
        texts, devices = self._database.texts, operations["deviceId"]
        if devices.has_nulls():
            of_others = communication_devices(self._database, operations, self._rank)
            devices = pl.select(pl.coalesce(devices, of_others)).to_series()
        return pl.DataFrame(
            {
                "name": texts(operations["opName"]),
                "type": texts(operations["opType"]),
                "core": pl.repeat("COMMUNICATION", operations.height, eager=True),
                "start_ns": operations["startNs"],
                "duration_ns": operations["endNs"] - operations["startNs"],
                "device": devices.cast(pl.Int32, strict=False),
                "correlation": _unless(operations["connectionId"], NO_CONNECTION),
                "groupName": texts(operations["groupName"]),
            },
            schema_overrides={"core": pl.String},
        )

    def _communication(self, kernels: pl.DataFrame) -> pl.DataFrame:
        calls = self._communication_calls
        return communication.table(kernels, calls, self.step_markers, self._rank)

    def _memory(self, call_tree: CallTree) -> pl.DataFrame:
        types = dict.fromkeys(memory.OPERATOR_COLUMNS, _INT)
        types["deviceId"] = types.pop("device")
        rows = self._database.read("OP_MEMORY", types)
        cells = rows.with_columns(
            name=self._database.texts(rows["name"]),
            device=pl.format("npu:{}", "deviceId"),
        )
        table = memory.of_operators(cells, call_tree, self._context, self._rank)
        self._count("operator_memory", rows.height, memory.timed(cells))
        return table


def counter_name(bare: str) -> str:
    """Return the name of a counter in the text export, where names have units."""
    if bare in _RENAMED:
        return _RENAMED[bare]
    return next((bare + unit for end, unit in _UNITS if end.search(bare)), bare)


def _timed(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        thread=pl.col("globalTid") & _THREAD_BITS,
        start_ns="startNs",
        duration_ns=pl.col("endNs") - pl.col("startNs"),
    )


def _unless(values: pl.Series, none: int) -> pl.Series:
    return values.set(values == none, None)


def _calls_between_devices(folder: Path, notes: list[str]) -> list[communication.Call]:
    """Read the operations that communication.json has in the text export."""
    path = ascend.output(folder, "analysis.db")
    if path is None:
        return []
    try:
        with opened(path) as database:
            calls = communication.of_database(database)
            notes += database.notes
    except CaptureError:
        # `_step_times` reads the same file, and notes the error.
        return []
    return calls


def _step_times(folder: Path, notes: list[str]) -> pl.DataFrame | None:
    """Read step times from torch_npu's analysis.db: in microseconds, unlike its guide says."""
    path = ascend.output(folder, "analysis.db")
    if path is None:
        return None
    types = {"deviceId": _INT, "step": _INT} | dict.fromkeys(_STEP_TIMES, pl.Float64())
    try:
        with opened(path) as database:
            rows = database.read("StepTraceTime", types)
    except CaptureError as error:
        notes.append(str(error))
        return None
    if rows.is_empty():
        return None
    return pl.DataFrame(
        {
            "step": rows["step"],
            **{column: whole(rows[name], _US) for name, column in _STEP_TIMES.items()},
            "Device_id": rows["deviceId"],
        }
    )
