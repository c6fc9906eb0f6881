"""trace_view.json, torch_npu's timeline: what the host did, and which kernels it launched."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
from msgspec import Struct, field

from harness.readers.base import CaptureError
from harness.readers.call_tree import Marker, is_mark
from harness.readers.cells import (
    SHAPES,
    WORDS,
    Codes,
    argument_shapes,
    argument_words,
    call_stack,
    nanoseconds,
    parsed,
    whole,
)
from harness.readers.json_stream import EventFile
from harness.tables import stacks
from harness.tables.event_counts import EventCounts

NO_MARKS: Final = pl.DataFrame(
    schema={"name": pl.String, "domain": pl.String, "start_ns": pl.Int64, "duration_ns": pl.Int64}
)
OPERATOR: Final = "async_npu"
"""The kind of the flow from an operator to its kernel."""
CALL: Final = "HostToDevice"
"""The kind of the flow from CANN's call to its kernel."""
TASK: Final = "task"
"""The kind of what ran on the device."""
CALLS: Final = "CANN"
"""The kind of the host's calls into CANN: events that tell their thread."""
SEQUENCE: Final = "Sequence number"
FORWARD: Final = "Fwd thread id"
MODULES: Final = "Module Hierarchy"
NO_SEQUENCE: Final = -1
NO_CONNECTION: Final = 4294967295
"""CANN's word for none."""
_HARDWARE: Final = frozenset({"Ascend Hardware", None})
_DEVICE_BITS: Final = 31  # the last of the numbers that CANN makes up for processes
_LABEL: Final = re.compile(r"(?:NPU)? *([0-9]{1,9}) *")
_US: Final = 1000

_RANGE: Final = pl.Schema(dict.fromkeys(("thread", "start_ns", "duration_ns"), pl.Int64()))
_OPERATORS: Final = pl.Schema(
    {
        **_RANGE,
        **dict.fromkeys(("name", "shapes", "dtypes", "stack", "modules"), pl.Int32()),
        **dict.fromkeys(("flops", SEQUENCE, FORWARD), pl.Int64()),
    }
)
_SENT: Final = pl.Schema({"link": pl.Int64(), "thread": pl.Int64(), "host_ns": pl.Int64()})
_ARRIVED: Final = pl.Schema(dict.fromkeys(("link", "start_ns", "process", "stream"), pl.Int64()))


class _Args(Struct, gc=False):
    shapes: str | None = field(default=None, name="Input Dims")
    dtypes: str | None = field(default=None, name="Input type")
    stack: str | None = field(default=None, name="Call stack")
    modules: str | None = field(default=None, name=MODULES)
    flops: int | str = 0
    sequence: int = field(default=NO_SEQUENCE, name=SEQUENCE)
    forward: int = field(default=0, name=FORWARD)
    name: Any = None
    labels: Any = None
    domain: Any = None
    emulated: Any = None
    connection: int = field(default=NO_CONNECTION, name="connection_id")
    caller: Any = field(default=None, name="Thread Id")


_NO_ARGS: Final = _Args()


class _Event(Struct, gc=False):
    name: str = ""
    ph: str = ""
    cat: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: str | float | None = None
    dur: str | float | None = None
    id: int | str = 0
    args: _Args | None = None


class TraceView(NamedTuple):
    """What a timeline tells, row by row as it came."""

    operators: pl.DataFrame
    """Columns of the table `operators`, and those of torch_npu's own."""
    frames: pl.DataFrame
    """thread, start_ns and duration_ns of Python's functions."""
    stacks: pl.DataFrame
    marks: list[Marker]
    sent: dict[str, pl.DataFrame]
    """link, thread and host_ns of what launched, by kind: `OPERATOR` or `CALL`. A link is a number
    of ours; CANN uses one again when its own numbers wrap around."""
    arrived: dict[str, pl.DataFrame]
    """What was launched, by kind: link, start_ns, process, stream, device, communicates. The link
    of a `TASK` is the driver's number."""
    event_counts: dict[str, EventCounts]
    notes: list[str]


def read(path: Path) -> TraceView:
    """Read a timeline. Raises CaptureError if nothing of it can be read."""
    trace = _Trace()
    notes: list[str] = []
    for events in _chunks(path, notes):
        trace.add(events)
    return trace.timeline(notes, path.name)


def nothing() -> TraceView:
    """Return what an absent timeline tells."""
    return _Trace().timeline([], "")


def marks(path: Path) -> pl.DataFrame:
    """Return the marks and ranges of mstx: they have a domain."""
    found = [
        event
        for events in _chunks(path, [])
        for event in events
        if event.args is not None and event.args.domain is not None
    ]
    columns = {
        "name": [event.name for event in found],
        "domain": [str(event.args.domain) for event in found if event.args is not None],
        "start_ns": _times([event.ts for event in found]),
        "duration_ns": _times([event.dur for event in found]).fill_null(0),
    }
    marks = pl.DataFrame(columns, schema_overrides=NO_MARKS.schema)
    return marks.drop_nulls("start_ns").sort("start_ns", maintain_order=True)


