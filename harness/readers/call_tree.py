"""The operators of a capture as a call tree: nesting, self time, step and stage, launches.

Nesting, self time, marks and the choice of step and stage follow the same rules as
`harness.devices.torch_events`.

numpy is imported where there is something to nest: many runs have nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import Any, Final, NamedTuple

import polars as pl

from harness import tables
from harness.readers.base import ReadContext
from harness.tables.intervals import StepLookup, ThreadStepLookup
from harness.tables.markers import STAGE_MARK, STEP_MARK

TORCH_MARK: Final = "ProfilerStep#"
NO_ROW: Final = -1

# Operators of torch's dispatcher are named `namespace::name`. What they call (aclnn…, empty_tensor)
# is internal to torch_npu and has no shapes.
_QUALIFIED: Final = r"^[A-Za-z_]\w*::\w"
_AUTOGRAD: Final = r"^(autograd|torch)::"


class Marker(NamedTuple):
    """A range that names a step or a stage."""

    start_ns: int
    end_ns: int
    name: str
    thread: int | None = None
    """That it is on; read only where several threads make steps."""


def is_mark(name: str) -> bool:
    """Tell whether a range of this name is a mark rather than an operator."""
    if name.startswith(STEP_MARK):
        return name.removeprefix(STEP_MARK).isdecimal()
    return name.startswith((STAGE_MARK, TORCH_MARK))


class StepMarkers:
    """The steps and stages of a capture."""

    def __init__(self, markers: list[Marker], context: ReadContext) -> None:
        """Use the capture's markers; if it has none of steps, use the steps of `context`."""
        steps = _numbered(markers, STEP_MARK)
        stages: list[tuple[int, int, int | str]] = [
            (marker.start_ns, marker.end_ns, marker.name.removeprefix(STAGE_MARK))
            for marker in markers
            if marker.name.startswith(STAGE_MARK)
        ]
        if not steps and context.steps:
            steps = [
                (step_range.start_ns, step_range.end_ns, step_range.step)
                for step_range in context.steps
            ]
            stages += [(r.start_ns, r.end_ns, r.stage) for r in context.steps if r.stage]
        self._cycle = _numbered(markers, TORCH_MARK)
        self._ranges = steps or self._cycle
        self._has_own_steps = bool(steps)
        self.steps = StepLookup(self._ranges, pl.Int64())
        self._starts = sorted((start, int(step)) for start, _, step in steps)
        self.stages = StepLookup(stages, pl.String())
        self._by_thread = _by_thread(markers, context)

    def ranges(self) -> list[tuple[int, int, int]]:
        """Return start, end and number of each step, in order."""
        return sorted((start, end, int(step)) for start, end, step in self._ranges)

    def places(
        self, host_times: pl.Series, threads: pl.Series | None = None
    ) -> dict[str, pl.Series]:
        """Return the step and the stage at each time; null outside all ranges, and for null.

        Where several threads make steps, those of the thread count, which is null if not known.
        """
        times = host_times.fill_null(NO_ROW)
        if self._by_thread is not None:
            if threads is None:
                threads = pl.repeat(None, len(times), dtype=pl.Int64, eager=True)
            return {name: lookup.at(times, threads) for name, lookup in self._by_thread.items()}
        return {"step": self.steps.at(times), "stage": self.stages.at(times)}

    def torch_numbers(self, times: pl.Series) -> pl.Series:
        """Return the number of the ``ProfilerStep#`` range that contains each time, or null."""
        return StepLookup(self._cycle, pl.Int64()).at(times)

    def of_torch(self, numbers: pl.Series) -> pl.Series:
        """Return the step of each ``ProfilerStep#`` number, null where it is unknown."""
        if not self._has_own_steps:
            return numbers
        # The harness's step mark begins within the range that torch_npu opened for the step.
        step_of_number = {
            int(number): next((step for time, step in self._starts if start <= time < end), None)
            for start, end, number in self._cycle
        }
        return numbers.replace_strict(step_of_number, default=None, return_dtype=pl.Int64)


def _by_thread(markers: list[Marker], context: ReadContext) -> dict[str, ThreadStepLookup] | None:
    """Return the steps and stages of each thread: of whole steps, as the run has timed them.

    torch ends the marks of those that were under way when it stopped.
    """
    threads = context.step_threads
    if not threads:
        return None
    whole = {step_range.step for step_range in context.steps}
    steps = [
        (marker.thread, marker.start_ns, marker.end_ns, int(number))
        for marker in markers
        if (number := marker.name.removeprefix(STEP_MARK)) != marker.name
        and number.isdecimal()
        and marker.thread is not None
        and int(number) in whole
    ]
    # A stage in a step that is not whole is none.
    step_lookup = ThreadStepLookup(steps, threads, pl.Int64())
    stages = [
        (marker.thread, marker.start_ns, marker.end_ns, marker.name.removeprefix(STAGE_MARK))
        for marker in markers
        if marker.name.startswith(STAGE_MARK) and marker.thread is not None
    ]
    in_steps = step_lookup.at(
        pl.Series([start for _, start, _, _ in stages], dtype=pl.Int64),
        pl.Series([thread for thread, _, _, _ in stages], dtype=pl.Int64),
    ).is_not_null()
    return {
        "step": step_lookup,
        "stage": ThreadStepLookup(compress(stages, in_steps), threads, pl.String()),
    }


