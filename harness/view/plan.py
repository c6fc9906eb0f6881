"""What becomes of each event: whether it is kept, in which lane, and where times begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from harness.errors import Problem, RefusedError
from harness.view.lanes import lanes
from harness.view.survey import ARROW, BROKEN, COMPLETE, END, TIMELESS, Survey

_FAR_NS: Final = 1 << 50
"""13 days. A viewer's numbers are floats: within twice that, each nanosecond is exact."""

Flags = npt.NDArray[np.bool_]


class Laid(Struct, frozen=True, kw_only=True):
    """What becomes of the events of a survey."""

    kept: Flags
    lanes: npt.NDArray[np.int16]
    """Places in the numbers of the event's thread."""
    start_ns: int
    """Where the times of the trace begin."""
    window_ns: tuple[int, int] | None
    """The start and the end of the chosen steps."""
    broken: int
    far: int
    """Events that are left out since their time is days from that of the others."""
    cut: int
    """Events that are left out since they are of other steps."""
    moved: int
    """Events in lanes that were made for them."""


def laid(seen: Survey, steps: tuple[int, int] | None = None) -> Laid:
    """Decide what becomes of each event.

    Args:
        seen: The events.
        steps: The first and the last step that are kept; null for everything.

    Raises:
        RefusedError: The traces do not have one of these steps.
    """
    timed = seen.kinds > TIMELESS
    near = timed & _near(seen.starts, timed)
    window = None if steps is None else _window(seen, *steps)
    inside = near if window is None else near & _inside(seen, *window)
    numbers = np.zeros(len(seen.kinds), np.int16)
    annotated = np.zeros(len(seen.kinds), np.bool_)
    annotated[seen.annotations] = True
    for rows in _threads(seen, inside):
        _lay(seen, rows, annotated, numbers)
    return Laid(
        kept=inside | (seen.kinds == TIMELESS),
        lanes=numbers,
        start_ns=int(seen.starts[inside].min()) if inside.any() else 0,
        window_ns=window,
        broken=int((seen.kinds == BROKEN).sum()),
        far=int((timed & ~near).sum()),
        cut=int((near & ~inside).sum()),
        moved=int(((numbers > 0) & (seen.kinds == COMPLETE)).sum()),
    )


def _near(starts: npt.NDArray[np.int64], timed: Flags) -> Flags:
    """Tell which times can be in one trace with the median."""
    if not timed.any():
        return timed
    times = starts[timed]
    middle = int(np.partition(times, len(times) // 2)[len(times) // 2])
    return (starts >= middle - _FAR_NS) & (starts <= middle + _FAR_NS)


def _window(seen: Survey, first: int, last: int) -> tuple[int, int]:
    own = [step for step in seen.steps if step.own]
    marks = own or seen.steps
    chosen = [step for step in marks if first <= step.number <= last]
    present = sorted({step.number for step in marks})
    missing = [number for number in (first, last) if number not in present]
    if missing:
        given = str(first) if first == last else f"{first}-{last}"
        if not present:
            reason, fix = "the trace has no marks of steps", "leave --steps out"
        else:
            reason = f"the trace has the steps {_ranges(present)}"
            fix = f"--steps {present[0]}-{present[-1]}"
        raise RefusedError([Problem(setting="--steps", given=given, reason=reason, fix=fix)])
    return min(step.start_ns for step in chosen), max(step.end_ns for step in chosen)


def _ranges(numbers: list[int]) -> str:
    """Return numbers as people write them: 1-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)


def _inside(seen: Survey, start_ns: int, end_ns: int) -> Flags:
    """Tell which events happened in a window, in part at least."""
    ends = seen.starts + seen.durations
    return (seen.starts < end_ns) & ((ends > start_ns) | (seen.starts >= start_ns))


def _threads(seen: Survey, inside: Flags) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the events of each thread, as places."""
    places = np.flatnonzero(inside)
    order = places[np.argsort(seen.threads[places], kind="stable")]
    borders = np.flatnonzero(np.diff(seen.threads[order])) + 1
    yield from (rows for rows in np.split(order, borders) if len(rows))


def _lay(
    seen: Survey, rows: npt.NDArray[np.int64], annotated: Flags, numbers: npt.NDArray[np.int16]
) -> None:
    """Write the lanes of the events of one thread, and make those lanes."""
    thread = seen.places.threads[seen.threads[rows[0]]]
    kinds = seen.kinds[rows]
    ranges, arrows, ends = (rows[kinds == kind] for kind in (COMPLETE, ARROW, END))
    numbers[ranges], numbers[arrows] = _of_thread(seen, ranges, arrows)
    if annotated[ranges].any() and numbers[ranges].any():
        _lay_annotations_apart(seen, ranges, arrows, annotated, numbers)
    for _ in range(max(numbers[ranges], default=0)):
        seen.places.add_lane(thread)
    if len(ends) and len(ranges):
        # Where each ends is not known here: they stay among themselves.
        numbers[ends] = seen.places.add_lane(thread)


def _lay_annotations_apart(
    seen: Survey,
    ranges: npt.NDArray[np.int64],
    arrows: npt.NDArray[np.int64],
    annotated: Flags,
    numbers: npt.NDArray[np.int16],
) -> None:
    """Write the lanes of a thread's calls, and below them its annotations', if that takes no more.

    Where calls of Python are recorded, an annotation begins within the call that opens it, and
    outlasts that; all that it contains would leave the lane of its callers with it.
    """
    calls, named = ranges[~annotated[ranges]], ranges[annotated[ranges]]
    of_calls, of_arrows = _of_thread(seen, calls, arrows)
    of_named, _ = _of_thread(seen, named, named[:0])
    below = max(of_calls, default=-1) + 1
    if below + max(of_named) <= numbers[ranges].max():
        numbers[calls], numbers[arrows] = of_calls, of_arrows
        numbers[named] = [below + lane for lane in of_named]


def _of_thread(
    seen: Survey, ranges: npt.NDArray[np.int64], arrows: npt.NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    return lanes(seen.starts[ranges], seen.durations[ranges], seen.starts[arrows])
