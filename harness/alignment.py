"""Which elements of two sequences are the same one: minimal edits, and where these are not unique.

Kernels of two runs of one program differ in few places, but programs repeat themselves, so that
several alignments may be minimal. A pair is certain if every minimal alignment has it.

Two minimal alignments that cross each other make two more, one of their upper and one of their
lower parts. So there are two extreme ones, between which all others lie, and a pair of both
extremes is one of all. They are read off the bit-parallel recurrence for the longest common
subsequence (Hyyrö, Bit-Parallel LCS-length Computation Revisited, 2004), in the band that a bound
of the distance leaves: n elements at distance d cost n steps on 2 d bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

Pairs = list[tuple[int, int]]
"""Positions in the first and in the second sequence, both ascending."""

_LEAST_BOUND: Final = 128
_LIKELY: Final = 25
"""One element in so many is taken to differ; more of them cost a second pass."""
_MOST_BITS: Final = 1 << 33
"""What the states of one alignment may take: 1 GiB."""


class TooDifferentError(Exception):
    """The sequences have so little in common that aligning them would take too much memory."""


class Alignment(NamedTuple):
    """How one sequence lies on another."""

    pairs: Pairs
    """Those of one minimal alignment."""
    doubtful: tuple[set[int], set[int]]
    """Positions in each sequence that another minimal alignment pairs otherwise."""


def align(first: Sequence[int], second: Sequence[int]) -> Alignment:
    """Return a minimal alignment of two sequences, and what is not certain of it.

    What is minimal is the number of insertions and deletions. An element that is neither paired
    nor doubtful is in no minimal alignment paired. Raises `TooDifferentError`.
    """
    if first == second:
        return Alignment([(at, at) for at in range(len(first))], (set(), set()))
    band = _banded(first, second)
    pairs = band.lower()
    return Alignment(pairs, _doubtful(first, second, pairs, band.upper()))


def union(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Return a sequence that holds both, with what a minimal alignment pairs once.

    Raises `TooDifferentError`.
    """
    if first == second:
        return list(first)
    merged: list[int] = []
    for (i, j), (next_i, next_j) in _gaps(_banded(first, second).lower(), first, second):
        merged += first[i + 1 : next_i]
        merged += second[j + 1 : next_j]
        merged += first[next_i : next_i + 1]
    return merged


def _gaps(
    pairs: Pairs, first: Sequence[int], second: Sequence[int]
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield each two pairs that follow each other, the ends of the sequences being pairs, too."""
    return pairwise([(-1, -1), *pairs, (len(first), len(second))])


def _doubtful(
    first: Sequence[int], second: Sequence[int], lower: Pairs, upper: Pairs
) -> tuple[set[int], set[int]]:
    doubt: tuple[set[int], set[int]] = (set(), set())
    certain = sorted(set(lower).intersection(upper))
    if len(certain) == len(lower):
        return doubt
    number = {pair: at for at, pair in enumerate(lower)}
    borders = [-1, *(number[pair] for pair in certain), len(lower)]
    for (at, next_at), ((i, j), (next_i, next_j)) in zip(
        pairwise(borders), _gaps(certain, first, second), strict=True
    ):
        # All minimal alignments have equally many pairs between two that are certain.
        if next_at - at == 1:
            continue
        here, there = first[i + 1 : next_i], second[j + 1 : next_j]
        both = set(here).intersection(there)
        doubt[0].update(i + 1 + place for place, one in enumerate(here) if one in both)
        doubt[1].update(j + 1 + place for place, one in enumerate(there) if one in both)
    return doubt


def _banded(columns: Sequence[int], rows: Sequence[int]) -> _Band:
    longest = max(len(columns), len(rows))
    bound = max(_LEAST_BOUND, longest // _LIKELY, 2 * abs(len(columns) - len(rows)))
    band = _Band(columns, rows, bound)
    # What was found is an alignment, so the least distance is not above its own.
    return band if band.distance <= bound else _Band(columns, rows, band.distance)


class _Band:
    """The recurrence, row by row, on the columns near the diagonal.

    A state has a bit for each of these columns: 0 where one column more gives one pair more.
    """

    def __init__(self, columns: Sequence[int], rows: Sequence[int], bound: int) -> None:
        self._columns, self._rows = columns, rows
        width, height = len(columns), len(rows)
        right, left = (bound + width - height) // 2, (bound - width + height) // 2
        self._height = block = max(256, bound)
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

    def lower(self) -> Pairs:
        """Return the minimal alignment that leaves out columns as late as possible."""
        found: Pairs = []
        columns, rows, height = self._columns, self._rows, self._height
        column, row = len(columns), len(rows)
        while row and column:
            start, states = self._blocks[(row - 1) // height]
            top = (row - 1) // height * height
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

    def upper(self) -> Pairs:
        """Return the minimal alignment that leaves out rows as late as possible."""
        found: Pairs = []
        columns, rows, height = self._columns, self._rows, self._height
        column, row = len(columns), len(rows)
        while row and column:
            start, states = self._blocks[(row - 1) // height]
            top = (row - 1) // height * height
            while row > top and column:
                # A row adds a pair to the columns from the first bit that it changes up to the
                # second, from the third to the fourth, and so on.
                changed = states[row - top] ^ states[row - top - 1]
                below = changed & ((1 << max(column - start, 0)) - 1)
                if not below.bit_count() & 1:
                    row -= 1
                elif columns[column - 1] == rows[row - 1]:
                    row -= 1
                    column -= 1
                    found.append((column, row))
                else:
                    column -= 1
        found.reverse()
        return found


def _masks(columns: Sequence[int]) -> dict[int, int]:
    """Return for each element the bits of its positions."""
    places: dict[int, bytearray] = {}
    size = len(columns) // 8 + 1
    for at, token in enumerate(columns):
        bits = places.get(token)
        if bits is None:
            bits = places[token] = bytearray(size)
        bits[at >> 3] |= 1 << (at & 7)
    return {token: int.from_bytes(bits, "little") for token, bits in places.items()}
