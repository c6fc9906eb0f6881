"""trace_view.json, torch_npu's timeline: what the host did, and which kernels it launched."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
from msgspec import Struct, field

from harness.readers.ascend.device_events import (
    COMPUTING,
    HARDWARE,
    DeviceEvent,
    DeviceEvents,
    times,
    whole_numbers,
)
from harness.readers.base import CaptureError
from harness.readers.call_tree import Marker, is_mark
from harness.readers.cells import (
    SHAPES,
    WORDS,
    Codes,
    argument_shapes,
    argument_words,
    call_stack,
    parsed,
)
from harness.readers.gzip_stream import opened
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
"""The kind of events on the device."""
CALLS: Final = "CANN"
"""The kind of the host's calls into CANN: events that record their thread."""
SEQUENCE: Final = "Sequence number"
FORWARD: Final = "Fwd thread id"
MODULES: Final = "Module Hierarchy"
NO_SEQUENCE: Final = -1
NO_CONNECTION: Final = 4294967295
"""CANN's number for no connection."""
_HARDWARE: Final = frozenset({HARDWARE, None})
_DEVICE_BITS: Final = 31  # the low bits of a process number that CANN made up
_LABEL: Final = re.compile(r"(?:NPU)? *([0-9]{1,9}) *")

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
    core: Any = field(default=None, name="Task Type")
    task: Any = field(default=None, name="Task Id")


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
    """The events of a timeline, in the order of the file."""

    operators: pl.DataFrame
    """Columns of the table `operators`, and torch_npu's own."""
    frames: pl.DataFrame
    """thread, start_ns and duration_ns of Python functions."""
    stacks: pl.DataFrame
    markers: list[Marker]
    sent: dict[str, pl.DataFrame]
    """link, thread and host_ns of launches, by kind: `OPERATOR` or `CALL`. The harness numbers the
    links; CANN reuses its own numbers when they wrap around."""
    arrived: dict[str, pl.DataFrame]
    """link, start_ns, process, stream, device and communicates of what was launched, by kind. The
    link of a `TASK` is the driver's number."""
    kernels: pl.DataFrame
    """The kernels, with columns of kernel_details.csv; none unless they were asked for."""
    computing: pl.Series
    """The starts of the device's events on a core that computes."""
    event_counts: dict[str, EventCounts]
    notes: list[str]


def read(paths: Sequence[Path], *, kernels: bool = False) -> TraceView:
    """Read a timeline, which may be cut into several files.

    Args:
        paths: The files.
        kernels: Also make rows of the device's events, which no other file of the capture has.

    Raises:
        CaptureError: Nothing in it can be read.
    """
    trace = _Trace(DeviceEvents() if kernels else None)
    notes: list[str] = []
    for path in paths:
        for events in _chunks(path, notes):
            trace.add(events)
    return trace.timeline(notes, paths[0].name)


def nothing() -> TraceView:
    """Return the view of an absent timeline."""
    return _Trace(None).timeline([], "")


def marks(path: Path) -> pl.DataFrame:
    """Return the marks and ranges of mstx: they have a domain."""
    mstx_events = [
        event
        for events in _chunks(path, [])
        for event in events
        if event.args is not None and event.args.domain is not None
    ]
    columns = {
        "name": [event.name for event in mstx_events],
        "domain": [str(event.args.domain) for event in mstx_events if event.args is not None],
        "start_ns": times([event.ts for event in mstx_events]),
        "duration_ns": times([event.dur for event in mstx_events]).fill_null(0),
    }
    marks = pl.DataFrame(columns, schema_overrides=NO_MARKS.schema)
    return marks.drop_nulls("start_ns").sort("start_ns", maintain_order=True)


def emulated(path: Path) -> bool:
    """Tell whether the emulator made a timeline: an event of its own says so."""
    try:
        return any(
            event.args is not None and event.args.emulated is True
            for events in _chunks(path, [])
            for event in events
        )
    except CaptureError:
        return False


def _chunks(path: Path, notes: list[str]) -> Iterator[list[_Event]]:
    with opened(path, notes) as file:
        events = EventFile(file, path.name, _Event, key="traceEvents")
        yield from events.chunks()
        notes += events.notes


