"""torch's chrome trace, event by event: what ran on the host, what it launched, what ran there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import polars as pl
from msgspec import Raw, Struct, field

from harness.readers.chrome_arguments import Every, Known
from harness.readers.chrome_columns import NULL, coded, exact, numbers, written
from harness.readers.host import is_mark
from harness.readers.shapes import Codes
from harness.records import Coverage

OPERATORS: Final = ("cpu_op", "user_annotation")
KERNELS: Final = ("kernel", "gpu_memcpy", "gpu_memset", "concurrent_kernel")
FLOWS: Final = ("ac2g", "async_cpu_to_gpu")
ALLOCATION: Final = "[memory]"
SEQUENCE: Final = "Sequence number"
FORWARD: Final = "Fwd thread id"
_LAUNCHES: Final = ("_runtime", "_driver")
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
"""What torch, too, leaves out (`torch.autograd.profiler_util._filter_name`)."""
_RANGE: Final = pl.Schema(dict.fromkeys(("thread", "start_ns", "duration_ns"), pl.Int64()))
_CODED: Final = ("name", "shapes", "dtypes", "concrete", "strides", "stack", "module")
_NUMBERS: Final = ("external", "flops", SEQUENCE, FORWARD)
SCHEMAS: Final = {
    "operators": pl.Schema(
        {
            **_RANGE,
            **dict.fromkeys(_CODED, pl.Int32()),
            **dict.fromkeys(_NUMBERS, pl.Int64()),
        }
    ),
    "frames": pl.Schema({**_RANGE, "name": pl.Int32()}),
    "launches": pl.Schema({**_RANGE, "correlation": pl.Int64(), "external": pl.Int64()}),
    "flows": pl.Schema(dict.fromkeys(("correlation", "thread", "start_ns"), pl.Int64())),
    "kernels": pl.Schema(
        {
            **dict.fromkeys(("name", "type"), pl.Int32()),
            **dict.fromkeys(("device", "stream", "start_ns", "duration_ns"), pl.Int64()),
            **dict.fromkeys(("correlation", "external"), pl.Int64()),
        }
    ),
    "memory": pl.Schema(
        dict.fromkeys(
            (
                *("thread", "start_ns", "device_type", "device_id"),
                *("bytes", "total_allocated", "total_reserved"),
            ),
            pl.Int64(),
        )
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


class Event(Struct, gc=False):
    """An event as it stands in the file; numbers and arguments are looked at by their kind."""

    name: str = ""
    ph: str = ""
    cat: str = ""
    pid: Any = None
    tid: Any = None
    id: Any = None
    ts: Raw = NULL
    dur: Raw = NULL
    args: Raw = NULL


class _Operator(Struct, gc=False):
    shapes: Raw = field(default=NULL, name="Input Dims")
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


class _Allocation(Struct, gc=False):
    device_type: Any = field(default=None, name="Device Type")
    device_id: Any = field(default=None, name="Device Id")
    bytes: Any = field(default=None, name="Bytes")
    total_allocated: Any = field(default=None, name="Total Allocated")
    total_reserved: Any = field(default=None, name="Total Reserved")


class Kept(NamedTuple):
    """What kinds of events became, and how many."""

    frames: dict[str, pl.DataFrame]
    """By the names of `SCHEMAS`; times count from the file's own zero."""
    codes: dict[str, Codes]
    """The values behind the numbers of name, shapes and others."""
    arguments: pl.DataFrame
    """Of kernels, row by row: every argument that has no column of its own."""
    coverage: dict[str, Coverage]
    notes: list[str]


