"""Lay the lists of tensors out flat that torch nests in an operator's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from harness.readers.cells import SHAPES, WORDS
from harness.tables.tensor_lists import flat_dtypes, flat_shapes, lengths


def laid_out(
    shapes: Sequence[Any], dtypes: Sequence[Any], operators: pl.DataFrame
) -> tuple[pl.Series, pl.Series, pl.DataFrame]:
    """Return flat shapes and their dtypes, and the operators with the numbers of them.

    Args:
        shapes: The distinct shapes of arguments, null for none; those of a list are nested.
        dtypes: The distinct dtypes of arguments, null for none.
        operators: Has the columns shapes and dtypes, the numbers of those of each row.
    """
    counts = {
        number: listed
        for number, arguments in enumerate(shapes)
        if arguments and (listed := lengths(arguments))
    }
    flat = pl.Series(
        [
            flat_shapes(arguments, counts[number]) if number in counts else arguments
            for number, arguments in enumerate(shapes)
        ],
        dtype=SHAPES,
    )
    if not counts:
        return flat, pl.Series(dtypes, dtype=WORDS), operators
    rows = operators["shapes"].is_in(list(counts)).arg_true()
    numbers = operators.select(pl.col("shapes", "dtypes").gather(rows))
    pairs = numbers.unique(maintain_order=True)
    # The same words mean other tensors with other shapes.
    words = [of and flat_dtypes(of, counts[n]) for n, of in _with_values(pairs, dtypes)]
    places = pairs.with_columns(place=pl.int_range(len(dtypes), len(dtypes) + len(words)))
    placed = numbers.join(places, on=["shapes", "dtypes"], how="left", maintain_order="left")
    renumbered = operators["dtypes"].cast(pl.Int64).scatter(rows, placed["place"])
    return (
        flat,
        pl.Series([*dtypes, *words], dtype=WORDS),
        operators.with_columns(renumbered.alias("dtypes")),
    )


def _with_values(pairs: pl.DataFrame, dtypes: Sequence[Any]) -> list[tuple[int, Any]]:
    return [(number, dtypes[dtype]) for number, dtype in pairs.rows()]