def emulated(path: Path) -> bool:
    """Tell whether the emulator made a timeline: it says so in an event of its own."""
    try:
        return any(
            event.args is not None and event.args.emulated is True
            for events in _chunks(path, [])
            for event in events
        )
    except CaptureError:
        return False


def _chunks(path: Path, notes: list[str]) -> Iterator[list[_Event]]:
    try:
        with path.open("rb") as file:
            events = EventFile(file, path.name, _Event)
            yield from events.chunks()
            notes += events.notes
    except OSError as error:
        raise CaptureError(f"{path.name}: {error}") from error


def _times(us: list[str | float | None]) -> pl.Series:
    """Return whole nanoseconds, null for what is no number."""
    try:
        return nanoseconds(pl.Series(us, dtype=pl.String))
    except TypeError:
        pass
    try:
        return whole(pl.Series(us, dtype=pl.Float64), _US)
    except TypeError:
        texts = pl.Series([None if each is None else str(each) for each in us], dtype=pl.String)
        return nanoseconds(texts)


def _numbers(values: Sequence[int | str]) -> pl.Series:
    try:
        return pl.Series(values, dtype=pl.Int64)
    except (TypeError, OverflowError):
        texts = pl.Series([str(each) for each in values], dtype=pl.String)
        return texts.cast(pl.Int64, strict=False)


