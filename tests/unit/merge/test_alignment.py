"""Alignment: minimal, whole, and exactly as certain as all minimal alignments together are."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.merge import alignment
from harness.merge.alignment import TooDifferentError, common_supersequence, embed

Pairs = set[tuple[int, int]]

few_tokens = st.integers(1, 4).flatmap(
    lambda kinds: st.lists(st.integers(0, kinds - 1), max_size=9).map(tuple)
)


@st.composite
def edited(draw: st.DrawFn, length: int = 40) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A sequence of a few tokens, and the same with some of them left out and some put in."""
    first = draw(st.lists(st.integers(0, 3), min_size=1, max_size=length))
    second = list(first)
    for at in draw(st.lists(st.integers(0, length), max_size=3)):
        del second[at : at + 1]
    for at, token in draw(
        st.lists(st.tuples(st.integers(0, length), st.integers(0, 3)), max_size=2)
    ):
        second.insert(at, token)
    return tuple(first), tuple(second)


def lengths(first: tuple[int, ...], second: tuple[int, ...]) -> list[list[int]]:
    """The longest common subsequence's length of each two prefixes."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = max(
                table[i][j + 1], table[i + 1][j], table[i][j] + (one == other)
            )
    return table


def certain(first: tuple[int, ...], second: tuple[int, ...]) -> Pairs:
    """The pairs that every minimal alignment has, by looking at all of them."""
    before = lengths(first, second)
    after = lengths(first[::-1], second[::-1])
    most = before[-1][-1]
    ranked: dict[int, Pairs] = defaultdict(set)
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            rest = after[len(first) - i - 1][len(second) - j - 1]
            if one == other and before[i][j] + 1 + rest == most:
                ranked[before[i][j]].add((i, j))
    return {pair for pairs in ranked.values() if len(pairs) == 1 for pair in pairs}


def paired(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[Pairs, Pairs]:
    """What the whole of two sequences pairs, and what of it is certain."""
    supersequence = common_supersequence([first, second])
    one, other = embed(supersequence.tokens, first), embed(supersequence.tokens, second)
    ambiguous = supersequence.ambiguous | one.ambiguous | other.ambiguous
    here = {place: at for at, place in enumerate(one.places)}
    there = {place: at for at, place in enumerate(other.places)}
    pairs = {place: (here[place], there[place]) for place in here.keys() & there.keys()}
    return set(pairs.values()), {pair for place, pair in pairs.items() if place not in ambiguous}


@given(few_tokens, few_tokens)
@settings(max_examples=600)
def test_nothing_is_certain_that_another_minimal_alignment_pairs_otherwise(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    pairs, sure = paired(first, second)
    assert len(pairs) == lengths(first, second)[-1][-1]
    assert sure <= certain(first, second)


@given(edited())
@settings(max_examples=300)
def test_in_narrow_bands_of_short_blocks_too(pair: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_LEAST_BOUND", 1)
        patch.setattr(alignment, "_LIKELY", 10**9)
        patch.setattr(alignment, "_LEAST_BLOCK", 2)
        pairs, sure = paired(*pair)
    assert len(pairs) == lengths(*pair)[-1][-1]
    assert sure <= certain(*pair)


@given(edited(), st.data())
def test_of_a_sequence_in_one_that_holds_it_exactly_the_certain_pairs_are_certain(
    pair: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    supersequence, _ = pair
    gone = data.draw(st.sets(st.integers(0, len(supersequence) - 1), max_size=4))
    part = tuple(token for at, token in enumerate(supersequence) if at not in gone)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_STRIDE", 3)
        embedding = embed(supersequence, part)
    assert [supersequence[at] for at in embedding.places] == list(part)
    assert list(embedding.places) == sorted(set(embedding.places))
    sure = {
        (place, at) for at, place in enumerate(embedding.places) if place not in embedding.ambiguous
    }
    assert sure == certain(supersequence, part)


@given(st.lists(few_tokens, min_size=1, max_size=5))
def test_a_whole_holds_every_sequence_whatever_their_order(
    sequences: list[tuple[int, ...]],
) -> None:
    supersequence = common_supersequence(sequences)
    for sequence in sequences:
        assert embed(supersequence.tokens, sequence)
    assert len(supersequence.tokens) <= sum(map(len, sequences))
    assert supersequence.ambiguous <= set(range(len(supersequence.tokens)))


def test_which_of_equal_neighbours_is_missing_is_ambiguous_and_no_more() -> None:
    embedding = embed((1, 2, 2, 3), (1, 2, 3))
    assert (list(embedding.places), embedding.ambiguous) == ([0, 1, 3], {1, 2})


def test_a_missing_layer_of_equal_ones_makes_all_of_them_ambiguous() -> None:
    layer = (1, 2, 3)
    embedding = embed((0, *layer * 4, 9), (0, *layer * 3, 9))
    assert embedding.ambiguous == set(range(1, 13))


def test_what_is_in_one_only_is_not_ambiguous() -> None:
    alone = embed((1, 7, 2), (1, 2))
    assert (list(alone.places), alone.ambiguous) == ([0, 2], set())
    supersequence = common_supersequence([(1, 7, 2, 3), (1, 2, 8, 3)])
    assert supersequence.tokens == (1, 7, 2, 8, 3)
    assert not supersequence.ambiguous


def test_of_two_that_changed_places_either_may_be_the_one_that_was_moved() -> None:
    supersequence = common_supersequence([(1, 5, 6, 2), (1, 6, 5, 2)])
    assert len(supersequence.tokens) == 5
    inner = {at for at, token in enumerate(supersequence.tokens) if token in {5, 6}}
    assert supersequence.ambiguous == inner


def test_what_was_ambiguous_stays_so_when_more_is_added() -> None:
    supersequence = common_supersequence(
        [(1, 5, 6, 2, 8, 9, 9, 9), (1, 6, 5, 2, 8, 9, 9), (1, 5, 7)]
    )
    assert 7 in supersequence.tokens
    assert {supersequence.tokens[at] for at in supersequence.ambiguous} >= {5, 6}


def test_a_sequence_that_is_not_contained_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not contain"):
        embed((1, 2), (2, 1))


def test_sequences_without_likeness_are_refused_before_they_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alignment, "_MOST_BITS", 1 << 20)
    alike = tuple(range(1000))
    assert len(common_supersequence([alike, (*alike[:500], 5000, *alike[501:])]).tokens) == 1001
    with pytest.raises(TooDifferentError):
        common_supersequence([alike, tuple(range(1000, 2000))])
