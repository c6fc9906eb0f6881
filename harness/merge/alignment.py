"""Which elements of sequences are the same one: minimal edits, and where these are not unique.

Kernels of two runs of one program differ in few places, but programs repeat themselves, so that
several alignments may be minimal. A pair is certain if every minimal alignment has it.

Two minimal alignments that cross each other make two more, one of their upper and one of their
lower parts. So there are two extreme ones, between which all others lie, and a pair of both
extremes is one of all. For a sequence in one that holds it, these are its first and its last
embedding. For two others, they are read off the bit-parallel recurrence of the longest common
subsequence (Hyyrö, Bit-Parallel LCS-length Computation Revisited, 2004), in the band that a bound
of the distance leaves: n elements at distance d cost n steps on 2 d bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Pair = tuple[int, int]
"""Positions in the first and in the second sequence."""
Tokens = tuple[int, ...]

_LEAST_BOUND: Final = 128
_LIKELY: Final = 25
"""One element in so many is taken to differ; more of them cost a second pass."""
_LEAST_BLOCK: Final = 256
"""Rows for which the band stays where it is."""
_STRIDE: Final = 32
_MOST_BITS: Final = 1 << 33
"""What the states of one alignment may take: 1 GiB."""


class TooDifferentError(Exception):
    """Two sequences have so little in common that aligning them would take too much memory."""


class Whole(NamedTuple):
    """A sequence that holds several others, what minimal alignments pair being there once."""

    tokens: Tokens
    doubtful: frozenset[int]
    """Positions of what other minimal alignments would pair otherwise."""


class Embedding(NamedTuple):
    """Where the elements of a sequence are in one that holds it."""

    places: npt.NDArray[np.int64]
    """Ascending; of several embeddings the first."""
    doubtful: set[int]
    """Places in the whole that another embedding would take or leave."""


def whole(sequences: Iterable[Tokens]) -> Whole:
    """Return a sequence that holds all: the longest, with what the others have beyond it.

    Raises `TooDifferentError`.
    """
    longest, *others = sorted(dict.fromkeys(sequences), key=lambda sequence: -len(sequence))
    found = Whole(longest, frozenset())
    for sequence in others:
        if _first_embedding(found.tokens, sequence) is None:
            found = _joined(found, sequence)
    return found


def embed(held: Tokens, sequence: Tokens) -> Embedding:
    """Return where `sequence` is in `held`. Raises ValueError if it is not."""
    if held == sequence:
        return Embedding(np.arange(len(held)), set())
    first = _first_embedding(held, sequence)
    mirrored = _first_embedding(held[::-1], sequence[::-1])
    if first is None or mirrored is None:
        raise ValueError("the one sequence does not hold the other")
    places = np.array(first, np.int64)
    last = len(held) - 1 - np.array(mirrored, np.int64)[::-1]
    unequal = np.flatnonzero(places != last).tolist()
    doubtful, _ = _doubtful(held, sequence, first, range(len(first)), unequal)
    return Embedding(places, doubtful)


def _first_embedding(held: Tokens, sequence: Tokens) -> list[int] | None:
    found: list[int] = []
    find, at, number = held.index, 0, 0
    try:
        while number < len(sequence):
            # Most of it follows without a gap.
            if held[at : at + _STRIDE] == sequence[number : number + _STRIDE]:
                size = min(_STRIDE, len(sequence) - number)
                found.extend(range(at, at + size))
                at += size
                number += size
                continue
            for token in sequence[number : number + _STRIDE]:
                at = find(token, at) + 1
                found.append(at - 1)
            number += _STRIDE
    except ValueError:
        return None
    return found


def _joined(held: Whole, sequence: Tokens) -> Whole:
    """Add to a whole what a sequence has beyond it."""
    band = _banded(held.tokens, sequence)
    pairs = band.lower()
    places, others = [at for at, _ in pairs], [other for _, other in pairs]
    # All minimal alignments have equally many pairs, before a certain one, too.
    both = enumerate(zip(pairs, band.upper(), strict=True))
    unequal = [at for at, (one, other) in both if one != other]
    doubtful, beyond = _doubtful(held.tokens, sequence, places, others, unequal)
    doubtful |= held.doubtful
    merged: list[int] = []
    doubts: set[int] = set()

    def add(tokens: Tokens, start: int, end: int, doubted: set[int]) -> None:
        if doubted:
            shift = len(merged) - start
            doubts.update(at + shift for at in range(start, end) if at in doubted)
        merged.extend(tokens[start:end])

    done, used = 0, 0
    for at, other in [*pairs, (len(held.tokens), len(sequence))]:
        if other > used:
            add(held.tokens, done, at, doubtful)
            add(sequence, used, other, beyond)
            done = at
        used = other + 1
    add(held.tokens, done, len(held.tokens), doubtful)
    return Whole(tuple(merged), frozenset(doubts))


def _doubtful(
    first: Tokens,
    second: Tokens,
    places: Sequence[int],
    others: Sequence[int],
    unequal: Sequence[int],
) -> tuple[set[int], set[int]]:
    """Return the positions in each that another alignment between the extremes pairs otherwise.

    `places` and `others` are paired by one of them; `unequal` numbers the pairs that the other
    extreme does not have.
    """
    doubt: tuple[set[int], set[int]] = (set(), set())
    for start, end in _stretches(unequal):
        i, j = (places[start - 1] + 1, others[start - 1] + 1) if start else (0, 0)
        after = end < len(places)
        next_i, next_j = (places[end], others[end]) if after else (len(first), len(second))
        here, there = first[i:next_i], second[j:next_j]
        both = set(here).intersection(there)
        doubt[0].update(i + at for at, token in enumerate(here) if token in both)
        doubt[1].update(j + at for at, token in enumerate(there) if token in both)
    return doubt


def _stretches(numbers: Sequence[int]) -> Iterator[Pair]:
    """Yield the start and the end of each stretch of numbers that follow each other."""
    if numbers:
        cuts = [at for at, (one, other) in enumerate(pairwise(numbers), 1) if other != one + 1]
        for start, end in pairwise([0, *cuts, len(numbers)]):
            yield numbers[start], numbers[end - 1] + 1


def _banded(columns: Tokens, rows: Tokens) -> _Band:
    longest = max(len(columns), len(rows))
    bound = max(_LEAST_BOUND, longest // _LIKELY, 2 * abs(len(columns) - len(rows)))
    band = _Band(columns, rows, bound)
    # What was found is an alignment, so the least distance is not above its own.
    return band if band.distance <= bound else _Band(columns, rows, band.distance)


class _Band:
    """The recurrence, row by row, on the columns near the diagonal.

    A state has a bit for each of these columns: 0 where one column more gives one pair more.
    """

    def __init__(self, columns: Tokens, rows: Tokens, bound: int) -> None:
        self._columns, self._rows = columns, rows
        width, height = len(columns), len(rows)
        right, left = (bound + width - height) // 2, (bound - width + height) // 2
        self._height = block = max(_LEAST_BLOCK, bound)
        if height * (block + right + left) > _MOST_BITS:
            raise TooDifferentError
        masks = _masks(columns)
        self._blocks: list[tuple[int, list[int]]] = []
        start, end, state, matches = 0, 0, 0, 0
        for top in range(0, height, block):
            bottom = min(top + block, height)
            dropped = min(max(top - left, 0), width) - start
            matches += dropped - (state & ((1 << dropped) - 1)).bit_count()
            start += dropped
            added = max(min(bottom + right, width), end) - end
            state = (state >> dropped) | (((1 << added) - 1) << (end - start))
            end += added
            full = (1 << (end - start)) - 1
            states = [state]
            near: dict[int, int] = {}
            for token in rows[top:bottom]:
                mask = near.get(token)
                if mask is None:
                    mask = near[token] = (masks.get(token, 0) >> start) & full
                hit = state & mask
                state = ((state + hit) | (state - hit)) & full
                states.append(state)
            self._blocks.append((start, states))
        matches += end - start - state.bit_count()
        self.distance = width + height - 2 * matches
        """Insertions and deletions; minimal if not above the bound."""

    def lower(self) -> list[Pair]:
        """Return the minimal alignment whose pairs are in the first columns possible."""
        found: list[Pair] = []
        columns, rows, height = self._columns, self._rows, self._height
        column, row = len(columns), len(rows)
        while row and column:
            top = (row - 1) // height * height
            start, states = self._blocks[top // height]
            while row > top and column:
                at = column - 1 - start
                if at >= 0 and states[row - top] >> at & 1:
                    column -= 1
                    continue
                row -= 1
                if at >= 0 and columns[column - 1] == rows[row]:
                    column -= 1
                    found.append((column, row))
        found.reverse()
        return found

    def upper(self) -> list[Pair]:
        """Return the minimal alignment whose pairs are in the first rows possible."""
        found: list[Pair] = []
        columns, rows, height = self._columns, self._rows, self._height
        column, row = len(columns), len(rows)
        while row and column:
            top = (row - 1) // height * height
            start, states = self._blocks[top // height]
            while row > top and column:
                # A row adds a pair to the columns from the first bit that it changes up to the
                # second, from the third to the fourth, and so on.
                changed = states[row - top] ^ states[row - top - 1]
                before = changed & ((1 << max(column - start, 0)) - 1)
                if not before.bit_count() & 1:
                    row -= 1
                elif columns[column - 1] == rows[row - 1]:
                    row -= 1
                    column -= 1
                    found.append((column, row))
                else:
                    column -= 1
        found.reverse()
        return found


def _masks(columns: Tokens) -> dict[int, int]:
    """Return for each token the bits of its positions."""
    places: dict[int, bytearray] = {}
    size = len(columns) // 8 + 1
    for at, token in enumerate(columns):
        bits = places.get(token)
        if bits is None:
            bits = places[token] = bytearray(size)
        bits[at >> 3] |= 1 << (at & 7)
    return {token: int.from_bytes(bits, "little") for token, bits in places.items()}
