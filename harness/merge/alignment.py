"""Align sequences with minimal edits, and find where the minimal alignment is not unique.

Kernels of two runs of one program differ in few places, but programs repeat themselves, so several
alignments may be minimal. A pair is certain if every minimal alignment has it.

Two minimal alignments that cross each other give two more: one of their upper and one of their
lower parts. So two extreme alignments exist, all others lie between them, and a pair that both
extremes have is in all. For a sequence and its supersequence, they are the first and the last
embedding. For two other sequences, they are read from the bit-parallel recurrence of the longest
common subsequence (Hyyrö, Bit-Parallel LCS-length Computation Revisited, 2004), in the band that a
bound of the distance allows: n elements at distance d cost n steps on 2 d bits.
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
"""One element in this many is expected to differ; more differences cost a second pass."""
_LEAST_BLOCK: Final = 256
"""The least number of rows before the band moves."""
_STRIDE: Final = 32
_MOST_BITS: Final = 1 << 33
"""The most memory for the states of one alignment: 1 GiB."""


class TooDifferentError(Exception):
    """Two sequences have so little in common that aligning them would take too much memory."""


class Supersequence(NamedTuple):
    """A sequence that contains several others; elements that minimal alignments pair occur once."""

    tokens: Tokens
    ambiguous: frozenset[int]
    """Positions of elements that other minimal alignments pair differently."""


class Embedding(NamedTuple):
    """Where the elements of a sequence are in its supersequence."""

    places: npt.NDArray[np.int64]
    """Ascending; the first of several embeddings."""
    ambiguous: set[int]
    """Places in the supersequence that only some embeddings use."""


def common_supersequence(sequences: Iterable[Tokens]) -> Supersequence:
    """Return a sequence that contains all: the longest, extended by what the others have.

    Raises `TooDifferentError`.
    """
    longest, *others = sorted(dict.fromkeys(sequences), key=lambda sequence: -len(sequence))
    supersequence = Supersequence(longest, frozenset())
    for sequence in others:
        if _first_embedding(supersequence.tokens, sequence) is None:
            supersequence = _joined(supersequence, sequence)
    return supersequence


def embed(supersequence: Tokens, sequence: Tokens) -> Embedding:
    """Return where `sequence` is in `supersequence`. Raises ValueError if it is not."""
    if supersequence == sequence:
        return Embedding(np.arange(len(supersequence)), set())
    first = _first_embedding(supersequence, sequence)
    mirrored = _first_embedding(supersequence[::-1], sequence[::-1])
    if first is None or mirrored is None:
        raise ValueError("the supersequence does not contain the sequence")
    places = np.array(first, np.int64)
    last = len(supersequence) - 1 - np.array(mirrored, np.int64)[::-1]
    unequal = np.flatnonzero(places != last).tolist()
    ambiguous, _ = _ambiguous(supersequence, sequence, first, range(len(first)), unequal)
    return Embedding(places, ambiguous)


def _first_embedding(supersequence: Tokens, sequence: Tokens) -> list[int] | None:
    places: list[int] = []
    find, at, number = supersequence.index, 0, 0
    try:
        while number < len(sequence):
            # Most elements follow each other without a gap.
            if supersequence[at : at + _STRIDE] == sequence[number : number + _STRIDE]:
                size = min(_STRIDE, len(sequence) - number)
                places.extend(range(at, at + size))
                at += size
                number += size
                continue
            for token in sequence[number : number + _STRIDE]:
                at = find(token, at) + 1
                places.append(at - 1)
            number += _STRIDE
    except ValueError:
        return None
    return places


def _joined(supersequence: Supersequence, sequence: Tokens) -> Supersequence:
    """Extend a supersequence by what another sequence has."""
    band = _banded(supersequence.tokens, sequence)
    pairs = band.lower()
    places, others = [at for at, _ in pairs], [other for _, other in pairs]
    # All minimal alignments have the same number of pairs, in total and before each certain pair.
    both = enumerate(zip(pairs, band.upper(), strict=True))
    unequal = [at for at, (one, other) in both if one != other]
    ambiguous, beyond = _ambiguous(supersequence.tokens, sequence, places, others, unequal)
    ambiguous |= supersequence.ambiguous
    merged: list[int] = []
    ambiguous_positions: set[int] = set()

    def add(tokens: Tokens, start: int, end: int, ambiguous: set[int]) -> None:
        if ambiguous:
            shift = len(merged) - start
            ambiguous_positions.update(at + shift for at in range(start, end) if at in ambiguous)
        merged.extend(tokens[start:end])

    done, used = 0, 0
    for at, other in [*pairs, (len(supersequence.tokens), len(sequence))]:
        if other > used:
            add(supersequence.tokens, done, at, ambiguous)
            add(sequence, used, other, beyond)
            done = at
        used = other + 1
    add(supersequence.tokens, done, len(supersequence.tokens), ambiguous)
    return Supersequence(tuple(merged), frozenset(ambiguous_positions))


def _ambiguous(
    first: Tokens,
    second: Tokens,
    places: Sequence[int],
    others: Sequence[int],
    unequal: Sequence[int],
) -> tuple[set[int], set[int]]:
    """Return the positions in both sequences that some minimal alignment pairs differently.

    One extreme alignment pairs `places` with `others`; `unequal` numbers the pairs that the other
    extreme does not have.
    """
    ambiguous: tuple[set[int], set[int]] = (set(), set())
    for start, end in _stretches(unequal):
        i, j = (places[start - 1] + 1, others[start - 1] + 1) if start else (0, 0)
        after = end < len(places)
        next_i, next_j = (places[end], others[end]) if after else (len(first), len(second))
        first_part, second_part = first[i:next_i], second[j:next_j]
        shared = set(first_part).intersection(second_part)
        ambiguous[0].update(i + at for at, token in enumerate(first_part) if token in shared)
        ambiguous[1].update(j + at for at, token in enumerate(second_part) if token in shared)
    return ambiguous


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
    # The band's alignment is valid, so the minimal distance is at most its distance.
    return band if band.distance <= bound else _Band(columns, rows, band.distance)


class _Band:
    """The recurrence, row by row, on the columns near the diagonal.

    A state has a bit for each of these columns: 0 where one more column gives one more pair.
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
        pairs: list[Pair] = []
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
                    pairs.append((column, row))
        pairs.reverse()
        return pairs

    def upper(self) -> list[Pair]:
        """Return the minimal alignment whose pairs are in the first rows possible."""
        pairs: list[Pair] = []
        columns, rows, height = self._columns, self._rows, self._height
        column, row = len(columns), len(rows)
        while row and column:
            top = (row - 1) // height * height
            start, states = self._blocks[top // height]
            while row > top and column:
                # A row adds a pair to the columns from the first changed bit to the second, from
                # the third to the fourth, and so on.
                changed = states[row - top] ^ states[row - top - 1]
                before = changed & ((1 << max(column - start, 0)) - 1)
                if not before.bit_count() & 1:
                    row -= 1
                elif columns[column - 1] == rows[row - 1]:
                    row -= 1
                    column -= 1
                    pairs.append((column, row))
                else:
                    column -= 1
        pairs.reverse()
        return pairs


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
