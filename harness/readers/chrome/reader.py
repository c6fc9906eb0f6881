"""The reader of torch's chrome traces, compressed or not, of any device.

Rows, nesting, self time and stacks have the same meaning as in `harness.devices.torch_events`,
which reads the same events before torch writes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec.structs import replace

from harness import tables
from harness.readers.almost_json import with_backslashes
from harness.readers.base import CaptureError, CaptureInfo, ReadContext, ReadResult
from harness.readers.call_tree import NO_ROW, CallTree, Marker, StepMarkers, first, is_mark
from harness.readers.cells import Codes, call_stack
from harness.readers.chrome import origin
from harness.readers.chrome.device import DEVICE_TYPES, device_names, device_of
from harness.readers.chrome.event import Event
from harness.readers.chrome.events import FORWARD, SEQUENCE, Events, EventTables
from harness.readers.chrome.lists import laid_out
from harness.readers.chrome.processes import Process, apart
from harness.readers.collectives import communication, process_groups
from harness.readers.gzip_stream import opened
from harness.readers.json_stream import EventFile
from harness.readers.kernel_launches import linked
from harness.tables import stacks
from harness.waits import waiting

EVENTS: Final = "traceEvents"
CHUNK_BYTES: Final = 1 << 19
"""The events decoded from one chunk fit a processor's cache."""
SETTINGS: Final = ("record_shapes", "with_stack", "profile_memory", "with_modules", "with_flops")
"""The settings that torch writes into the head of a trace."""
_ENDINGS: Final = (".json", ".json.gz")
_HEAD: Final = 1 << 16
_LATEST: Final = 1 << 61
_OF_TORCH: Final = re.compile(
    rb'"cat"\s*:\s*"(?:cpu_op|Operator|python_function|(?:cuda|xpu|mtia|privateuse1)_runtime)"'
)


class Chrome:
    """Reads the chrome trace of torch.profiler."""

    name = "chrome trace of torch.profiler"

    def recognises(self, path: Path) -> bool:
        """Tell whether a file's name and first bytes are those of a chrome trace."""
        if not path.name.endswith(_ENDINGS) or not path.is_file():
            return False
        try:
            with opened(path, []) as file:
                head = file.read(_HEAD)
        except CaptureError:
            return False
        text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        if text.startswith(b"["):  # the events alone, without the object around them
            return _OF_TORCH.search(head) is not None
        words = (b'"schemaVersion"', b'"traceEvents"')
        return text.startswith(b"{") and any(word in head for word in words)

    def read(self, path: Path, context: ReadContext) -> ReadResult:
        """Read a capture. Raises `CaptureError` if nothing in it can be read."""
        return read(path, context)


def read(path: Path, context: ReadContext, chunk_bytes: int = CHUNK_BYTES) -> ReadResult:
    """Read a trace. Raises `CaptureError` if nothing in it can be read."""
    notes: list[str] = []
    events = Events()
    with opened(path, notes) as file:
        source = EventFile(file, path.name, Event, chunk_bytes, key=EVENTS)
        for chunk in source.chunks():
            events.add(chunk)
        head = source.beside()
        notes += source.notes
    with waiting(f"making tables of {path.name}"):
        event_tables = events.tables(path.name)
        notes += event_tables.notes
        lost, remarks = origin.understood(event_tables, head, path.name, notes)
        notes += lost
        info = _capture_info(head, event_tables)
        processes, said = apart(event_tables, path.name)
        remarks += said
        if len(processes) > 1:
            info = replace(info, rank=None)
        del event_tables
        frames = _joined(processes, head, info, context)
    event_counts = processes[0].tables.event_counts
    return ReadResult(
        frames=frames,
        event_counts=event_counts,
        notes=tuple(notes),
        remarks=tuple(remarks),
        info=info,
    )


