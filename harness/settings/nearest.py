"""The name that was meant: by a synonym, a prefix, or the fewest mistyped letters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SYNONYMS: Final = {
    "ascend": "npu",
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
    "fp64": "float64",
    "gpu": "cuda",
    "half": "float16",
    "nvidia": "cuda",
    "output": "out",
    "shapes": "record_shapes",
    "stack": "with_stack",
}
"""Words that people type, and the names that they mean; used where there is such a name."""

_PREFIX: Final = 3
"""A prefix of this many letters means the one name that begins with it."""


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that `word` most probably means; None if none is near, or several are.

    Up to three in ten letters may be wrong, left out, added or swapped; one may always be.
    """
    folded = {name.lower(): name for name in names}
    word = word.lower()
    if word in folded:
        return folded[word]
    if SYNONYMS.get(word) in folded:
        return folded[SYNONYMS[word]]
    begun = [name for name in folded if len(word) >= _PREFIX and name.startswith(word)]
    if len(begun) == 1:
        return folded[begun[0]]
    distances = {name: _distance(word, name) for name in folded}
    least = min(distances.values(), default=0)
    closest = [name for name, distance in distances.items() if distance == least]
    if len(closest) != 1 or least >= len(word):
        return None
    (name,) = closest
    allowed = max(1, max(len(word), len(name)) * 3 // 10)
    return folded[name] if least <= allowed else None


def _distance(word: str, other: str) -> int:
    """Count the letters to change, insert or delete, and the neighbours to swap."""
    before, above = [0] * (len(other) + 1), list(range(len(other) + 1))
    for row, letter in enumerate(word, start=1):
        current = [row]
        for column, match in enumerate(other, start=1):
            cost = min(
                above[column] + 1,
                current[column - 1] + 1,
                above[column - 1] + (letter != match),
            )
            if row > 1 and column > 1 and word[row - 2 : row] == match + other[column - 2]:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, above = above, current
    return above[-1]