class _Trace:
    """The events so far, as numbers: a frame for each chunk and kind."""

    def __init__(self) -> None:
        self._names, self._shapes, self._dtypes, self._stacks, self._modules, self._links = (
            Codes() for _ in range(6)
        )
        self._operators: list[pl.DataFrame] = []
        self._frames: list[pl.DataFrame] = []
        self._sent: dict[str, list[pl.DataFrame]] = {OPERATOR: [], CALL: []}
        self._arrived: dict[str, list[pl.DataFrame]] = {OPERATOR: [], CALL: [], TASK: []}
        self._processes: dict[object, str] = {}
        self._labels: dict[object, str] = {}
        self._seen = Counter[str]()
        self._bad = self._calls = 0

    def add(self, events: list[_Event]) -> None:
        groups: dict[str, list[_Event]] = defaultdict(list)
        for event in events:
            groups[event.cat or event.ph].append(event)
        readers = {
            "cpu_op": self._add_operators,
            "python_function": self._add_frames,
            OPERATOR: self._add_flows,
            CALL: self._add_flows,
            "X": self._add_tasks,
            "M": self._add_processes,
        }
        for kind, group in groups.items():
            self._seen[kind] += len(group)
            if (reader := readers.get(kind)) is not None:
                reader(group)

    def _whole(self, columns: Mapping[str, pl.Series]) -> pl.DataFrame:
        """Leave out, and count, the events that have no number where one belongs."""
        found = pl.DataFrame(columns)
        if any(column.has_nulls() for column in columns.values()):
            known = found.drop_nulls()
            self._bad += found.height - known.height
            return known
        return found

    def _add_operators(self, events: list[_Event]) -> None:
        args = [event.args or _NO_ARGS for event in events]
        columns = _ranges(events) | {
            "name": self._names.of([event.name for event in events]),
            "shapes": self._shapes.of([each.shapes for each in args]),
            "dtypes": self._dtypes.of([each.dtypes for each in args]),
            "stack": self._stacks.of([each.stack for each in args]),
            "modules": self._modules.of([each.modules for each in args]),
            "flops": _numbers([each.flops for each in args]),
            SEQUENCE: _numbers([each.sequence for each in args]),
            FORWARD: _numbers([each.forward for each in args]),
        }
        self._operators.append(self._whole(columns))

    def _add_frames(self, events: list[_Event]) -> None:
        self._frames.append(self._whole(_ranges(events)))

    def _add_flows(self, events: list[_Event]) -> None:
        kind = events[0].cat
        begun = [event for event in events if event.ph == "s"]
        ended = [event for event in events if event.ph == "f"]
        sent = {
            "link": self._links.of([event.id for event in begun]).cast(pl.Int64),
            "thread": _numbers([event.tid for event in begun]),
            "host_ns": _times([event.ts for event in begun]),
        }
        self._sent[kind].append(self._whole(sent))
        links = self._links.of([event.id for event in ended])
        self._arrived[kind].append(self._whole(_arrivals(links, ended)))

    def _add_tasks(self, events: list[_Event]) -> None:
        tasks, links = [], []
        for event in events:
            args = event.args or _NO_ARGS
            self._calls += args.caller is not None
            if args.connection != NO_CONNECTION and args.caller is None:
                tasks.append(event)
                links.append(args.connection)
        self._arrived[TASK].append(self._whole(_arrivals(_numbers(links), tasks)))

    def _add_processes(self, events: list[_Event]) -> None:
        for event in events:
            args = event.args or _NO_ARGS
            if event.name == "process_name":
                self._processes[event.pid] = str(args.name)
            elif event.name == "process_labels":
                self._labels[event.pid] = str(args.labels)

    def timeline(self, notes: list[str], name: str) -> TraceView:
        if self._bad:
            notes.append(f"{name}: {self._bad} events without a number where one belongs")
        found, names = _joined(self._operators, _OPERATORS), self._names.texts()
        marking = pl.Series([is_mark(each) for each in names], dtype=pl.Boolean)
        marked = marking.gather(found["name"])
        chosen = found.filter(marked)
        marks = chosen.select(
            "start_ns",
            end_ns=pl.col("start_ns") + pl.col("duration_ns"),
            name=names.gather(chosen["name"]),
        )
        operators, stacks_ = self._of_operators(found.filter(~marked))
        return TraceView(
            operators=operators,
            frames=_joined(self._frames, _RANGE),
            stacks=stacks_,
            marks=[Marker(*row) for row in marks.rows()],
            sent={kind: _joined(each, _SENT) for kind, each in self._sent.items()},
            arrived={
                kind: self._devices(_joined(each, _ARRIVED)) for kind, each in self._arrived.items()
            },
            event_counts=self._coverage(operators.height, marks.height),
            notes=notes,
        )

    def _of_operators(self, found: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        ids, table = stacks.identified(map(call_stack, self._stacks))
        shapes_, dtypes = self._shapes.texts(), self._dtypes.texts()
        modules = self._modules.texts()
        operators = found.select(
            "thread",
            "start_ns",
            "duration_ns",
            name=self._names.texts().gather(found["name"]),
            input_shapes=parsed(shapes_, argument_shapes, SHAPES).gather(found["shapes"]),
            input_dtypes=parsed(dtypes, argument_words, WORDS).gather(found["dtypes"]),
            flops=_unless(found["flops"], 0),
            stack_id=pl.Series(ids, dtype=pl.Int64).gather(found["stack"]),
            **{SEQUENCE: _unless(found[SEQUENCE], NO_SEQUENCE)},
            **{FORWARD: _unless(found[FORWARD], 0)},
        )
        if modules.drop_nulls().len():
            column = modules.gather(found["modules"]).alias(MODULES)
            operators = operators.with_columns(column)
        used = pl.col("stack_id").is_in(operators["stack_id"].drop_nulls().unique().implode())
        return operators, table.filter(used)

    def _devices(self, found: pl.DataFrame) -> pl.DataFrame:
        processes = found["process"].unique()
        known = pl.DataFrame(
            {
                "process": processes,
                "device": pl.Series(map(self._device, processes), dtype=pl.Int32),
                "communicates": pl.Series(
                    [self._processes.get(each) not in _HARDWARE for each in processes],
                    dtype=pl.Boolean,
                ),
            }
        )
        return found.join(known, on="process", how="left", maintain_order="left")

    def _device(self, process: int) -> int:
        """Return the device of a process: its label says so, or the number that CANN made up."""
        label = _LABEL.fullmatch(self._labels.get(process, ""))
        return int(label[1]) if label else process & _DEVICE_BITS

    def _coverage(self, rows: int, marks: int) -> dict[str, EventCounts]:
        event_counts = {
            _UNCATEGORISED.get(kind, kind): EventCounts(seen=seen, rows=0, marks=0, hidden=0)
            for kind, seen in self._seen.items()
        }
        if seen := self._seen["cpu_op"]:
            event_counts["cpu_op"] = EventCounts(seen=seen, rows=rows, marks=marks, hidden=0)
        if self._calls:
            others = self._seen["X"] - self._calls
            event_counts[_DEVICE] = EventCounts(seen=others, rows=0, marks=0, hidden=0)
            event_counts[CALLS] = EventCounts(seen=self._calls, rows=0, marks=0, hidden=0)
        return event_counts


_DEVICE: Final = "device"
_UNCATEGORISED: Final = {"X": _DEVICE, "M": "labels", "C": "counter samples"}
"""What events without a category are, by their phase."""


def _ranges(events: list[_Event]) -> dict[str, pl.Series]:
    return {
        "thread": _numbers([event.tid for event in events]),
        "start_ns": _times([event.ts for event in events]),
        "duration_ns": _times([event.dur for event in events]),
    }


def _arrivals(links: pl.Series, events: list[_Event]) -> dict[str, pl.Series]:
    return {
        "link": links.cast(pl.Int64),
        "start_ns": _times([event.ts for event in events]),
        "process": _numbers([event.pid for event in events]),
        "stream": _numbers([event.tid for event in events]),
    }


def _joined(parts: list[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    return pl.concat([schema.to_frame(), *parts])


def _unless(values: pl.Series, none: int) -> pl.Series:
    return values.set(values == none, None)
