"""torch.profiler's events become tables, in one pass. Runs in the child that was profiled.

torch's own way to read them (`prof.events()`, `key_averages()`) makes an object of 50 fields per
event and walks them several times. Here each event is visited once, only what its kind can have
is read, and columns are built from their few distinct values.

What is a row, and what self time means, is torch's own: what torch leaves out of its averages is
left out, and events nest as `EventList._populate_cpu_children` nests them (Python frames and the
driver's calls are children too, where they were recorded), so that the sums per name equal
torch's to the nanosecond. Three differences, on purpose:

- The marks of steps and stages are no rows, and self times are what they were without them.
- torch merges an only child into a parent of the same name (`_remove_dup_nodes`); here both
  stay, as they ran. Their self times add up to the same, their durations and counts do not.
- The stack of a backward operator is its own; torch shows that of its forward operator.
"""

from __future__ import annotations

import marshal
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from operator import ge
from typing import Any, Final, NamedTuple, TypeVar

import polars as pl
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import MEMORY_EVENT_NAME, _filter_name

from harness import tables
from harness.devices.allocations import Allocation, allocations
from harness.devices.kineto import Event, Result
from harness.tables.event_counts import EventCounts
from harness.tables.intervals import StepLookup
from harness.tables.markers import STAGE_MARK, STEP_MARK, HostRange
from harness.tables.stacks import kept, stack_id
from harness.tables.tensor_lists import TENSOR_LIST, flat_dtypes, flat_shapes, lengths

_TORCH_MARK: Final = "ProfilerStep#"
SEQUENCE: Final = "Sequence number"
FORWARD: Final = "Fwd thread id"
"""Columns of operators, as torch names them in its trace."""

_KERNEL: Final = (
    *("name", "type", "device", "stream", "start_ns", "duration_ns"),
    *("link", "correlation"),
)
_OPERATOR: Final = "cpu_op"
_ANNOTATION: Final = "user_annotation"
_NOT_KERNELS: Final = frozenset({"cuda_sync", "gpu_user_annotation", "overhead"})
_LAUNCHES: Final = ("_driver", "_runtime")
_NONE: Final = -1
_NULL: Final = 0  # where null stands among distinct values
_PLAIN: Final = 2  # the last version of marshal that writes equal lists as equal bytes

T = TypeVar("T")


class Converted(NamedTuple):
    """The tables of one profile, and the account of its events."""

    frames: dict[str, pl.DataFrame]
    """operators, kernels, memory and stacks, with the columns of `tables.SCHEMAS`."""
    event_counts: dict[str, EventCounts]
    """By activity type, in order of appearance."""


def tables_of(  # noqa: PLR0913 (keywords, each a choice of its own)
    result: Result,
    *,
    rank: int,
    first_id: int,
    memory: bool,
    stacks: bool = False,
    flops: bool = True,
    links: bool = False,
    host_ranges: Sequence[HostRange] = (),
) -> Converted:
    """Turn a profile into tables: ``prof.profiler.kineto_results`` once `prof` has stopped.

    Args:
        result: The profile. It is only read.
        rank: Goes into every row.
        first_id: The `id` of the first operator, counted on from there. The number of operators
            in the cycles before keeps ids unique in a run.
        memory: Make rows of allocations. Walks torch's event tree: about 2 us per event.
        stacks: Ask operators for their stacks: about 5 us per operator. They have some only
            under ``_ExperimentalConfig(verbose=True)``.
        flops: Ask operators for their flops: about 0.4 us per operator. They have some only
            under ``profile(with_flops=True)``.
        links: Ask operators which function of backward belongs to which operator of forward: about
            0.2 us per operator. Adds the columns ``Sequence number`` and ``Fwd thread id``.
        host_ranges: Steps and stages in any order; read only if the profile holds no mark of a
            step, as when the activity of the host was not recorded.

    An operator belongs to the step and to the innermost stage that hold its start, whatever its
    thread. A kernel belongs to those of the operator that launched it, else to those that hold
    the start of the driver's call that did, and to none where neither is known.
    """
    events = result.events()
    starts = [event.start_ns() for event in events]
    if any(map(ge, starts, islice(starts, 1, None))):
        # torch gives them by start, so this is about those that start together: outer first.
        events = sorted(events, key=lambda event: (event.start_ns(), -event.end_ns()))
        starts.sort()
    reader = _Reader(memory=memory, stacks=stacks, flops=flops, links=links)
    reader.read(events, starts)
    steps, stages = reader.steps, reader.stages
    if not steps:
        steps = [(r.start_ns, r.end_ns, r.step) for r in host_ranges]
        stages = [*stages, *((r.start_ns, r.end_ns, r.stage) for r in host_ranges if r.stage)]
    run = _Run(rank, first_id, StepLookup(steps, pl.Int64()), StepLookup(stages, pl.String()))
    frames = {
        "operators": reader.operators(run),
        "kernels": reader.kernels(run),
        "memory": reader.allocations(run, allocations(result) if memory else {}),
        "stacks": reader.stacks(),
    }
    return Converted(frames, reader.event_counts())


