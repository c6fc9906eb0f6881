"""The first look at traces: times, threads and steps of all events, as columns of numbers.

An event takes 22 bytes here, whatever its arguments are.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw, Struct

from harness.readers.gzip_stream import opened
from harness.readers.json_stream import EventFile
from harness.tables.markers import STEP_MARK
from harness.view.places import Places
from harness.view.times import nanoseconds

Event = dict[str, Raw]
CHUNK_BYTES: Final = 1 << 20
_EVENTS: Final = "traceEvents"
_BASE: Final = "baseTimeNanoseconds"
_STEP: Final = re.compile(rf'"(?:({re.escape(STEP_MARK)})|ProfilerStep#)(\d{{1,9}})"'.encode())
_ANNOTATED: Final = b'"user_annotation"'
_NONE: Final = Raw(b"null")

BROKEN, TIMELESS, COMPLETE, END, ARROW, OTHER = range(6)
"""Kinds of events: left out; metadata; ranges; begin or end of one; of an arrow; at one time."""
_KINDS: Final = {
    b"M": TIMELESS,
    b"X": COMPLETE,
    b"B": END,
    b"E": END,
    b"s": ARROW,
    b"t": ARROW,
    b"f": ARROW,
}


class TraceFile(Struct, frozen=True):
    """A trace, and where it belongs."""

    path: Path
    rank: int | None = None
    """Null where there is but one."""
    offset_ns: int = 0
    """What its times are moved by, so that clocks of several hosts agree."""


class Step(Struct, frozen=True):
    """The host range of a step."""

    number: int
    start_ns: int
    end_ns: int
    own: bool
    """Whether it is a mark of the harness, and not of a profiler."""


class Survey(Struct, frozen=True, kw_only=True):
    """What was seen: a row for each event of all files, in their order."""

    kinds: npt.NDArray[np.int8]
    threads: npt.NDArray[np.int32]
    """Places in `places.threads`."""
    starts: npt.NDArray[np.int64]
    """Unix ns, where the trace has them; 0 for metadata and what is broken."""
    durations: npt.NDArray[np.int64]
    annotations: npt.NDArray[np.int64]
    """Places of the ranges that a program or a profiler named (record_function), steps too."""
    steps: tuple[Step, ...]
    places: Places
    notes: tuple[str, ...]
    pointlike: int
    """Complete events without a duration."""


def events_of(file: TraceFile, notes: list[str]) -> Iterator[list[Event]]:
    """Yield the events of a trace, each member as it is written, some thousands at a time.

    Raises:
        CaptureError: It cannot be read, or is no list of events.
    """
    with opened(file.path, notes, "writing what is in") as source:
        reader = EventFile(source, file.path.name, Event, CHUNK_BYTES, key=_EVENTS)
        yield from reader.chunks()
        notes += reader.notes


def survey(files: Sequence[TraceFile], label: str = "") -> Survey:
    """Look through all traces.

    Args:
        files: The traces.
        label: What the name of each process begins with.

    Raises:
        CaptureError: One cannot be read, or is no list of events.
    """
    looking = _Looking(Places(label))
    for file in files:
        looking.file(file)
    return looking.done()


class _Looking:
    def __init__(self, places: Places) -> None:
        self._places = places
        self._kinds, self._threads = array("b"), array("i")
        self._starts, self._durations = array("q"), array("q")
        self._annotations = array("q")
        self._steps: list[Step] = []
        self._notes: list[str] = []
        self._pointlike = 0
        self._shifts: list[tuple[int, int]] = []

    def file(self, file: TraceFile) -> None:
        first, steps = len(self._kinds), len(self._steps)
        with opened(file.path, self._notes, "looking through") as source:
            reader = EventFile(source, file.path.name, Event, CHUNK_BYTES, key=_EVENTS)
            for chunk in reader.chunks():
                for event in chunk:
                    self._event(event, file.rank)
            base = reader.beside().get(_BASE, 0)
        self._notes += reader.notes
        shift = file.offset_ns + (base if isinstance(base, int) else 0)
        self._shifts.append((first, shift))
        self._steps[steps:] = [
            msgspec.structs.replace(
                step, start_ns=step.start_ns + shift, end_ns=step.end_ns + shift
            )
            for step in self._steps[steps:]
        ]

    def done(self) -> Survey:
        kinds = np.frombuffer(self._kinds, np.int8) if self._kinds else np.zeros(0, np.int8)
        starts = np.array(self._starts, np.int64)
        for number, (first, shift) in enumerate(self._shifts):
            end = self._shifts[number + 1][0] if number + 1 < len(self._shifts) else len(starts)
            timed = kinds[first:end] > TIMELESS
            starts[first:end][timed] += shift
        return Survey(
            kinds=kinds.copy(),
            threads=np.array(self._threads, np.int32),
            starts=starts,
            durations=np.array(self._durations, np.int64),
            annotations=np.array(self._annotations, np.int64),
            steps=tuple(self._steps),
            places=self._places,
            notes=tuple(self._notes),
            pointlike=self._pointlike,
        )

    def _event(self, event: Event, rank: int | None) -> None:
        kind = _KINDS.get(bytes(event.get("ph", b"")).strip(b'"'), OTHER if "ph" in event else 0)
        pid, tid = bytes(event.get("pid", b'""')), bytes(event.get("tid", b'""'))
        thread = self._places.thread(rank, pid, tid)
        start = duration = 0
        if kind == TIMELESS:
            self._named(event, thread)
        elif kind:
            found = nanoseconds(bytes(event.get("ts", _NONE)))
            length = self._duration(event) if kind == COMPLETE else 0
            if found is None or length is None:
                kind = BROKEN
            else:
                start, duration = found, length
        if kind == COMPLETE and (match := _STEP.fullmatch(event.get("name", b""))):
            self._steps.append(Step(int(match[2]), start, start + duration, bool(match[1])))
        if bytes(event.get("cat", b"")) == _ANNOTATED:
            self._annotations.append(len(self._kinds))
        self._kinds.append(kind)
        self._threads.append(thread)
        self._starts.append(start)
        self._durations.append(duration)

    def _duration(self, event: Event) -> int | None:
        raw = event.get("dur")
        if raw is None or bytes(raw) == b"null":
            self._pointlike += 1
            return 0
        duration = nanoseconds(bytes(raw))
        return None if duration is None or duration < 0 else duration

    def _named(self, event: Event, place: int) -> None:
        name, thread = bytes(event.get("name", b"")), self._places.threads[place]
        args = arguments(event)
        if name == b'"process_name"':
            self._places.processes[thread.process].named = True
        elif name == b'"thread_name"' and isinstance(args.get("name"), str):
            thread.name = args["name"]
        elif name == b'"thread_sort_index"' and isinstance(args.get("sort_index"), int):
            thread.sort_index = args["sort_index"]


def arguments(event: Event) -> dict[str, Any]:
    """Return the arguments of an event; none if they cannot be read."""
    try:
        args = msgspec.json.decode(event.get("args", b"{}"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return args if isinstance(args, dict) else {}
