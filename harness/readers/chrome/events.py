"""Collect the events of torch's chrome trace: operators, launches, kernels and memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from operator import not_
from typing import Any, Final, NamedTuple

import polars as pl
from msgspec import Raw, Struct, field

from harness.readers.call_tree import is_mark
from harness.readers.cells import Codes
from harness.readers.chrome import vocabulary
from harness.readers.chrome.arguments import AllArguments, KnownArguments
from harness.readers.chrome.columns import NULL, coded, exact, numbers, written
from harness.readers.chrome.event import Event
from harness.readers.chrome.metadata import Metadata, is_on_device, stream_of
from harness.tables.event_counts import EventCounts

ALLOCATION: Final = "[memory]"
SEQUENCE: Final = "Sequence number"
FORWARD: Final = "Fwd thread id"
_UNCATEGORISED: Final = {"M": "labels", "X": "uncategorised", "i": "instants", "C": "counters"}
_HIDDEN: Final = frozenset(
    {
        *("[memory]", "[OutOfMemory]"),
        "profiler::_record_function_enter",
        "profiler::_record_function_enter_new",
        "profiler::_record_function_exit",
        *("aten::is_leaf", "aten::output_nr", "aten::_version"),
    }
)
"""Names that torch, too, hides (`torch.autograd.profiler_util._filter_name`)."""
_PROCESS: Final = "process"
_RANGE: Final = pl.Schema(
    {
        _PROCESS: pl.Int32(),
        **dict.fromkeys(("thread", "start_ns", "duration_ns"), pl.Int64()),
    }
)
_CODED: Final = ("name", "shapes", "dtypes", "concrete", "strides", "stack", "module")
_NUMBERS: Final = ("external", "flops", SEQUENCE, FORWARD)
SCHEMAS: Final = {
    "operators": pl.Schema(
        {
            **_RANGE,
            **dict.fromkeys((*_CODED, "kind"), pl.Int32()),
            **dict.fromkeys(_NUMBERS, pl.Int64()),
        }
    ),
    "frames": pl.Schema({**_RANGE, "name": pl.Int32()}),
    "launches": pl.Schema({**_RANGE, "correlation": pl.Int64(), "external": pl.Int64()}),
    "flows": pl.Schema(
        {
            _PROCESS: pl.Int32(),
            **dict.fromkeys(("correlation", "thread", "start_ns"), pl.Int64()),
        }
    ),
    "kernels": pl.Schema(
        {
            **dict.fromkeys((_PROCESS, "name", "kind"), pl.Int32()),
            **dict.fromkeys(("device", "stream", "start_ns", "duration_ns"), pl.Int64()),
            **dict.fromkeys(("correlation", "external"), pl.Int64()),
        }
    ),
    "memory": pl.Schema(
        {
            **dict.fromkeys((_PROCESS, "kind"), pl.Int32()),
            **dict.fromkeys(
                (
                    *("thread", "start_ns", "device_type", "device_id"),
                    *("bytes", "total_allocated", "total_reserved"),
                ),
                pl.Int64(),
            ),
        }
    ),
}
_NEEDED: Final = {
    "operators": ("thread", "start_ns", "duration_ns"),
    "frames": ("thread", "start_ns", "duration_ns"),
    "launches": ("thread", "start_ns", "duration_ns"),
    "flows": ("correlation", "thread", "start_ns"),
    "kernels": ("start_ns", "duration_ns"),
    "memory": ("thread", "start_ns", "bytes"),
}


_TIMES: Final = frozenset({"start_ns", "duration_ns"})
_ROWS: Final = 1 << 14
"""How many events of a table become a frame at once."""


class _Operator(Struct, gc=False):
    shapes: Raw = field(default=NULL, name="Input Dims")
    old_shapes: Raw = field(default=NULL, name="Input dims")
    dtypes: Raw = field(default=NULL, name="Input type")
    concrete: Raw = field(default=NULL, name="Concrete Inputs")
    strides: Raw = field(default=NULL, name="Input Strides")
    stack: Raw = field(default=NULL, name="Call stack")
    module: Raw = field(default=NULL, name="Module Hierarchy")
    external: Any = field(default=None, name="External id")
    flops: Any = None
    sequence: Any = field(default=None, name=SEQUENCE)
    forward: Any = field(default=None, name=FORWARD)


class _Launch(Struct, gc=False):
    correlation: Any = None
    external: Any = field(default=None, name="External id")
    old_external: Any = field(default=None, name="external id")


class _Allocation(Struct, gc=False):
    device_type: Any = field(default=None, name="Device Type")
    device_id: Any = field(default=None, name="Device Id")
    bytes: Any = field(default=None, name="Bytes")
    total_allocated: Any = field(default=None, name="Total Allocated")
    total_reserved: Any = field(default=None, name="Total Reserved")


class EventTables(NamedTuple):
    """The events of a file by table, and how many there were of each kind."""

    frames: dict[str, pl.DataFrame]
    """By the names of `SCHEMAS`; times count from the file's own zero."""
    codes: dict[str, Codes]
    """The values that the numbers of name, shapes and others stand for."""
    arguments: pl.DataFrame
    """Every argument of kernels that has no column of its own, row by row."""
    event_counts: dict[str, EventCounts]
    metadata: Metadata
    notes: list[str]