class _Run(NamedTuple):
    """What places the rows of a part in its run."""

    rank: int
    first_id: int
    steps: StepLookup
    stages: StepLookup

    def columns(self, host_starts: pl.Series) -> dict[str, object]:
        return {
            "step": self.steps.at(host_starts),
            "stage": self.stages.at(host_starts),
            "rank": pl.repeat(self.rank, len(host_starts), dtype=pl.Int32, eager=True),
        }

    def ids(self, rows: Iterable[int]) -> list[int | None]:
        return [None if row == _NONE else self.first_id + row for row in rows]


class _Distinct(dict[T | None, int]):
    """Numbers for values, so that a column is built from the few values, not the many rows."""

    def __init__(self) -> None:
        super().__init__({None: _NULL})

    def __missing__(self, value: T | None) -> int:
        number = self[value] = len(self)
        return number


class _Names(dict[str, int]):
    """Numbers for the names of operators; none for those that torch leaves out."""

    def __missing__(self, name: str) -> int:
        ignored = _filter_name(name)  # type: ignore[no-untyped-call]
        number = self[name] = _NONE if ignored else len(self)
        return number


def _ints(values: Sequence[int]) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64)


def _gather(values: Sequence[object], numbers: Sequence[int], dtype: pl.DataType) -> pl.Series:
    return pl.Series(values, dtype=dtype).gather(_ints(numbers))


