"""Which code an operator belongs to: what backward runs belongs to the operator of forward."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from harness.analyses.layers import NONE, Numbers
from harness.readers import nesting

SEQUENCE: Final = "Sequence number"
FORWARD: Final = "Fwd thread id"
"""Columns of the table `operators`, named as in torch's trace: autograd numbers the operators of
forward, and each function of backward has the number of the operator that it belongs to, and the
number of its thread, from 1 on (torch's RecordFunction)."""
_LOADS: Final = r"^enumerate\(DataLoader\)#"
"""torch's range around the ``__next__`` of a DataLoader (torch/utils/data/dataloader.py)."""
_OPTIMIZER: Final = r"^Optimizer\."
_BACKWARD: Final = r"^autograd::engine::evaluate_function"


class Origins:
    """Where the operators of one rank come from. All arrays are in the order of the table."""

    def __init__(self, operators: pl.DataFrame) -> None:
        """Nest the operators of each thread."""
        self._operators = operators
        threads, starts, durations = (
            operators[name].fill_null(NONE) for name in ("thread", "start_ns", "duration_ns")
        )
        self._order = nesting.order(starts, durations, threads).to_numpy()
        dense = threads.gather(self._order).rle_id().to_numpy()
        self._outer = (
            nesting.holders(
                dense, starts.to_numpy()[self._order], durations.to_numpy()[self._order]
            )
            if operators.height
            else np.zeros(0, np.int32)
        )
        self.source = self._sources()
        """The place of the operator whose call decides which code it is: of what backward runs, the
        operator of forward; else its own."""
        self.code = starts.to_numpy()[self.source]
        """When that one was called."""
        self.loads = pl.Series(self._nearest(self._named(_LOADS)) != NONE)
        """Whether it runs within the ``__next__`` of a DataLoader."""

    def stages(self) -> pl.Series:
        """Return the stages of the capture; where it has none, those that torch's ranges show."""
        marked = pl.Series([None], dtype=pl.String).new_from_index(0, self._operators.height)
        for stage, pattern in (
            ("backward", _BACKWARD),
            ("optimizer", _OPTIMIZER),
            ("data loading", _LOADS),
        ):
            within = pl.Series(self._nearest(self._named(pattern)) != NONE)
            marked = marked.set(within, stage)
        own = self._operators["stage"]
        if own.is_null().all() and marked.is_not_null().any():
            marked = marked.fill_null("forward")
        shown = pl.DataFrame({"own": own, "marked": marked})
        return shown.select(pl.coalesce("own", "marked")).to_series()

    def _named(self, pattern: str) -> pl.Series:
        return self._operators["name"].str.contains(pattern).fill_null(value=False)

    def _nearest(self, chosen: pl.Series) -> Numbers:
        """Return the place of the innermost chosen one of each operator and those around it."""
        found = nesting.nearest(self._outer, chosen.to_numpy()[self._order])
        by_row = np.full(len(found), NONE, np.int64)
        by_row[self._order] = np.append(self._order, NONE)[found]
        return by_row

    def _sources(self) -> Numbers:
        own = np.arange(self._operators.height)
        if not {SEQUENCE, FORWARD} <= set(self._operators.columns):
            return own
        numbers = self._operators.select(
            place=pl.int_range(pl.len()),
            number=pl.col(SEQUENCE).cast(pl.Int64, strict=False),
            backward=pl.col(FORWARD).cast(pl.Int64, strict=False).fill_null(0) > 0,
            start="start_ns",
        )
        # The last one with a number made the function of backward; those before made none.
        called = (
            numbers.filter(~pl.col("backward"), pl.col("number") >= 0)
            .sort("start", maintain_order=True)
            .unique("number", keep="last")
            .select("number", forward="place")
        )
        linked = numbers.join(called, on="number", how="left", maintain_order="left")
        forward = linked["forward"].fill_null(NONE).to_numpy()
        function = self._nearest(linked["backward"] & linked["forward"].is_not_null())
        return np.where(function == NONE, own, np.append(forward, NONE)[function])