class Events:
    """The events read so far, as numbers: a frame for many events of each table."""

    def __init__(self) -> None:
        """Start with none."""
        self._codes = {name: Codes() for name in (*_CODED, "kind", "process")}
        self._metadata = Metadata()
        self._pending: dict[str, dict[str, list[Any]]] = {
            table: {name: [] for name in schema if name != _PROCESS}
            for table, schema in SCHEMAS.items()
        }
        self._processes: dict[str, list[tuple[int, int]]] = {table: [] for table in SCHEMAS}
        self._frames = {table: schema.to_frame() for table, schema in SCHEMAS.items()}
        self._event_counts, self._rows, self._marks, self._hidden = (
            Counter[str]() for _ in range(4)
        )
        self._bad = 0
        self._operator = KnownArguments(_Operator, _Operator)
        self._launch = KnownArguments(_Launch, _Launch)
        self._allocation = KnownArguments(_Allocation, _Allocation)
        self._kernel = AllArguments()

    def add(self, events: Sequence[Event]) -> None:
        """Take the events of a chunk."""
        groups: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            groups[event.cat].append(event)
        for kind, group in groups.items():
            phase = group[0].ph
            phases = [event.ph for event in group]
            if phases.count(phase) < len(phases):
                for phase in set(phases):
                    self._add(kind, phase, [event for event in group if event.ph == phase])
            else:
                self._add(kind, phase, group)

    def _add(self, word: str, phase: str, events: list[Event]) -> None:
        kind = vocabulary.WORDS.get(word, word)
        if phase == "i" and not kind and any(event.name == ALLOCATION for event in events):
            kind = vocabulary.ALLOCATIONS  # torch 1.8 to 1.10 wrote no kind
        self._event_counts[kind or _UNCATEGORISED.get(phase, phase)] += len(events)
        if phase == "X":
            self._add_ranges(kind, events, marks=word != "cpu_op")
        elif kind in vocabulary.FLOWS and phase == "s":
            columns = {"correlation": [event.id for event in events]}
            self._keep("flows", events, _places(events) | columns)
        elif kind == vocabulary.ALLOCATIONS:
            self._add_memory(kind, [event for event in events if event.name == ALLOCATION])
        elif phase == "M":
            self._metadata.add_labels(events)
        elif phase == "B" or (phase == "b" and vocabulary.has_rows(kind)):
            self._metadata.add_unknown(f"{kind}, begin and end apart", events)

    def _add_ranges(self, kind: str, events: list[Event], *, marks: bool) -> None:
        if kind in vocabulary.OPERATORS:
            self._add_operators(kind, events, marks=marks)
        elif kind in vocabulary.KERNELS:
            self._add_kernels(kind, events)
        elif kind == vocabulary.FRAMES:
            self._keep("frames", events, _ranges(events) | {"name": self._names(events)})
        elif vocabulary.launches(kind):
            self._add_launches(kind, events)
        elif kind == vocabulary.DEVICE_OR_HOST:
            on_device = [is_on_device(event.args) for event in events]
            self._add_kernels(kind, list(compress(events, on_device)))
            self._metadata.add_unknown(kind, list(compress(events, map(not_, on_device))))
        elif not vocabulary.understood(kind):
            self._metadata.add_unknown(kind, events)

    def _names(self, events: Sequence[Event]) -> list[int]:
        return list(map(self._codes["name"].__getitem__, [event.name for event in events]))

    def _keep(
        self,
        table: str,
        events: Sequence[Event],
        columns: Mapping[str, list[Any]],
        kind: str = "",
    ) -> None:
        """Keep values until there are enough for a frame: polars has a cost for each column."""
        count = len(events)
        pending = self._pending[table]
        self._processes[table] += self._runs(events)
        for name, values in columns.items():
            pending[name] += values
        if kind:
            self._rows[kind] += count
            pending["kind"] += [self._codes["kind"][kind]] * count
        if len(pending["start_ns"]) >= _ROWS:
            self._take(table)

    def _runs(self, events: Sequence[Event]) -> list[tuple[int, int]]:
        """Return the number of the process of some events, and how many there are of each."""
        ids = [event.pid for event in events]
        codes = self._codes["process"]
        if ids and ids.count(ids[0]) == len(ids):  # nearly always
            return [(codes[str(ids[0])], len(ids))]
        return [(codes[str(id_)], 1) for id_ in ids]

    def _take(self, table: str) -> None:
        """Make a frame of the kept values; skip and count events without a required number.

        Times are texts, as in the file.
        """
        import numpy as np

        pending = self._pending[table]
        schema = SCHEMAS[table]
        texts = pl.DataFrame(
            {
                name: pl.Series(values, dtype=pl.String)
                if name in _TIMES
                else pl.Series(values, dtype=pl.Int32)
                if schema[name] == pl.Int32
                else numbers(values)
                for name, values in pending.items()
            }
        )
        for values in pending.values():
            values.clear()
        runs = np.array(self._processes[table], dtype=np.int32).reshape(-1, 2)
        self._processes[table].clear()
        texts.insert_column(0, pl.Series(_PROCESS, np.repeat(runs[:, 0], runs[:, 1])))
        frame = texts.with_columns(_exact(table))
        needed = _NEEDED[table]
        if any(frame[name].has_nulls() for name in needed):
            clean = pl.col(pl.String).str.strip_chars('" \t\r\n')
            frame = texts.with_columns(clean).with_columns(_exact(table))
        complete = frame.select(pl.all_horizontal(pl.col(needed).is_not_null())).to_series()
        if not complete.all():
            lost = frame.filter(~complete)
            self._bad += lost.height
            frame = frame.filter(complete)
            if "kind" in schema:
                kinds = list(self._codes["kind"])
                self._rows.subtract(kinds[code] for code in lost["kind"])
        self._frames[table].extend(frame)
        if table == "kernels":
            self._kernel.take(complete)

    def _add_operators(self, kind: str, events: list[Event], *, marks: bool) -> None:
        shown, names = events, [event.name for event in events]
        if not _HIDDEN.isdisjoint(names):
            shown = [event for event in events if event.name not in _HIDDEN]
            names = [event.name for event in shown]
        args = self._operator.of([event.args for event in shown])
        codes = self._codes
        columns = _ranges(shown) | {
            "name": list(map(codes["name"].__getitem__, names)),
            "shapes": coded(codes["shapes"], _shapes(args)),
            "dtypes": coded(codes["dtypes"], [arg.dtypes for arg in args]),
            "concrete": coded(codes["concrete"], [arg.concrete for arg in args]),
            "strides": coded(codes["strides"], [arg.strides for arg in args]),
            "stack": coded(codes["stack"], [arg.stack for arg in args]),
            "module": coded(codes["module"], [arg.module for arg in args]),
            "external": [arg.external for arg in args],
            "flops": [arg.flops for arg in args],
            SEQUENCE: [arg.sequence for arg in args],
            FORWARD: [arg.forward for arg in args],
        }
        self._keep("operators", shown, columns, kind)
        if marks:
            count = sum(map(is_mark, names))
            self._rows[kind] -= count
            self._marks[kind] += count
        self._hidden[kind] += len(events) - len(shown)

    def _add_launches(self, kind: str, events: list[Event]) -> None:
        args = self._launch.of([event.args for event in events])
        self._metadata.add_calls(kind, events[0].name)
        external = [arg.external for arg in args]
        if None in external:
            external = [arg.old_external if arg.external is None else arg.external for arg in args]
        columns = {
            "correlation": [arg.correlation for arg in args],
            "external": external,
        }
        self._keep("launches", events, _ranges(events) | columns)

    def _add_memory(self, kind: str, events: list[Event]) -> None:
        args = self._allocation.of([event.args for event in events])
        columns = {
            name: [getattr(arg, name) for arg in args] for name in _Allocation.__struct_fields__
        }
        self._keep("memory", events, _places(events) | columns, kind)

    def _add_kernels(self, kind: str, events: list[Event]) -> None:
        args = self._kernel.of([event.args for event in events])
        nothing: list[Any] = [None] * len(events)

        def pop_argument(name: str, instead: Callable[[Event], Any]) -> list[Any]:
            info = args.pop(name, nothing)
            if None not in info:
                return info
            return [
                instead(event) if value is None else value
                for value, event in zip(info, events, strict=True)
            ]

        columns = {
            "name": self._names(events),
            "device": pop_argument("device", lambda event: event.pid),
            "stream": pop_argument("stream", lambda event: stream_of(event.tid)),
            "start_ns": written([event.ts for event in events]),
            "duration_ns": written([event.dur for event in events]),
            "correlation": pop_argument("correlation", lambda event: event.id),
            "external": args.pop("External id", nothing),
        }
        old = args.pop("external id", nothing)
        if old is not nothing:
            columns["external"] = [
                b if a is None else a for a, b in zip(columns["external"], old, strict=True)
            ]
        self._kernel.keep(args, len(events))
        self._keep("kernels", events, columns, kind)

    def tables(self, name: str) -> EventTables:
        """Return everything that was kept; `name` is the file's name in notes."""
        for table in SCHEMAS:
            self._take(table)
        frames = {table: self._frames.pop(table) for table in SCHEMAS}
        notes = []
        broken = sum(
            decoder.bad
            for decoder in (self._operator, self._launch, self._allocation, self._kernel)
        )
        if self._bad:
            notes.append(f"{name}: {self._bad} events skipped: a required number is missing")
        if broken:
            notes.append(f"{name}: {broken} events whose arguments are not a JSON object")
        if self._kernel.left_out:
            notes.append(f"{name}: {self._kernel.left_out} arguments of kernels were skipped")
        event_counts = {
            kind: EventCounts(
                seen=count,
                rows=self._rows[kind],
                marks=self._marks[kind],
                hidden=self._hidden[kind],
            )
            for kind, count in self._event_counts.items()
        }
        return EventTables(
            frames, self._codes, self._kernel.columns(), event_counts, self._metadata, notes
        )


def _exact(table: str) -> list[pl.Expr]:
    start, duration = exact(pl.col("start_ns")), exact(pl.col("duration_ns"))
    times = [start.alias("start_ns"), pl.when(duration >= 0).then(duration).alias("duration_ns")]
    return times[: len(_TIMES & SCHEMAS[table].keys())]


def _shapes(args: Sequence[_Operator]) -> list[Raw]:
    shapes = [arg.shapes for arg in args]
    if not [arg for arg in args if arg.old_shapes is not NULL]:
        return shapes
    return [
        arg.old_shapes if shape is NULL else shape for arg, shape in zip(args, shapes, strict=True)
    ]


def _places(events: Sequence[Event]) -> dict[str, list[Any]]:
    return {
        "thread": [event.tid for event in events],
        "start_ns": written([event.ts for event in events]),
    }


def _ranges(events: Sequence[Event]) -> dict[str, list[Any]]:
    return _places(events) | {"duration_ns": written([event.dur for event in events])}
