"""Lay arguments that are lists of tensors out flat: one shape and one dtype for each tensor.

torch nests the shapes of such a list one level deeper, and calls the whole "TensorList". In the
tables its tensors stand in the argument's place, each with the dtype ``TensorList[n]``, of a list
of n tensors: so two lists in a row stay apart, and a list from so many single tensors. An empty
list is one argument without dimensions, ``TensorList[0]``. ``TensorList`` alone is a list of which
the source does not tell the shapes: torch writes none of more than 30 tensors into a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

TENSOR_LIST: Final = "TensorList"


def lengths(arguments: Sequence[Sequence[Any]]) -> list[int | None] | None:
    """Return how many tensors each argument lists, null for no list; null if none is a list."""
    counts = [
        len(argument) if argument and isinstance(argument[0], list) else None
        for argument in arguments
    ]
    return None if counts.count(None) == len(counts) else counts


def flat_shapes(
    arguments: Sequence[Sequence[Any]], counts: Sequence[int | None]
) -> list[Sequence[Any]]:
    """Return one shape for each tensor of a list, and for each other argument."""
    shapes: list[Sequence[Any]] = []
    for argument, count in zip(arguments, counts, strict=True):
        if count is None:
            shapes.append(argument)
        else:
            shapes += argument
    return shapes


def flat_dtypes(dtypes: Sequence[str | None], counts: Sequence[int | None]) -> list[str | None]:
    """Return one dtype for each shape that `flat_shapes` makes of the same arguments."""
    words: list[str | None] = []
    for place, word in enumerate(dtypes):
        count = counts[place] if place < len(counts) else None
        words += [word] if count is None else [f"{word or TENSOR_LIST}[{count}]"] * count
    return words