def _numbered(markers: list[Marker], prefix: str) -> list[tuple[int, int, int | str]]:
    return [
        (marker.start_ns, marker.end_ns, int(number))
        for marker in markers
        if (number := marker.name.removeprefix(prefix)) != marker.name and number.isdecimal()
    ]


def first(keys: pl.Series, numbers: pl.Series) -> pl.Series:
    """Return the place of the first key that equals each number, null where no key does.

    A join would take several times the memory.
    """
    places_of_keys, present = keys.is_not_null().arg_true(), keys.drop_nulls()
    if present.is_empty():
        return pl.repeat(None, len(numbers), dtype=pl.Int64, eager=True)
    import numpy as np

    order = pl.Series(np.argsort(present.to_numpy(), kind="stable").astype(np.uint32))
    positions = (
        present.gather(order).search_sorted(numbers.fill_null(0)).clip(upper_bound=len(present) - 1)
    )
    rows = places_of_keys.gather(order.gather(positions)).cast(pl.Int64)
    return rows.set((keys.gather(rows) != numbers) | numbers.is_null(), None)


class CallTree:
    """The nested operators of a capture, each with its row in the table."""

    def __init__(
        self, operators: pl.DataFrame, frames: pl.DataFrame, step_markers: StepMarkers
    ) -> None:
        """Nest the events of each thread.

        Args:
            operators: Columns of the table `operators`: at least thread, name, start_ns and
                duration_ns, in any order.
            frames: thread, start_ns and duration_ns of the Python frames: they count as children,
                but have no rows.
            step_markers: The steps and stages.
        """
        from harness.readers import nesting

        self._step_markers = step_markers
        rows = nesting.order(operators["start_ns"], operators["duration_ns"])
        self._table = operators if rows.is_sorted() else operators[rows]
        ranges = ("thread", "start_ns", "duration_ns")
        self._nest(pl.concat([self._table.select(ranges), frames.select(ranges)]))

    def _nest(self, ranges: pl.DataFrame) -> None:
        """Nest the ranges of the operators, in the order of their rows, followed by the frames'."""
        import numpy as np

        from harness.readers import nesting

        rows = nesting.order(*(ranges[name] for name in ("start_ns", "duration_ns", "thread")))
        threads, starts, durations = (ranges[name].gather(rows) for name in ranges.columns)
        del ranges
        holders = nesting.holders(
            threads.rle_id().to_numpy(), starts.to_numpy(), durations.to_numpy()
        )
        places = rows.to_numpy().astype(np.int32)
        is_operator = places < self.count
        # The last element is the row of a range without a holder.
        row_at = np.append(np.where(is_operator, places, NO_ROW), np.int32(NO_ROW))
        self._self_ns = self._table["duration_ns"].to_numpy().copy()
        holder_rows = row_at[holders]
        has_holder = holder_rows != NO_ROW
        # All direct children count, including Python frames.
        np.subtract.at(self._self_ns, holder_rows[has_holder], durations.to_numpy()[has_holder])
        nearest_operators = np.append(nesting.nearest(holders, is_operator), np.int32(nesting.NONE))
        self._parents = np.full(self.count, NO_ROW, np.int32)
        self._parents[row_at[:-1][is_operator]] = row_at[nearest_operators[holders[is_operator]]]

    @property
    def count(self) -> int:
        """How many operators there are."""
        return self._table.height

    def innermost(self, threads: pl.Series, times: pl.Series) -> pl.Series:
        """Return the row of the innermost operator open at each time on its thread, else null."""
        if not self.count:
            return pl.repeat(None, len(times), dtype=pl.Int64, eager=True)
        ends = pl.col("start_ns") + pl.col("duration_ns")
        rows = self._table.select("thread", "start_ns", end_ns=ends).with_row_index("row")
        last_started = (
            pl.DataFrame({"thread": threads, "time": times})
            .with_row_index("n")
            .sort("time", maintain_order=True)
            .join_asof(
                rows,
                left_on="time",
                right_on="start_ns",
                by="thread",
                coalesce=False,
                check_sortedness=False,
            )
            .sort("n")
        )
        # An operator without duration is open at its own start.
        open_ = (pl.col("time") < pl.col("end_ns")) | (pl.col("time") == pl.col("start_ns"))
        rows_if_open = last_started.select(pl.when(open_).then("row").cast(pl.Int64)).to_series()
        ended = last_started.filter(~open_)
        climbed = self._climb(ended["row"], ended["time"], rows["end_ns"])
        return rows_if_open.scatter(ended["n"], climbed)

    def _climb(self, rows: pl.Series, times: pl.Series, ends: pl.Series) -> pl.Series:
        """Return the innermost operator that contains each row and is still open at its time."""
        open_rows = rows.cast(pl.Int64).to_numpy().copy()
        ends_ns, times_ns = ends.to_numpy(), times.to_numpy()
        while (ended := (open_rows != NO_ROW) & (times_ns >= ends_ns[open_rows])).any():
            open_rows[ended] = self._parents[open_rows[ended]]
        innermost = pl.Series(open_rows)
        return innermost.set(innermost == NO_ROW, None)

    def launchers(self, innermost: pl.Series) -> pl.Series:
        """Return the dispatcher's operator that contains each; the operator itself if none does."""
        from harness.readers import nesting

        names = self._table["name"]
        named = names.str.contains(_QUALIFIED) & ~names.str.contains(_AUTOGRAD)
        named = named.fill_null(value=False)
        outer = pl.Series(nesting.nearest(self._parents, named.to_numpy()), dtype=pl.Int64).gather(
            innermost
        )
        return (
            pl.DataFrame({"outer": outer, "inner": innermost})
            .select(pl.when(pl.col("outer") == NO_ROW).then("inner").otherwise("outer"))
            .to_series()
        )

    def numbered(self, numbers: pl.Series) -> pl.Series:
        """Return the row of the operator with each number in its column `external`, else null."""
        return first(self._table["external"], numbers)

    def paths(self, rows: list[int]) -> tuple[list[list[Any]], list[int]]:
        """Return the distinct outward paths of names, the first empty, and the path of each row."""
        names, parents = self._table["name"].to_list(), self._parents.tolist()
        codes: dict[tuple[Any, int], int] = {}
        links: list[tuple[Any, int]] = [(None, 0)]  # a name, and the code of the path around it
        code_of_row: list[int | None] = [*[None] * self.count, 0]  # the last is that of NO_ROW
        for row in rows:
            chain = [row]
            while (outer := code_of_row[chain[-1]]) is None:
                chain.append(parents[chain[-1]])
            for inner in reversed(chain[:-1]):
                key = names[inner], outer
                if key not in codes:
                    codes[key] = len(links)
                    links.append(key)
                outer = code_of_row[inner] = codes[key]
        # Only the paths of `rows`: all paths together would take many times the memory.
        paths: dict[int, list[Any]] = {0: []}
        index_of_code = {0: 0}
        indices = []
        for row in rows:
            code = code_of_row[row] or 0
            if code not in paths:
                index_of_code[code] = len(paths)
                paths[code] = list(_outwards(links, code))
            indices.append(index_of_code[code])
        return list(paths.values()), indices

    def starts(self, rows: pl.Series) -> pl.Series:
        """Return when the operators of these rows began; null for null."""
        return self._table["start_ns"].gather(rows)

    def threads(self, rows: pl.Series) -> pl.Series:
        """Return the threads of the operators of these rows; null for null."""
        return self._table["thread"].gather(rows)

    def named(self, names: pl.Series, times: pl.Series) -> pl.Series:
        """Return the row of the last operator of each name that was open at each time, or null."""
        rows = self._table.select(
            "name", "start_ns", end_ns=pl.col("start_ns") + pl.col("duration_ns")
        ).with_row_index("row")
        last_started = (
            pl.DataFrame({"name": names, "time": times})
            .with_row_index("n")
            .sort("time", maintain_order=True)
            .join_asof(rows, left_on="time", right_on="start_ns", by="name", check_sortedness=False)
            .sort("n")
        )
        inside = pl.when(pl.col("time") <= pl.col("end_ns")).then("row")
        return last_started.select(inside.cast(pl.Int64)).to_series()

    def operators(self, context: ReadContext, rank: int, kernels: pl.DataFrame) -> pl.DataFrame:
        """Build the table.

        Args:
            context: Where ids start.
            rank: The rank of every row.
            kernels: The `row` of the operator and the `duration_ns` of every linked kernel.
        """
        count = self.count
        on_device = kernels.group_by("row").agg(pl.col("duration_ns").sum())
        device = pl.repeat(None, count, dtype=pl.Int64, eager=True)
        columns: dict[str, object] = {name: self._table[name] for name in self._table.columns}
        columns |= self._step_markers.places(self._table["start_ns"], self._table["thread"])
        columns |= {
            "id": pl.int_range(context.first_operator, context.first_operator + count, eager=True),
            "rank": pl.repeat(rank, count, dtype=pl.Int32, eager=True),
            "self_ns": pl.Series(self._self_ns),
            "device_ns": device.scatter(on_device["row"], on_device["duration_ns"]),
        }
        return tables.frame("operators", columns)


def _outwards(links: list[tuple[Any, int]], code: int) -> Iterator[Any]:
    while code:
        name, code = links[code]
        yield name
