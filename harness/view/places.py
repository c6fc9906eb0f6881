"""Processes, threads and lanes of several traces: the numbers and names that a viewer gets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

_MOST: Final = 1 << 31
_NEW: Final = 5_000_000
"""Numbers from here on are made; Linux's own end at 4,194,304."""


class Process(Struct):
    """A process of a trace."""

    rank: int | None
    own: str
    """What the trace calls it: a number, or a text."""
    number: int
    named: bool = False


class Thread(Struct):
    """A thread or a stream of a process."""

    process: int
    """Its place in `Places.processes`."""
    own: str
    numbers: list[int]
    """One for each lane."""
    name: str = ""
    sort_index: int | None = None
    ends: int | None = None
    """The lane of events that begin and end as two, if they have one of their own."""


class Places:
    """All processes and threads, found again by what their trace calls them."""

    def __init__(self, label: str = "") -> None:
        """Take a text that the name of each process begins with."""
        self.processes: list[Process] = []
        self.threads: list[Thread] = []
        self._label = label
        self._process_of: dict[tuple[int | None, str], int] = {}
        self._thread_of: dict[tuple[int | None, bytes, bytes], int] = {}
        self._by_text: dict[tuple[int, str], int] = {}
        self._taken: set[int] = set()
        self._taken_threads: set[tuple[int, int]] = set()
        self._next = _NEW

    def thread(self, rank: int | None, pid: bytes, tid: bytes) -> int:
        """Return the place of a thread, by the raw JSON of its numbers; a new one at first."""
        key = (rank, pid, tid)
        place = self._thread_of.get(key)
        if place is None:
            place = self._thread_of[key] = self._found(rank, _text(pid), _text(tid))
        return place

    def add_lane(self, thread: Thread) -> int:
        """Make one more lane of a thread, and return its place there."""
        self._next += 1
        thread.numbers.append(self._next)
        return len(thread.numbers) - 1

    def process_name(self, process: Process, name: str) -> str:
        """Return what a viewer shows as the name of a process."""
        of_rank = "" if process.rank is None else f"rank {process.rank}: "
        return f"{self._label}{of_rank}{name}"

    def metadata(self) -> Iterator[bytes]:
        """Yield the events that name what the traces do not: lanes, and what has a new number."""
        for process in self.processes:
            unnamed = process.rank is not None or self._label or str(process.number) != process.own
            if not process.named and unnamed:
                name = self.process_name(process, f"process {process.own}".rstrip())
                yield _event("process_name", process.number, 0, {"name": name})
        for thread in self.threads:
            pid = self.processes[thread.process].number
            name = thread.name or f"thread {thread.own}".rstrip()
            for lane, number in enumerate(thread.numbers):
                if lane or (not thread.name and str(number) != thread.own):
                    of_lane = f" (lane {lane + 1})" if lane else ""
                    yield _event("thread_name", pid, number, {"name": name + of_lane})
                if lane and thread.sort_index is not None:
                    yield _event(
                        "thread_sort_index", pid, number, {"sort_index": thread.sort_index}
                    )

    def _found(self, rank: int | None, pid: str, tid: str) -> int:
        process = self._process_of.get((rank, pid))
        if process is None:
            process = self._process_of[rank, pid] = len(self.processes)
            number = _number(pid)
            if number is None or number in self._taken:
                self._next += 1
                number = self._next
            self._taken.add(number)
            self.processes.append(Process(rank, pid, number))
        place = self._by_text.get((process, tid))
        if place is None:
            place = self._by_text[process, tid] = len(self.threads)
            number = _number(tid)
            if number is None or (process, number) in self._taken_threads:
                self._next += 1
                number = self._next
            self._taken_threads.add((process, number))
            self.threads.append(Thread(process, tid, [number]))
        return place


def _text(raw: bytes) -> str:
    """Return a number or a text of JSON as a text; they mean the same process."""
    try:
        value = json.loads(raw)
    except ValueError:
        value = raw.decode(errors="replace")
    return value if isinstance(value, str) else json.dumps(value)


def _number(text: str) -> int | None:
    """Return the number that the system gave; None if it is none, or too large for a viewer."""
    if not (text.isascii() and text.isdecimal()) or text != str(int(text[:10])):
        return None
    return int(text) if int(text) < _MOST else None


def _event(name: str, pid: int, tid: int, args: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode({"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args})