class _Trace:
    """The events read so far, as numbers: a frame for each chunk and kind."""

    def __init__(self, device_events: DeviceEvents | None) -> None:
        self._device_events = device_events
        self._names, self._shapes, self._dtypes, self._stacks, self._modules, self._links = (
            Codes() for _ in range(6)
        )
        self._operators: list[pl.DataFrame] = []
        self._frames: list[pl.DataFrame] = []
        self._sent: dict[str, list[pl.DataFrame]] = {OPERATOR: [], CALL: []}
        self._arrived: dict[str, list[pl.DataFrame]] = {OPERATOR: [], CALL: [], TASK: []}
        self._processes: dict[object, str] = {}
        self._labels: dict[object, str] = {}
        self._counts = Counter[str]()
        self._bad = self._calls = 0
        self._computing: list[pl.Series] = []

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
            self._counts[kind] += len(group)
            if (reader := readers.get(kind)) is not None:
                reader(group)

    def _whole(self, columns: Mapping[str, pl.Series]) -> pl.DataFrame:
        """Drop and count the events without a required number."""
        frame = pl.DataFrame(columns)
        if any(column.has_nulls() for column in columns.values()):
            complete = frame.drop_nulls()
            self._bad += frame.height - complete.height
            return complete
        return frame

    def _add_operators(self, events: list[_Event]) -> None:
        args = [event.args or _NO_ARGS for event in events]
        columns = _ranges(events) | {
            "name": self._names.of([event.name for event in events]),
            "shapes": self._shapes.of([arg.shapes for arg in args]),
            "dtypes": self._dtypes.of([arg.dtypes for arg in args]),
            "stack": self._stacks.of([arg.stack for arg in args]),
            "modules": self._modules.of([arg.modules for arg in args]),
            "flops": whole_numbers([arg.flops for arg in args]),
            SEQUENCE: whole_numbers([arg.sequence for arg in args]),
            FORWARD: whole_numbers([arg.forward for arg in args]),
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
            "thread": whole_numbers([event.tid for event in begun]),
            "host_ns": times([event.ts for event in begun]),
        }
        self._sent[kind].append(self._whole(sent))
        links = self._links.of([event.id for event in ended])
        self._arrived[kind].append(self._whole(_arrivals(links, ended)))

    def _add_tasks(self, events: list[_Event]) -> None:
        tasks, links, computing = [], [], []
        for event in events:
            args = event.args or _NO_ARGS
            self._calls += args.caller is not None
            if args.connection != NO_CONNECTION and args.caller is None:
                tasks.append(event)
                links.append(args.connection)
                if args.core in COMPUTING:
                    computing.append(event.ts)
        self._arrived[TASK].append(self._whole(_arrivals(whole_numbers(links), tasks)))
        if self._device_events is not None:
            self._device_events.add(
                DeviceEvent(
                    *(event.name, event.pid, event.tid, event.ts, event.dur),
                    core=event.args.core,
                    task=event.args.task,
                )
                for event in events
                if event.args is not None and event.args.caller is None
            )
        self._computing.append(times(computing))

    def _add_processes(self, events: list[_Event]) -> None:
        for event in events:
            args = event.args or _NO_ARGS
            if event.name == "process_name":
                self._processes[event.pid] = str(args.name)
            elif event.name == "process_labels":
                self._labels[event.pid] = str(args.labels)

    def timeline(self, notes: list[str], file_name: str) -> TraceView:
        if self._bad:
            notes.append(f"{file_name}: {self._bad} events skipped: a required number is missing")
        events, names = _joined(self._operators, _OPERATORS), self._names.texts()
        marking = pl.Series([is_mark(name) for name in names], dtype=pl.Boolean)
        marked = marking.gather(events["name"])
        chosen = events.filter(marked)
        markers = chosen.select(
            "start_ns",
            end_ns=pl.col("start_ns") + pl.col("duration_ns"),
            name=names.gather(chosen["name"]),
        )
        operators, stacks_ = self._of_operators(events.filter(~marked))
        kernels = pl.DataFrame()
        if self._device_events is not None:
            kernels = self._device_events.kernels(self._processes, self._device)
        return TraceView(
            operators=operators,
            frames=_joined(self._frames, _RANGE),
            stacks=stacks_,
            markers=[Marker(*row) for row in markers.rows()],
            sent={kind: _joined(frames, _SENT) for kind, frames in self._sent.items()},
            arrived={
                kind: self._devices(_joined(frames, _ARRIVED))
                for kind, frames in self._arrived.items()
            },
            kernels=kernels,
            computing=pl.concat([pl.Series(dtype=pl.Int64), *self._computing]).drop_nulls(),
            event_counts=self._count(operators.height, markers.height, kernels.height),
            notes=notes,
        )

    def _of_operators(self, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        ids, table = stacks.identified(map(call_stack, self._stacks))
        shapes_, dtypes = self._shapes.texts(), self._dtypes.texts()
        modules = self._modules.texts()
        operators = events.select(
            "thread",
            "start_ns",
            "duration_ns",
            name=self._names.texts().gather(events["name"]),
            input_shapes=parsed(shapes_, argument_shapes, SHAPES).gather(events["shapes"]),
            input_dtypes=parsed(dtypes, argument_words, WORDS).gather(events["dtypes"]),
            flops=_unless(events["flops"], 0),
            stack_id=pl.Series(ids, dtype=pl.Int64).gather(events["stack"]),
            **{SEQUENCE: _unless(events[SEQUENCE], NO_SEQUENCE)},
            **{FORWARD: _unless(events[FORWARD], 0)},
        )
        if modules.drop_nulls().len():
            column = modules.gather(events["modules"]).alias(MODULES)
            operators = operators.with_columns(column)
        used = pl.col("stack_id").is_in(operators["stack_id"].drop_nulls().unique().implode())
        return operators, table.filter(used)

    def _devices(self, arrivals: pl.DataFrame) -> pl.DataFrame:
        processes = arrivals["process"].unique()
        devices = pl.DataFrame(
            {
                "process": processes,
                "device": pl.Series(map(self._device, processes), dtype=pl.Int32),
                "communicates": pl.Series(
                    [self._processes.get(process) not in _HARDWARE for process in processes],
                    dtype=pl.Boolean,
                ),
            }
        )
        return arrivals.join(devices, on="process", how="left", maintain_order="left")

    def _device(self, process: int) -> int:
        """Return the device of a process: from its label, or the number that CANN made up."""
        label = _LABEL.fullmatch(self._labels.get(process, ""))
        return int(label[1]) if label else process & _DEVICE_BITS

    def _count(self, rows: int, marks: int, kernels: int) -> dict[str, EventCounts]:
        event_counts = {
            _UNCATEGORISED.get(kind, kind): EventCounts(seen=count, rows=0, marks=0, hidden=0)
            for kind, count in self._counts.items()
        }
        if count := self._counts["cpu_op"]:
            event_counts["cpu_op"] = EventCounts(seen=count, rows=rows, marks=marks, hidden=0)
        others = self._counts["X"] - self._calls - kernels
        event_counts.pop(_DEVICE, None)
        if others:
            event_counts[_DEVICE] = EventCounts(seen=others, rows=0, marks=0, hidden=0)
        if self._calls:
            event_counts[CALLS] = EventCounts(seen=self._calls, rows=0, marks=0, hidden=0)
        return event_counts


_DEVICE: Final = "device"
_UNCATEGORISED: Final = {"X": _DEVICE, "M": "labels", "C": "counter samples"}
"""The kinds of events without a category, by their phase."""


def _ranges(events: list[_Event]) -> dict[str, pl.Series]:
    return {
        "thread": whole_numbers([event.tid for event in events]),
        "start_ns": times([event.ts for event in events]),
        "duration_ns": times([event.dur for event in events]),
    }


def _arrivals(links: pl.Series, events: list[_Event]) -> dict[str, pl.Series]:
    return {
        "link": links.cast(pl.Int64),
        "start_ns": times([event.ts for event in events]),
        "process": whole_numbers([event.pid for event in events]),
        "stream": whole_numbers([event.tid for event in events]),
    }


def _joined(parts: list[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    return pl.concat([schema.to_frame(), *parts])


def _unless(values: pl.Series, none: int) -> pl.Series:
    return values.set(values == none, None)
