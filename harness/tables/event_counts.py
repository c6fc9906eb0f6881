"""How many of a profiler's events became rows, and how many kernels have an operator."""

from __future__ import annotations

from msgspec import Struct


class EventCounts(Struct, frozen=True, kw_only=True):
    """What became of the profiler's events of one kind.

    `seen` exceeds the sum of the others by the events that no table has a place for: Python frames,
    the driver's calls, synchronisation, the profiler's own overhead.
    """

    seen: int
    """Events in the profile."""
    rows: int
    """Those that became rows."""
    marks: int
    """Those that became the columns `step` and `stage`, and torch's own marks of steps."""
    hidden: int
    """Those that torch, too, hides."""

    def __add__(self, other: EventCounts) -> EventCounts:
        """Return the sum of both."""
        return EventCounts(
            seen=self.seen + other.seen,
            rows=self.rows + other.rows,
            marks=self.marks + other.marks,
            hidden=self.hidden + other.hidden,
        )


class LinkedKernels(Struct, frozen=True, kw_only=True):
    """How many kernels have an operator that launched them."""

    kernels: int
    linked: int
    time_ns: int
    """Of all kernels."""
    linked_ns: int
