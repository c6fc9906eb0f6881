"""trace_view.json, torch_npu's timeline: what the host did, and which kernels it launched."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
from msgspec import Struct, field

from harness.readers import stacks
from harness.readers.base import CaptureError
from harness.readers.events_json import EventFile
from harness.readers.host import Mark, is_mark
from harness.readers.shapes import SHAPES, WORDS, argument_shapes, argument_words, call_stack, parsed
from harness.records import Coverage

NO_MARKS: Final = pl.DataFrame(
    schema={"name": pl.String, "domain": pl.String, "start_ns": pl.Int64, "duration_ns": pl.Int64}
)
OPERATOR: Final = "async_npu"
"""The kind of the flow from an operator to its kernel."""
CALL: Final = "HostToDevice"
"""The kind of the flow from CANN's call to its kernel."""
TASK: Final = "task"
"""The kind of what ran on the device."""
SEQUENCE: Final = "Sequence number"
FORWARD: Final = "Fwd thread id"
NO_SEQUENCE: Final = -1
_HARDWARE: Final = frozenset({"Ascend Hardware", None})
_DEVICE_BITS: Final = 31  # the last of the numbers that CANN makes up for processes
_US: Final = 1000
_DECIMALS: Final = 3


class _Args(Struct, gc=False):
    shapes: str | None = field(default=None, name="Input Dims")
    dtypes: str | None = field(default=None, name="Input type")
    stack: str | None = field(default=None, name="Call stack")
    modules: str | None = field(default=None, name="Module Hierarchy")
    flops: int | str | None = None
    sequence: int = field(default=NO_SEQUENCE, name=SEQUENCE)
    forward: int = field(default=0, name=FORWARD)
    name: Any = None
    labels: Any = None
    domain: Any = None
    emulated: Any = None
    connection: int | None = field(default=None, name="connection_id")
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


class Timeline(NamedTuple):
    """What a timeline tells, row by row as it came."""

    operators: pl.DataFrame
    """Columns of the table `operators`, and those of torch_npu's own."""
    frames: pl.DataFrame
    """thread, start_ns and duration_ns of Python's functions."""
    stacks: pl.DataFrame
    marks: list[Mark]
    sent: dict[str, pl.DataFrame]
    """link, thread and host_ns of what launched, by kind: `OPERATOR` or `CALL`. A link is a number
    of ours; CANN uses one again when its own numbers wrap around."""
    arrived: dict[str, pl.DataFrame]
    """What was launched, by kind: link, start_ns, process, stream, device, communicates. The link
    of a `TASK` is the driver's number."""
    coverage: dict[str, Coverage]
    notes: list[str]


def read(path: Path) -> Timeline:
    """Read a timeline. Raises CaptureError if nothing of it can be read."""
    trace = _Trace()
    notes: list[str] = []
    for events in _chunks(path, notes):
        trace.add(events)
    return trace.timeline(notes, path.name)


def nothing() -> Timeline:
    """Return what an absent timeline tells."""
    return _Trace().timeline([], "")


def marks(path: Path) -> pl.DataFrame:
    """Return the marks and ranges of mstx: they have a domain."""
    found = [
        (event.name, str(event.args.domain), _ns(event.ts), _ns(event.dur or 0))
        for events in _chunks(path, [])
        for event in events
        if event.args is not None and event.args.domain is not None and event.ts is not None
    ]
    marks = pl.DataFrame(found, schema=NO_MARKS.schema, orient="row")
    return marks.sort("start_ns", maintain_order=True)


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


def _ns(us: str | float | None) -> int:
    """Return whole nanoseconds. Raises ValueError for what is no number."""
    if isinstance(us, str):
        if us[-4:-3] == ".":
            return int(us[:-4] + us[-3:])
        head, _, tail = us.strip().partition(".")
        return int(head + tail[:_DECIMALS].ljust(_DECIMALS, "0"))
    if us is None:
        raise ValueError("no time")
    # Exact for a duration: what is whole after this product is off by less than a half.
    return round(us * _US)


class _Codes(dict[Any, int]):
    """Numbers for values, so that each distinct one is kept and parsed once."""

    def __missing__(self, value: object) -> int:
        number = self[value] = len(self)
        return number

    def texts(self) -> pl.Series:
        return pl.Series(list(self), dtype=pl.String)


class _Columns:
    """Rows of whole numbers."""

    def __init__(self, *names: str) -> None:
        self._columns = {name: array("q") for name in names}

    def add(self, *values: int) -> None:
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(
            {name: pl.Series(each, dtype=pl.Int64) for name, each in self._columns.items()}
        )


def _at(numbers: Sequence[int], values: pl.Series) -> pl.Series:
    return values.gather(pl.Series(numbers, dtype=pl.Int64))