def _joined(
    processes: list[Process], head: Mapping[str, Any], info: CaptureInfo, context: ReadContext
) -> dict[str, pl.DataFrame]:
    """Return the tables of all processes, one below the other."""
    parts: list[dict[str, pl.DataFrame]] = []
    for process in processes:
        rank = info.rank if process.rank is None else process.rank
        of_process = context if rank is None else replace(context, rank=rank)
        parts.append(_Trace(process.tables, head, of_process).frames())
        context = replace(
            context, first_operator=context.first_operator + parts[-1]["operators"].height
        )
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part)
    frames = {
        name: pl.concat([part[name] for part in parts if name in part], how="diagonal_relaxed")
        for name in names
    }
    frames["stacks"] = frames["stacks"].unique(maintain_order=True)
    return frames


class _Trace:
    """The events of a trace while they become tables."""

    def __init__(
        self, event_tables: EventTables, head: Mapping[str, Any], context: ReadContext
    ) -> None:
        self._event_tables, self._head, self._context = event_tables, head, context
        base = head.get("baseTimeNanoseconds", 0)
        offset = base if isinstance(base, int) and abs(base) < _LATEST else 0
        self._frames = {
            name: event_tables.frames.pop(name).with_columns(pl.col("start_ns") + offset)
            for name in list(event_tables.frames)
        }
        self._names = pl.Series(
            [with_backslashes(name) for name in event_tables.codes["name"]], dtype=pl.String
        )
        self._rank = context.rank

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return the tables."""
        events = self._frames.pop("operators")
        marking = pl.Series([is_mark(name) for name in self._names], dtype=pl.Boolean)
        marked = marking.gather(events["name"])
        step_markers = self._step_markers(events.filter(marked))
        from harness.readers import nesting

        rows = nesting.order(events["start_ns"], events["duration_ns"])
        events = _apart(events, rows.filter(~marked.gather(rows)))
        operators, stack_table = self._operators(events)
        del events, marked, rows  # together as large as the tables
        ranges = ("thread", "start_ns", "duration_ns")
        nested = pl.concat([self._frames[name].select(ranges) for name in ("frames", "launches")])
        call_tree = CallTree(operators, nested, step_markers)
        del operators, nested
        kernels = self._kernels(call_tree)
        linked_tables = linked(
            kernels, call_tree, step_markers, self._context, self._rank, dispatched=False
        )
        del kernels
        frames = {
            "memory": self._memory(call_tree),
            "stacks": stack_table,
            "steps": _steps(step_markers, self._rank),
        }
        del call_tree
        frames |= self._with_arguments(*linked_tables)
        groups = process_groups(self._head)
        collectives = communication(frames["kernels"], frames["operators"], groups)
        if collectives is not None:
            frames["communication"] = collectives
        return frames

    def _step_markers(self, events: pl.DataFrame) -> StepMarkers:
        rows = events.select(
            "start_ns",
            end_ns=pl.col("start_ns") + pl.col("duration_ns"),
            name=self._names.gather(events["name"]),
            thread="thread",
        )
        return StepMarkers([Marker(*row) for row in rows.rows()], self._context)

    def _operators(self, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        codes = self._event_tables.codes
        call_stacks = [call_stack(text) for text in _values(codes["stack"], _text)]
        of_row: pl.Series = events["stack"]
        if not any(call_stacks) and not self._frames["frames"].is_empty():
            call_stacks, of_row = self._python_stacks(events)
        ids, table = stacks.identified(call_stacks)
        kept = events.select(
            *("thread", "start_ns", "duration_ns", "external", "shapes", "dtypes"),
            stack_id=pl.Series(ids, dtype=pl.Int64).gather(of_row),
            name=self._names.gather(events["name"]),
            flops=events["flops"].set(events["flops"] == 0, None),
            **{
                SEQUENCE: events[SEQUENCE],
                FORWARD: events[FORWARD].set(events[FORWARD] == 0, None),
                **{name: events[code] for name, (code, _) in _OWN_TEXTS.items()},
            },
        )
        used = kept["stack_id"].drop_nulls().unique()
        return kept, table.filter(pl.col("stack_id").is_in(used.implode()))

    def _with_arguments(
        self, kernels: pl.DataFrame, operators: pl.DataFrame
    ) -> dict[str, pl.DataFrame]:
        """Replace the numbers of the operators' arguments by their values; add them to kernels."""
        codes = self._event_tables.codes
        shapes, dtypes, operators = laid_out(
            _values(codes["shapes"], _shapes), _values(codes["dtypes"], _words), operators
        )
        operator = kernels["operator"] - self._context.first_operator
        called = operators.select(pl.col("shapes", "dtypes").gather(operator))
        text_columns = [
            _gathered(operators[name], codes[code], parse)
            for name, (code, parse) in _OWN_TEXTS.items()
        ]
        operators = operators.with_columns(
            *text_columns,
            input_shapes=shapes.gather(operators["shapes"]),
            input_dtypes=dtypes.gather(operators["dtypes"]),
        )
        optional = [operators[name] for name in (SEQUENCE, FORWARD, *_OWN_TEXTS)]
        absent = [column.name for column in optional if column.null_count() == len(column)]
        return {
            "operators": operators.drop("external", "shapes", "dtypes", *absent),
            "kernels": kernels.with_columns(
                input_shapes=shapes.gather(called["shapes"]),
                input_dtypes=dtypes.gather(called["dtypes"]),
            ).hstack(self._event_tables.arguments.rename(_free)),
        }

    def _python_stacks(self, events: pl.DataFrame) -> tuple[list[list[str]], pl.Series]:
        """Return the stacks of the Python functions that were open at each operator's start."""
        frames = self._frames["frames"]
        nothing = frames[:0].select("thread", "start_ns", "duration_ns")
        python = CallTree(frames, nothing, StepMarkers([], ReadContext()))
        inner = python.innermost(events["thread"], events["start_ns"])
        rows = inner.drop_nulls().unique().sort().to_list()
        paths, places = python.paths(rows)
        names = self._names.to_list()
        stacks_ = [[names[code] for code in path] for path in paths]
        of_row = inner.fill_null(NO_ROW).replace_strict([NO_ROW, *rows], [0, *places])
        return stacks_, of_row

    def _kernels(self, call_tree: CallTree) -> pl.DataFrame:
        """Add the operator that launched each kernel, and when.

        Found by the driver's call of the same correlation; if the trace has none, by the start of
        the flow event between them; else by the operator's own number.
        """
        kernels = self._frames.pop("kernels")
        calls, flows = self._frames.pop("launches"), self._frames.pop("flows")
        call_rows = first(calls["correlation"], kernels["correlation"])
        placed = kernels.with_columns(
            thread=calls["thread"].gather(call_rows),
            host_ns=calls["start_ns"].gather(call_rows),
            call=calls["external"].gather(call_rows),
        )
        if call_rows.has_nulls() and not flows.is_empty():
            flow_rows = first(flows["correlation"], kernels["correlation"])
            placed = placed.with_columns(
                thread=pl.coalesce("thread", flows["thread"].gather(flow_rows)),
                host_ns=pl.coalesce("host_ns", flows["start_ns"].gather(flow_rows)),
            )
        del calls, flows
        # Old traces repeat the driver's number as the operator's.
        operator_number = pl.coalesce("call", "external")
        differs = operator_number.ne_missing(pl.col("correlation"))
        number = pl.when(differs).then(operator_number)
        inner = call_tree.numbered(placed.select(number).to_series())
        if inner.has_nulls():
            unlinked = inner.is_null().arg_true()
            times = placed.select(pl.col("thread", "host_ns").gather(unlinked))
            inner = inner.scatter(unlinked, call_tree.innermost(*times))
        kinds = self._event_tables.codes["kind"].texts()
        return placed.select(
            pl.col("device").cast(pl.Int32, strict=False),
            "stream",
            "start_ns",
            "duration_ns",
            "correlation",
            "host_ns",
            name=self._names.gather(placed["name"]),
            type=kinds.gather(placed["kind"]),
            inner=inner,
            step_id=pl.lit(None, pl.Int64),
        )

    def _memory(self, call_tree: CallTree) -> pl.DataFrame:
        events = self._frames["memory"].sort("start_ns", maintain_order=True)
        kinds = events["device_type"].replace_strict(
            DEVICE_TYPES, default="device", return_dtype=pl.String
        )
        index = pl.when(pl.col("device_id") >= 0).then(
            pl.concat_str(pl.lit(":"), pl.col("device_id").cast(pl.String))
        )
        rows = call_tree.innermost(events["thread"], events["start_ns"])
        columns: dict[str, object] = {
            "rank": pl.repeat(self._rank, events.height, dtype=pl.Int32, eager=True),
            "time_ns": events["start_ns"],
            "device": events.select(pl.concat_str(kinds, index.fill_null(""))).to_series(),
            "kind": events.select(
                pl.when(pl.col("bytes") < 0).then(pl.lit("free")).otherwise(pl.lit("alloc"))
            ).to_series(),
            **{name: events[name] for name in ("bytes", "total_allocated", "total_reserved")},
            "operator": rows + self._context.first_operator,
        }
        return tables.frame("memory", columns)


