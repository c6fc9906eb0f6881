"""torch's chrome trace, event by event: what ran on the host, what it launched, what ran there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import polars as pl
from msgspec import Raw, Struct, field

from harness.readers.host import is_mark
from harness.readers.shapes import Codes, nanoseconds
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
_LATEST: Final = 1 << 61  # nanoseconds: two of them can be added
_LISTS: Final[pl.DataType] = pl.List(pl.Int64)
_MAX_COLUMNS: Final = 256
_NULL: Final = Raw(b"null")

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
            "row": pl.Int64(),
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
    pid: Raw = _NULL
    tid: Raw = _NULL
    ts: Raw = _NULL
    dur: Raw = _NULL
    id: Raw = _NULL
    args: Raw = _NULL


class _Operator(Struct, gc=False):
    dims: Raw = field(default=_NULL, name="Input Dims")
    types: Raw = field(default=_NULL, name="Input type")
    concrete: Raw = field(default=_NULL, name="Concrete Inputs")
    strides: Raw = field(default=_NULL, name="Input Strides")
    stack: Raw = field(default=_NULL, name="Call stack")
    module: Raw = field(default=_NULL, name="Module Hierarchy")
    external: Raw = field(default=_NULL, name="External id")
    flops: Raw = _NULL
    sequence: Raw = field(default=_NULL, name=SEQUENCE)
    forward: Raw = field(default=_NULL, name=FORWARD)


class _Launch(Struct, gc=False):
    correlation: Raw = _NULL
    external: Raw = field(default=_NULL, name="External id")


class _Allocation(Struct, gc=False):
    device_type: Raw = field(default=_NULL, name="Device Type")
    device_id: Raw = field(default=_NULL, name="Device Id")
    bytes: Raw = field(default=_NULL, name="Bytes")
    total_allocated: Raw = field(default=_NULL, name="Total Allocated")
    total_reserved: Raw = field(default=_NULL, name="Total Reserved")


T = TypeVar("T")


class _Args(Generic[T]):
    """Decodes the arguments of many events at once; of one that is broken, nothing."""

    def __init__(self, kind: Any, nothing: Callable[[], T]) -> None:
        self._many = msgspec.json.Decoder(list[kind | None])
        self._one = msgspec.json.Decoder(kind | None)
        self._nothing = nothing
        self.bad = 0

    def of(self, events: Sequence[Event]) -> list[T]:
        try:
            found = self._many.decode(b"[%b]" % b",".join([event.args for event in events]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = [self._single(event.args) for event in events]
        return [self._nothing() if each is None else each for each in found]

    def _single(self, text: Raw) -> T | None:
        try:
            found: T | None = self._one.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.bad += 1
            return None
        return found


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
        self._arguments: dict[str, list[tuple[int, pl.Series]]] = {}
        self._kernels = 0
        self._seen, self._rows, self._marks, self._hidden = (Counter[str]() for _ in range(4))
        self._bad = 0
        self._crowded: set[str] = set()
        self._operator = _Args(_Operator, _Operator)
        self._launch = _Args(_Launch, _Launch)
        self._allocation = _Args(_Allocation, _Allocation)
        self._kernel = _Args[dict[str, Any]](dict[str, Any], dict)

    def add(self, events: Sequence[Event]) -> None:
        """Take the events of a chunk."""
        groups: dict[tuple[str, str], list[Event]] = defaultdict(list)
        for event in events:
            groups[event.cat, event.ph].append(event)
        for (kind, phase), group in groups.items():
            self._seen[kind or _UNCATEGORISED.get(phase, phase)] += len(group)
            if phase == "X":
                if kind in OPERATORS:
                    self._add_operators(kind, group)
                elif kind in KERNELS:
                    self._add_kernels(kind, group)
                elif kind == "python_function":
                    self._keep("frames", _ranges(group) | {"name": self._coded("name", group)})
                elif kind.endswith(_LAUNCHES):
                    self._add_launches(group)
            elif kind in FLOWS and phase == "s":
                columns = {"correlation": numbers([event.id for event in group])}
                self._keep("flows", columns | _places(group))
            elif kind == "cpu_instant_event":
                self._add_memory(kind, [event for event in group if event.name == ALLOCATION])

    def _coded(self, name: str, events: Sequence[Event]) -> pl.Series:
        return self._codes[name].of([event.name for event in events])

    def _keep(self, name: str, columns: dict[str, pl.Series]) -> int:
        """Leave out, and count, the events that have no number where one belongs."""
        found = pl.DataFrame(columns).cast(SCHEMAS[name])
        known = found.drop_nulls(list(_NEEDED[name]))
        self._bad += found.height - known.height
        self._parts[name].append(known)
        return known.height

    def _add_operators(self, kind: str, events: list[Event]) -> None:
        shown = [event for event in events if event.name not in _HIDDEN]
        args = self._operator.of(shown)
        codes = self._codes
        columns = _ranges(shown) | {
            "name": self._coded("name", shown),
            "shapes": codes["shapes"].of([bytes(each.dims) for each in args]),
            "dtypes": codes["dtypes"].of([bytes(each.types) for each in args]),
            "concrete": codes["concrete"].of([bytes(each.concrete) for each in args]),
            "strides": codes["strides"].of([bytes(each.strides) for each in args]),
            "stack": codes["stack"].of([bytes(each.stack) for each in args]),
            "module": codes["module"].of([bytes(each.module) for each in args]),
            "external": numbers([each.external for each in args]),
            "flops": numbers([each.flops for each in args]),
            SEQUENCE: numbers([each.sequence for each in args]),
            FORWARD: numbers([each.forward for each in args]),
        }
        kept = self._keep("operators", columns)
        marks = sum(is_mark(event.name) for event in shown) if kind != "cpu_op" else 0
        self._rows[kind] += kept - marks
        self._marks[kind] += marks
        self._hidden[kind] += len(events) - len(shown)

    def _add_launches(self, events: list[Event]) -> None:
        args = self._launch.of(events)
        columns = _ranges(events) | {
            "correlation": numbers([each.correlation for each in args]),
            "external": numbers([each.external for each in args]),
        }
        self._keep("launches", columns)

    def _add_memory(self, kind: str, events: list[Event]) -> None:
        args = self._allocation.of(events)
        columns = _places(events) | {
            name: numbers([getattr(each, name) for each in args])
            for name in _Allocation.__struct_fields__
        }
        self._rows[kind] += self._keep("memory", columns)

    def _add_kernels(self, kind: str, events: list[Event]) -> None:
        args = self._kernel.of(events)

        def own(name: str, instead: list[Raw] | None = None) -> pl.Series:
            told = _whole([each.pop(name, None) for each in args])
            if instead is None or not told.has_nulls():
                return told
            return pl.select(pl.coalesce(told, numbers(instead))).to_series()

        rows = pl.int_range(self._kernels, self._kernels + len(events), eager=True)
        columns = {
            "row": rows,
            "name": self._coded("name", events),
            "type": self._codes["type"].of([kind] * len(events)),
            "device": own("device", [event.pid for event in events]),
            "stream": own("stream", [event.tid for event in events]),
            "start_ns": _times([event.ts for event in events]),
            "duration_ns": _durations(events),
            "correlation": own("correlation", [event.id for event in events]),
            "external": own("External id"),
        }
        self._rows[kind] += self._keep("kernels", columns)
        for name in {name: None for each in args for name in each}:
            if name not in self._arguments and len(self._arguments) >= _MAX_COLUMNS:
                self._crowded.add(name)
                continue
            column = _column([each.get(name) for each in args])
            self._arguments.setdefault(name, []).append((self._kernels, column))
        self._kernels += len(events)

    def kept(self, name: str) -> Kept:
        """Return all that was kept; `name` is the file's, for the notes."""
        frames = {
            table: pl.concat([schema.to_frame(), *self._parts[table]])
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
        if self._crowded:
            notes.append(f"{name}: {len(self._crowded)} arguments of kernels are left out")
        columns = [
            _spread(parts, self._kernels).alias(each) for each, parts in self._arguments.items()
        ]
        coverage = {
            kind: Coverage(
                seen=seen, rows=self._rows[kind], marks=self._marks[kind], hidden=self._hidden[kind]
            )
            for kind, seen in self._seen.items()
        }
        return Kept(frames, self._codes, pl.DataFrame(columns), coverage, notes)


def numbers(raws: Sequence[Raw]) -> pl.Series:
    """Return whole numbers, null for what is none, or too large for one."""
    return _cells(raws).cast(pl.Int64, strict=False)


def _cells(raws: Sequence[Raw]) -> pl.Series:
    """Return numbers as they are written."""
    if not raws:
        return pl.Series(dtype=pl.String)
    cells = b"\n".join(raws).decode(errors="replace").split("\n")
    if len(cells) != len(raws):  # something else than numbers, over several lines
        cells = [bytes(raw).decode(errors="replace") for raw in raws]
    return pl.Series(cells, dtype=pl.String).str.strip_chars('" \t\r\n')


def _times(raws: Sequence[Raw]) -> pl.Series:
    """Return whole nanoseconds; never by way of a float, which has too few digits."""
    found = nanoseconds(_cells(raws))
    return found.set(found.abs() > _LATEST, None)


def _durations(events: Sequence[Event]) -> pl.Series:
    found = _times([event.dur for event in events])
    return found.set(found < 0, None)


def _places(events: Sequence[Event]) -> dict[str, pl.Series]:
    return {
        "thread": numbers([event.tid for event in events]),
        "start_ns": _times([event.ts for event in events]),
    }


def _ranges(events: Sequence[Event]) -> dict[str, pl.Series]:
    return _places(events) | {"duration_ns": _durations(events)}


def _whole(values: list[Any]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.Int64)
    except (TypeError, OverflowError):
        texts = pl.Series([str(each) for each in values], dtype=pl.String)
        return texts.cast(pl.Int64, strict=False)


def _column(values: list[Any]) -> pl.Series:
    """Return the values of an argument: numbers, lists of numbers, else texts."""
    kinds = {type(each) for each in values if each is not None}
    try:
        if kinds <= {int}:
            return pl.Series(values, dtype=pl.Int64)
        if kinds <= {int, float}:
            return pl.Series(values, dtype=pl.Float64)
        if kinds == {list} and all(type(n) is int for each in values for n in each or ()):
            # polars makes a series of each list, and there are few different ones.
            codes = Codes()
            rows = codes.of([None if each is None else tuple(each) for each in values])
            distinct = [None if each is None else list(each) for each in codes]
            return pl.Series(distinct, dtype=_LISTS).gather(rows)
    except (TypeError, OverflowError):
        pass
    texts = [each if isinstance(each, str | None) else _text(each) for each in values]
    return pl.Series(texts, dtype=pl.String)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _spread(parts: list[tuple[int, pl.Series]], rows: int) -> pl.Series:
    """Bring the parts of a column together, each at its rows; null in all others."""
    kinds = {column.dtype for _, column in parts}
    dtype: pl.DataType = next(iter(kinds))
    if len(kinds) > 1:
        dtype = pl.Float64() if kinds <= {pl.Int64(), pl.Float64()} else pl.String()
    pieces, filled = [], 0
    for begin, column in parts:
        pieces.append(pl.repeat(None, begin - filled, dtype=dtype, eager=True))
        pieces.append(_cast(column, dtype))
        filled = begin + len(column)
    pieces.append(pl.repeat(None, rows - filled, dtype=dtype, eager=True))
    return pl.concat(pieces)


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    if column.dtype == dtype:
        return column
    if isinstance(column.dtype, pl.List):
        texts = [None if each is None else _text(each.to_list()) for each in column]
        return pl.Series(texts, dtype=pl.String)
    return column.cast(dtype)