class _Trace:
    """The events so far, as numbers."""

    def __init__(self) -> None:
        self._names, self._shapes, self._dtypes, self._stacks, self._modules = (
            _Codes() for _ in range(5)
        )
        self._name, self._shape, self._dtype, self._stack, self._module = (
            array("l") for _ in range(5)
        )
        self._thread, self._start, self._duration = (array("q") for _ in range(3))
        self._sequence, self._forward, self._flops = (array("q") for _ in range(3))
        self._frames = _Columns("thread", "start_ns", "duration_ns")
        self._marks: list[Mark] = []
        self._sent = {kind: _Columns("link", "thread", "host_ns") for kind in (OPERATOR, CALL)}
        self._arrived = {
            kind: _Columns("link", "start_ns", "process", "stream")
            for kind in (OPERATOR, CALL, TASK)
        }
        self._links = _Codes()
        self._processes: dict[int, str] = {}
        self._labels: dict[int, str] = {}
        self._seen = Counter[str]()
        self._bad = 0

    def add(self, events: list[_Event]) -> None:
        readers = {
            "cpu_op": self._operator,
            "python_function": self._frame,
            OPERATOR: self._flow,
            CALL: self._flow,
            "X": self._task,
            "M": self._process,
        }
        seen = self._seen
        for event in events:
            kind = event.cat or event.ph
            seen[kind] += 1
            if (reader := readers.get(kind)) is not None:
                try:
                    reader(event)
                except ValueError:  # no number where one belongs
                    self._bad += 1

    def _operator(self, event: _Event) -> None:
        thread, start, duration = int(event.tid), _ns(event.ts), _ns(event.dur)
        name = event.name
        number = self._names[name]
        if is_mark(name):
            self._marks.append(Mark(start, start + duration, name))
            return
        args = event.args or _NO_ARGS
        self._flops.append(int(args.flops or 0))
        self._name.append(number)
        self._thread.append(thread)
        self._start.append(start)
        self._duration.append(duration)
        self._shape.append(self._shapes[args.shapes])
        self._dtype.append(self._dtypes[args.dtypes])
        self._stack.append(self._stacks[args.stack])
        self._module.append(self._modules[args.modules])
        self._sequence.append(args.sequence)
        self._forward.append(args.forward)

    def _frame(self, event: _Event) -> None:
        self._frames.add(int(event.tid), _ns(event.ts), _ns(event.dur))

    def _flow(self, event: _Event) -> None:
        link, time, thread = self._links[event.id], _ns(event.ts), int(event.tid)
        if event.ph == "s":
            self._sent[event.cat].add(link, thread, time)
        elif event.ph == "f":
            self._arrived[event.cat].add(link, time, int(event.pid), thread)

    def _task(self, event: _Event) -> None:
        args = event.args or _NO_ARGS
        if args.connection is not None and args.caller is None:
            row = args.connection, _ns(event.ts), int(event.pid), int(event.tid)
            self._arrived[TASK].add(*row)

    def _process(self, event: _Event) -> None:
        args = event.args or _NO_ARGS
        if event.name == "process_name":
            self._processes[int(event.pid)] = str(args.name)
        elif event.name == "process_labels":
            self._labels[int(event.pid)] = str(args.labels)

    def timeline(self, notes: list[str], name: str) -> Timeline:
        if self._bad:
            notes.append(f"{name}: {self._bad} events without a number where one belongs")
        ids, table = stacks.identified(map(call_stack, self._stacks))
        operators = {
            "thread": pl.Series(self._thread, dtype=pl.Int64),
            "name": _at(self._name, self._names.texts()),
            "input_shapes": _at(
                self._shape, parsed(self._shapes.texts(), argument_shapes, SHAPES)
            ),
            "input_dtypes": _at(self._dtype, parsed(self._dtypes.texts(), argument_words, WORDS)),
            "start_ns": pl.Series(self._start, dtype=pl.Int64),
            "duration_ns": pl.Series(self._duration, dtype=pl.Int64),
            "flops": _unless(pl.Series(self._flops, dtype=pl.Int64), 0),
            "stack_id": _at(self._stack, pl.Series(ids, dtype=pl.Int64)),
            SEQUENCE: _unless(pl.Series(self._sequence, dtype=pl.Int64), NO_SEQUENCE),
            FORWARD: _unless(pl.Series(self._forward, dtype=pl.Int64), 0),
        }
        if any(self._modules):
            operators["Module Hierarchy"] = _at(self._module, self._modules.texts())
        return Timeline(
            operators=pl.DataFrame(operators),
            frames=self._frames.frame(),
            stacks=table,
            marks=self._marks,
            sent={kind: each.frame() for kind, each in self._sent.items()},
            arrived={kind: self._devices(each.frame()) for kind, each in self._arrived.items()},
            coverage=self._coverage(),
            notes=notes,
        )

    def _devices(self, found: pl.DataFrame) -> pl.DataFrame:
        processes = pl.Series(found["process"].unique(), dtype=pl.Int64)
        known = pl.DataFrame(
            {
                "process": processes,
                "device": pl.Series(map(self._device, processes), dtype=pl.Int32),
                "communicates": [self._processes.get(each) not in _HARDWARE for each in processes],
            },
            schema_overrides={"communicates": pl.Boolean},
        )
        return found.join(known, on="process", how="left", maintain_order="left")

    def _device(self, process: int) -> int:
        """Return the device of a process: its label says so, or the number that CANN made up."""
        number = self._labels.get(process, "").removeprefix("NPU").strip()
        return int(number) if number.isdecimal() else process & _DEVICE_BITS

    def _coverage(self) -> dict[str, Coverage]:
        rows = {"cpu_op": len(self._start)}
        marks = {"cpu_op": len(self._marks)}
        return {
            kind: Coverage(seen=seen, rows=rows.get(kind, 0), marks=marks.get(kind, 0), hidden=0)
            for kind, seen in self._seen.items()
        }


def _unless(values: pl.Series, none: int) -> pl.Series:
    return values.set(values == none, None)