def _apart(frame: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Move some rows out of a frame, column by column, so that it is never in memory twice."""
    return pl.DataFrame([frame.drop_in_place(name).gather(rows) for name in frame.columns])


def _steps(step_markers: StepMarkers, rank: int) -> pl.DataFrame:
    rows = step_markers.ranges()
    columns: dict[str, object] = {
        "step": [step for _, _, step in rows],
        "rank": [rank] * len(rows),
        "phase": ["active"] * len(rows),
        "start_ns": [start for start, _, _ in rows],
        "duration_ns": [end - start for start, end, _ in rows],
    }
    return tables.frame("steps", columns)


def _free(name: str) -> str:
    return f"args.{name}" if name in tables.SCHEMAS["kernels"] else name


def _capture_info(head: Mapping[str, Any], event_tables: EventTables) -> CaptureInfo:
    """Return what a trace reports about its origin."""
    names = device_names(head)
    types = event_tables.frames["memory"]["device_type"].unique().sort().to_list()
    spread = head.get("distributedInfo")
    rank = spread.get("rank") if isinstance(spread, dict) else None
    versions = {
        word.removesuffix("_version"): str(head[word])
        for word in head
        if word.endswith("_version") and isinstance(head[word], str | int)
    }
    return CaptureInfo(
        device=device_of(head, event_tables.event_counts, event_tables.metadata, types),
        device_name=names[0] if names else "",
        host=str(head.get("host_name", "")),
        rank=rank if isinstance(rank, int) and 0 <= rank < 1 << 31 else None,
        versions=versions,
        settings={f"profiler.{name}": bool(head[name]) for name in SETTINGS if name in head},
    )


def _values(codes: Codes, parse: Callable[[Any], Any]) -> list[Any]:
    """Parse the distinct texts of an argument; null for a value of a wrong type."""
    values = []
    for text in codes:
        try:
            value = json.loads(text)
            values.append(None if value is None else parse(value))
        except (ValueError, TypeError, RecursionError):
            values.append(None)
    return values


def _gathered(numbers: pl.Series, codes: Codes, parse: Callable[[Any], Any]) -> pl.Series:
    texts = pl.Series(_values(codes, parse), dtype=pl.String)
    return texts.gather(numbers).alias(numbers.name)


def _shapes(value: list[Any]) -> list[Any] | None:
    """Return the shapes of arguments, a list of them for a list of tensors."""
    return [_shape(argument) for argument in _list(value)] or None


def _shape(value: Any) -> list[Any]:
    if any(isinstance(size, list) for size in _list(value)):
        return [[_size(size) for size in _list(shape)] for shape in value]
    return [_size(size) for size in value]


def _size(value: Any) -> int:
    if not isinstance(value, int) or abs(value) > _LATEST:
        raise TypeError(value)
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _words(value: list[Any]) -> list[str | None] | None:
    return [str(word) or None for word in _list(value)] or None


def _json(value: Any) -> str:
    return json.dumps(value)


def _text(value: Any) -> str | None:
    return str(value) or None


_OWN_TEXTS: Final[Mapping[str, tuple[str, Callable[[Any], str | None]]]] = {
    "Concrete Inputs": ("concrete", _json),
    "Input Strides": ("strides", _json),
    "module": ("module", _text),
}
"""Columns of operators that only this source has: the codes that number them, and their parser."""