class _Reader:
    """One pass over the events: what each contains, and which events lie within it."""

    def __init__(self, *, memory: bool, stacks: bool, flops: bool, links: bool) -> None:
        self._want_memory, self._want_stacks, self._want_flops = memory, stacks, flops
        self._want_links = links
        self._seen, self._made, self._marks, self._hidden = (Counter[str]() for _ in range(4))
        self.steps: list[tuple[int, int, int | str]] = []
        self.stages: list[tuple[int, int, int | str]] = []
        # What is open on each thread, inner last: its end, its row, the row of the innermost
        # operator there.
        self._open: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self._names = _Names()
        self._words = _Distinct[str]()  # of kernels: their names and types
        self._shapes: list[Sequence[Sequence[int]] | None] = [None]
        self._shape_of = {marshal.dumps([], _PLAIN): _NULL}
        self._dtypes = _Distinct[tuple[str | None, ...]]()
        self._stacks = _Distinct[tuple[str, ...]]()
        # By row. Lists take an eighth less of the whole time than arrays.
        self._thread, self._start, self._duration, self._self = (list[int]() for _ in range(4))
        self._name, self._shape, self._dtype = (list[int]() for _ in range(3))
        self._flops, self._stack = (list[int]() for _ in range(2))
        self._asynchronous: list[int] = []
        self._rows: list[Event] = []
        # By torch's correlation id, which is read when needed: for `_linked` rows so far.
        self._row_of: dict[int, int] = {}
        self._linked = 0
        self._launched_at: dict[int, int] = {}  # by the driver's correlation id
        self._kernel = {column: array("q") for column in _KERNEL}
        self._memory: list[tuple[int, int]] = []

    def read(self, events: Sequence[Event], starts: Sequence[int]) -> None:  # noqa: C901, PLR0912, PLR0915
        """Visit `events`, which begin at `starts`, in order.

        Nearly all of them are operators, so these are read here, with local names for speed, and
        counted apart. Splitting the loop would cost a call for each event.
        """
        readers: dict[str, Callable[[Event, str, int], bool]] = {
            _ANNOTATION: self._annotation,
            "python_function": self._nested,
            "cpu_instant_event": self._instant,
        }
        seen, hidden, nest, other = self._seen, self._hidden, self._nest, self._other
        rows, names, dtypes_of = self._rows, self._names, self._dtypes
        distinct_shapes, shape_of, key_of = self._shapes, self._shape_of, marshal.dumps
        name_at, thread_at, start_at = self._name, self._thread, self._start
        duration_at, self_at = self._duration, self._self
        shape_at, dtype_at = self._shape, self._dtype
        flops_too, stacks_too = self._want_flops, self._want_stacks
        lists: dict[int, list[int | None]] = {}  # by the number of the shapes
        operators = 0
        for event, start in zip(events, starts, strict=True):
            kind = event.activity_type()
            if kind == _OPERATOR:
                operators += 1
            else:
                if operators:
                    seen.setdefault(_OPERATOR, 0)  # keeps the order of appearance
                seen[kind] += 1
                if not readers.get(kind, other)(event, kind, start):
                    continue
            name = names[event.name()]
            if name == _NONE or event.is_hidden_event():
                hidden[kind] += 1
                continue
            row = len(rows)
            thread, end = event.start_thread_id(), event.end_ns()
            duration = end - start
            rows.append(event)
            name_at.append(name)
            thread_at.append(thread)
            start_at.append(start)
            duration_at.append(duration)
            self_at.append(duration)
            shapes: Any = event.structured_input_shapes()
            key = key_of(shapes, _PLAIN)
            number = shape_of.get(key)
            if number is None:
                number = shape_of[key] = len(distinct_shapes)
                counts = lengths(shapes)
                if counts is not None:
                    lists[number] = counts
                    shapes = flat_shapes(shapes, counts)
                distinct_shapes.append(shapes)
            shape_at.append(number)
            if number in lists:
                dtype_at.append(dtypes_of[tuple(flat_dtypes(event.dtypes(), lists[number]))])
            else:
                dtype_at.append(dtypes_of[tuple(event.dtypes())] if number else _NULL)
            if flops_too:
                self._flops.append(event.flops())
            if stacks_too:
                self._stack.append(self._stacks[tuple(event.stack()) or None])
            if event.is_async() or event.end_thread_id() != thread:
                self._asynchronous.append(row)
            else:
                nest(thread, start, end, row)
        if operators:
            seen[_OPERATOR] = operators
        for kind in (_OPERATOR, _ANNOTATION):
            self._made[kind] = seen[kind] - self._marks[kind] - hidden[kind]

    def _annotation(self, event: Event, kind: str, start: int) -> bool:
        """Tell whether it is a row, which marks are not; as are no events of the other kinds."""
        name = event.name()
        step, stage = name.removeprefix(STEP_MARK), name.removeprefix(STAGE_MARK)
        if step != name and step.isdecimal():
            self.steps.append((start, event.end_ns(), int(step)))
        elif stage != name:
            self.stages.append((start, event.end_ns(), stage))
        elif not name.startswith(_TORCH_MARK):
            return True
        self._marks[kind] += 1
        return False

    def _nest(self, thread: int, start: int, end: int, row: int) -> None:
        """Open an event within those of its thread; `row` is `_NONE` for what is no row."""
        frames = self._open[thread]
        innermost = row
        while frames:
            outer_end, outer_row, outer_operator = frames[-1]
            if start < outer_end and end <= outer_end:
                if outer_row != _NONE:
                    self._self[outer_row] -= end - start
                if row == _NONE:
                    innermost = outer_operator
                break
            frames.pop()
        frames.append((end, row, innermost))

    def _nested(self, event: Event, kind: str, start: int) -> bool:
        thread = event.start_thread_id()
        if event.is_hidden_event():
            self._hidden[kind] += 1
        elif not event.is_async() and event.end_thread_id() == thread:
            self._nest(thread, start, event.end_ns(), _NONE)
        return False

    def _instant(self, event: Event, kind: str, start: int) -> bool:
        if not self._want_memory or event.name() != MEMORY_EVENT_NAME:
            return False
        frames = self._open[event.start_thread_id()]
        while frames and frames[-1][0] < start:
            frames.pop()
        self._memory.append((start, frames[-1][2] if frames else _NONE))
        self._made[kind] += 1
        return False

    def _other(self, event: Event, kind: str, start: int) -> bool:
        if event.device_type() != DeviceType.CPU:
            if kind not in _NOT_KERNELS:
                self._launch(event, kind, start)
            return False
        if kind.endswith(_LAUNCHES):
            self._launched_at[event.correlation_id()] = start
        row = self._launcher(event.linked_correlation_id())
        if row == _NONE:
            self._nested(event, kind, start)
        else:  # As in torch, the call is on the thread of its operator, whatever it says.
            self._nest(self._thread[row], start, event.end_ns(), _NONE)
        return False

    def _launch(self, event: Event, kind: str, start: int) -> None:
        self._made[kind] += 1
        values = (
            self._words[event.name()],
            self._words[kind],
            event.device_index(),
            event.device_resource_id(),
            start,
            event.end_ns() - start,
            event.linked_correlation_id(),
            event.correlation_id(),
        )
        for column, value in zip(self._kernel.values(), values, strict=True):
            column.append(value)

    def operators(self, run: _Run) -> pl.DataFrame:
        start = _ints(self._start)
        on_device = Counter[int]()
        for link, duration in zip(self._kernel["link"], self._kernel["duration_ns"], strict=True):
            on_device[self._launcher(link)] += duration
        del on_device[_NONE]
        device = pl.repeat(None, len(start), dtype=pl.Int64, eager=True)
        columns = run.columns(start) | {
            "id": pl.int_range(run.first_id, run.first_id + len(start), eager=True),
            "thread": _ints(self._thread),
            "name": _gather(list(self._names), self._name, pl.String()),
            **self._arguments(self._shape, self._dtype),
            "start_ns": start,
            "duration_ns": _ints(self._duration),
            "self_ns": _ints(self._self).scatter(self._asynchronous, None),
            "device_ns": device.scatter(list(on_device), list(on_device.values())),
        }
        if self._want_flops:
            flops = _ints(self._flops)
            columns["flops"] = flops.set(flops == 0, None)
        if self._want_stacks:
            ids = [stack and stack[0] for stack in self._identified()]
            columns["stack_id"] = _gather(ids, self._stack, pl.Int64())
        if self._want_links:
            numbers = _ints([event.sequence_nr() for event in self._rows])
            threads = _ints([event.fwd_thread_id() for event in self._rows])
            columns[SEQUENCE] = numbers.set(numbers < 0, None)
            columns[FORWARD] = threads.set(threads == 0, None)
        return tables.frame("operators", columns)

    def kernels(self, run: _Run) -> pl.DataFrame:
        columns: dict[str, Any] = {name: _ints(column) for name, column in self._kernel.items()}
        rows = [self._launcher(link) for link in columns.pop("link")]
        launched = [
            self._launched_at.get(number, _NONE) if row == _NONE else self._start[row]
            for row, number in zip(rows, self._kernel["correlation"], strict=True)
        ]
        columns |= run.columns(_ints(launched))
        columns |= self._arguments(
            [_NULL if row == _NONE else self._shape[row] for row in rows],
            [_NULL if row == _NONE else self._dtype[row] for row in rows],
        )
        columns |= {
            "name": _gather(list(self._words), self._kernel["name"], pl.String()),
            "type": _gather(list(self._words), self._kernel["type"], pl.String()),
            "operator": run.ids(rows),
        }
        return tables.frame("kernels", columns)

    def allocations(self, run: _Run, by_time: Mapping[int, deque[Allocation]]) -> pl.DataFrame:
        unknown = (None,) * 5
        rows = [of.popleft() if (of := by_time.get(time)) else unknown for time, _ in self._memory]
        columns: dict[str, object] = {
            "rank": pl.repeat(run.rank, len(rows), dtype=pl.Int32, eager=True),
            "time_ns": [time for time, _ in self._memory],
            "operator": run.ids(row for _, row in self._memory),
        }
        names = ("device", "kind", "bytes", "total_allocated", "total_reserved")
        for place, name in enumerate(names):
            columns[name] = [allocation[place] for allocation in rows]
        return tables.frame("memory", columns)

    def stacks(self) -> pl.DataFrame:
        stacks = dict(stack for stack in self._identified() if stack)
        return tables.frame("stacks", {"stack_id": list(stacks), "frames": list(stacks.values())})

    def event_counts(self) -> dict[str, EventCounts]:
        return {
            kind: EventCounts(
                seen=seen,
                rows=self._made[kind],
                marks=self._marks[kind],
                hidden=self._hidden[kind],
            )
            for kind, seen in self._seen.items()
        }

    def _arguments(self, shapes: Sequence[int], dtypes: Sequence[int]) -> dict[str, pl.Series]:
        types = tables.SCHEMAS["operators"]
        # torch gives the shapes of all lists here: one without any is empty.
        empty = {"": None, TENSOR_LIST: f"{TENSOR_LIST}[0]"}
        words = [of and [empty.get(word or "", word) for word in of] for of in self._dtypes]
        return {
            "input_shapes": _gather(self._shapes, shapes, types["input_shapes"]),
            "input_dtypes": _gather(words, dtypes, types["input_dtypes"]),
        }

    def _launcher(self, link: int) -> int:
        if not link:
            return _NONE
        for row in range(self._linked, len(self._rows)):
            self._row_of[self._rows[row].correlation_id()] = row
        self._linked = len(self._rows)
        return self._row_of.get(link, _NONE)

    def _identified(self) -> list[tuple[int, list[str]] | None]:
        """Return id and frames of the distinct stacks, null for none."""
        stacks: list[tuple[int, list[str]] | None] = []
        for stack in self._stacks:
            frames = [frame for frame in stack or () if kept(frame)]
            stacks.append((stack_id(frames), frames) if frames else None)
        return stacks