class Events:
    """The events so far, as numbers: a frame for each chunk and kind."""

    def __init__(self) -> None:
        """Start with none."""
        self._codes = {name: Codes() for name in (*_CODED, "type")}
        self._parts: dict[str, list[pl.DataFrame]] = defaultdict(list)
        self._seen, self._rows, self._marks, self._hidden = (Counter[str]() for _ in range(4))
        self._bad = 0
        self._operator = Known(_Operator, _Operator)
        self._launch = Known(_Launch, _Launch)
        self._allocation = Known(_Allocation, _Allocation)
        self._kernel = Every()

    def add(self, events: Sequence[Event]) -> None:
        """Take the events of a chunk."""
        groups: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            groups[event.cat].append(event)
        for kind, group in groups.items():
            phases = Counter([event.ph for event in group])
            for phase, seen in phases.items():
                self._seen[kind or _UNCATEGORISED.get(phase, phase)] += seen
                if (reader := self._reader(kind, phase)) is not None:
                    alone = len(phases) == 1
                    reader(kind, group if alone else [each for each in group if each.ph == phase])

    def _reader(self, kind: str, phase: str) -> Callable[[str, list[Event]], None] | None:
        if phase == "X":
            if kind in OPERATORS:
                return self._add_operators
            if kind in KERNELS:
                return self._add_kernels
            if kind == "python_function":
                return self._add_frames
            if kind.endswith(_LAUNCHES):
                return self._add_launches
        elif kind in FLOWS and phase == "s":
            return self._add_flows
        elif kind == "cpu_instant_event":
            return self._add_memory
        return None

    def _keep(self, table: str, columns: dict[str, pl.Series]) -> pl.Series:
        """Leave out, and count, the events that have no number where one belongs.

        Times are as they are written. Returns which events were kept.
        """
        written = pl.DataFrame(columns)
        found = _read(written, table)
        needed = list(_NEEDED[table])
        if any(found[name].has_nulls() for name in needed):
            clean = pl.col(pl.String).str.strip_chars('" \t\r\n')
            found = _read(written.with_columns(clean), table)
        known = found.select(pl.all_horizontal(pl.col(needed).is_not_null())).to_series()
        if not known.all():
            found = found.filter(known)
            self._bad += len(known) - found.height
        self._parts[table].append(found)
        return known

    def _named(self, events: Sequence[Event]) -> pl.Series:
        return self._codes["name"].of([event.name for event in events])

    def _add_operators(self, kind: str, events: list[Event]) -> None:
        shown = events
        if not _HIDDEN.isdisjoint([event.name for event in events]):
            shown = [event for event in events if event.name not in _HIDDEN]
        args = self._operator.of([event.args for event in shown])
        codes = self._codes
        columns = _ranges(shown) | {
            "name": self._named(shown),
            "shapes": coded(codes["shapes"], [each.shapes for each in args]),
            "dtypes": coded(codes["dtypes"], [each.dtypes for each in args]),
            "concrete": coded(codes["concrete"], [each.concrete for each in args]),
            "strides": coded(codes["strides"], [each.strides for each in args]),
            "stack": coded(codes["stack"], [each.stack for each in args]),
            "module": coded(codes["module"], [each.module for each in args]),
            "external": numbers([each.external for each in args]),
            "flops": numbers([each.flops for each in args]),
            SEQUENCE: numbers([each.sequence for each in args]),
            FORWARD: numbers([each.forward for each in args]),
        }
        kept = int(self._keep("operators", columns).sum())
        marks = sum(is_mark(event.name) for event in shown) if kind != "cpu_op" else 0
        self._rows[kind] += kept - marks
        self._marks[kind] += marks
        self._hidden[kind] += len(events) - len(shown)

    def _add_frames(self, _: str, events: list[Event]) -> None:
        self._keep("frames", _ranges(events) | {"name": self._named(events)})

    def _add_launches(self, _: str, events: list[Event]) -> None:
        args = self._launch.of([event.args for event in events])
        columns = {
            "correlation": numbers([each.correlation for each in args]),
            "external": numbers([each.external for each in args]),
        }
        self._keep("launches", columns | _ranges(events))

    def _add_flows(self, _: str, events: list[Event]) -> None:
        self._keep("flows", {"correlation": numbers([e.id for e in events])} | _places(events))

    def _add_memory(self, kind: str, events: list[Event]) -> None:
        chosen = [event for event in events if event.name == ALLOCATION]
        args = self._allocation.of([event.args for event in chosen])
        columns = _places(chosen) | {
            name: numbers([getattr(each, name) for each in args])
            for name in _Allocation.__struct_fields__
        }
        self._rows[kind] += int(self._keep("memory", columns).sum())

    def _add_kernels(self, kind: str, events: list[Event]) -> None:
        args = self._kernel.of([event.args for event in events])

        def own(name: str, instead: list[Any] | None = None) -> pl.Series:
            told = numbers(args.pop(name, [None] * len(events)))
            if instead is None or not told.has_nulls():
                return told
            return pl.select(pl.coalesce(told, numbers(instead))).to_series()

        columns = {
            "name": self._named(events),
            "type": self._codes["type"].of([kind] * len(events)),
            "device": own("device", [event.pid for event in events]),
            "stream": own("stream", [event.tid for event in events]),
            "start_ns": written([event.ts for event in events]),
            "duration_ns": written([event.dur for event in events]),
            "correlation": own("correlation", [event.id for event in events]),
            "external": own("External id"),
        }
        known = self._keep("kernels", columns)
        self._kernel.keep(args, known)
        self._rows[kind] += int(known.sum())

    def kept(self, name: str) -> Kept:
        """Return all that was kept; `name` is the file's, for the notes."""
        frames = {
            table: pl.concat([schema.to_frame(), *self._parts.pop(table, ())])
            for table, schema in SCHEMAS.items()
        }
        notes = []
        broken = sum(
            each.bad for each in (self._operator, self._launch, self._allocation, self._kernel)
        )
        if self._bad:
            notes.append(f"{name}: {self._bad} events without a number where one belongs")
        if broken:
            notes.append(f"{name}: {broken} events whose arguments are no object")
        if self._kernel.left_out:
            notes.append(f"{name}: {self._kernel.left_out} arguments of kernels are left out")
        coverage = {
            kind: Coverage(
                seen=seen, rows=self._rows[kind], marks=self._marks[kind], hidden=self._hidden[kind]
            )
            for kind, seen in self._seen.items()
        }
        return Kept(frames, self._codes, self._kernel.columns(), coverage, notes)


def _read(written: pl.DataFrame, table: str) -> pl.DataFrame:
    """Return the columns of a table of `SCHEMAS`, with times as numbers."""
    start, duration = exact(pl.col("start_ns")), exact(pl.col("duration_ns"))
    times = {"start_ns": start, "duration_ns": pl.when(duration >= 0).then(duration)}
    return written.select(
        times.get(name, pl.col(name)).cast(dtype).alias(name)
        for name, dtype in SCHEMAS[table].items()
    )


def _places(events: Sequence[Event]) -> dict[str, pl.Series]:
    return {
        "thread": numbers([event.tid for event in events]),
        "start_ns": written([event.ts for event in events]),
    }


def _ranges(events: Sequence[Event]) -> dict[str, pl.Series]:
    return _places(events) | {"duration_ns": written([event.dur for event in events])}
