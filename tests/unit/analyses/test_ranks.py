"""Several ranks compared on made tables, to the nanosecond."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from harness import tables
from harness.analyses.collectives import Collectives, matched
from harness.analyses.ranks import Across, RankTables, across, joined, of_rank

# rank, step, type, start_ns, duration_ns; each clock has its own beginning
Row = tuple[int, int | None, str, int, int | None]


def made(rows: list[Row], **columns: list[Any]) -> pl.DataFrame:
    names = ("rank", "step", "type", "start_ns", "duration_ns")
    of_rows = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return tables.frame("communication", of_rows | columns)


def ids(found: Collectives) -> list[tuple[Any, ...]]:
    return found.table.select("collective", "rank", "start_ns").rows()


TWO: list[Row] = [
    (0, 1, "allreduce", 100, 30),
    (0, 1, "broadcast", 140, 12),
    (0, 2, "allreduce", 200, 10),
    (1, 1, "allreduce", 9_020, 10),
    (1, 1, "broadcast", 9_040, 12),
    (1, 2, "allreduce", 9_100, 25),
]


def test_communication_is_the_shortest_duration_and_waiting_the_rest() -> None:
    table = matched(made(TWO), [0, 1]).table
    shown = ("collective", "type", "rank", "duration_ns", "communication_ns", "waiting_ns", "last")
    assert table.select(shown).rows() == [
        (0, "allreduce", 0, 30, 10, 20, False),
        (0, "allreduce", 1, 10, 10, 0, True),
        (1, "broadcast", 0, 12, 12, 0, False),
        (1, "broadcast", 1, 12, 12, 0, False),
        (2, "allreduce", 0, 10, 10, 0, True),
        (2, "allreduce", 1, 25, 10, 15, False),
    ]


def test_groups_are_matched_each_within_its_own_ranks() -> None:
    rows: list[Row] = [(rank, 1, "allreduce", rank, 10 + rank) for rank in range(4)]
    found = matched(made(rows, group=["5", "5", "6", "6"]), range(4))
    assert found.table.select("group", "rank", "waiting_ns").rows() == [
        *(("5", 0, 0), ("5", 1, 1), ("6", 2, 0), ("6", 3, 1))
    ]
    alone = matched(made(rows, group=["5", "5", "5", "6"]), range(4))
    assert alone.table["rank"].to_list() == [0, 1, 2]
    assert alone.unequal.is_empty()


def test_one_name_of_several_groups_is_told_apart_by_the_members() -> None:
    rows: list[Row] = [(rank, 1, "allreduce", rank, 10) for rank in range(4)]
    members = ["[0, 1]", "[0, 1]", "[2, 3]", "[2, 3]"]
    found = matched(made(rows, group=["5"] * 4, group_ranks=members), range(4))
    assert found.table["collective"].to_list() == [0, 0, 1, 1]


def test_two_at_once_that_start_in_another_order_are_matched_by_their_sizes() -> None:
    rows: list[Row] = [(rank, 1, "allreduce", start, 5) for rank in (0, 1) for start in (10, 11)]
    found = matched(made(rows, bytes=[400, 8, 8, 400]), [0, 1])
    assert ids(found) == [(0, 0, 10), (0, 1, 11), (1, 0, 11), (1, 1, 10)]


def test_sizes_that_differ_by_rank_are_matched_by_order() -> None:
    rows: list[Row] = [(rank, 1, "alltoall", start, 5) for rank in (0, 1) for start in (10, 11)]
    found = matched(made(rows, bytes=[400, 8, 16, 32]), [0, 1])
    assert ids(found) == [(0, 0, 10), (0, 1, 10), (1, 0, 11), (1, 1, 11)]


def test_unequal_numbers_are_named_and_the_steps_that_agree_are_matched() -> None:
    found = matched(made([*TWO, (1, 3, "allreduce", 9_200, 5)]), [0, 1])
    assert found.unequal.rows() == [(None, "allreduce", "rank 0: 2, rank 1: 3")]
    assert sorted(found.table["step"].to_list()) == [1, 1, 1, 1, 2, 2]


def test_a_rank_without_any_collective_is_unequal_in_the_group_of_all() -> None:
    found = matched(made(TWO), [0, 1, 2])
    assert found.table.is_empty()
    assert found.unequal["counts"].to_list() == [
        "rank 0: 2, rank 1: 2, rank 2: 0",
        "rank 0: 1, rank 1: 1, rank 2: 0",
    ]


def test_gloos_of_several_groups_are_ambiguous_and_calls_alone_have_no_time() -> None:
    found = matched(made(TWO, groups=[2] * 6), [0, 1])
    assert (found.ambiguous, found.table.height, found.unequal.height) == (6, 0, 0)
    untimed = matched(made([(0, 1, "allreduce", 1, None), (1, 1, "allreduce", 1, None)]), [0, 1])
    assert (untimed.untimed, untimed.table.height) == (2, 0)


def test_hccls_names_tell_the_group_where_no_column_does() -> None:
    rows: list[Row] = [(rank, 1, "allreduce", 1, 10 + rank) for rank in (0, 1)]
    found = matched(made(rows, name=["hcom_allReduce__586_0_1"] * 2), [0, 1])
    assert found.table["group"].to_list() == ["586", "586"]


def test_transfers_between_two_ranks_are_no_collectives() -> None:
    rows: list[Row] = [(0, 1, "send", 1, 5), (1, 1, "recv", 1, 9)]
    found = matched(made(rows), [0, 1])
    assert found.table.is_empty()
    assert found.unequal.is_empty()


def compared() -> Across:
    def one(rank: int, walls: tuple[int, int], own: tuple[int, int]) -> RankTables:
        step = {"rank": [rank] * 3, "step": [1, 2, 0], "start_ns": [0, 50, 0]}
        phases = ["active", "active", "baseline"]
        operators = {"rank": [rank] * 4, "step": [1, 2, 1, 1], "start_ns": [0] * 4}
        names = ["aten::mm", "aten::mm", "c10d::allreduce_", "training"]
        given = {
            "steps": tables.frame("steps", step | {"phase": phases, "duration_ns": [*walls, 7]}),
            "communication": made([row for row in TWO if row[0] == rank]),
            "operators": tables.frame(
                "operators", operators | {"name": names, "self_ns": [*own, 1_000, 1_000]}
            ),
            "kernels": tables.empty("kernels"),
        }
        return of_rank(rank, given)

    return across(joined([one(0, (60, 40), (30, 10)), one(1, (50, 50), (10, 10))]))


def test_each_step_has_its_slowest_rank_its_spread_and_its_share_of_waiting() -> None:
    assert compared().steps.rows() == [(1, 1, 20, 60, 20 / 110, 1.5), (2, 0, 15, 50, 15 / 90, 1.0)]


def test_each_rank_has_its_sums() -> None:
    result = compared()
    assert result.ranks.rows() == [
        (0, 2, 3, 32, 20, 0.2, 1, 1, 40),
        (1, 2, 3, 32, 15, 0.15, 1, 1, 20),
    ]
    assert result.rank_steps.rows() == [
        (1, 0, 60, 30, 22, 20, 2),
        (1, 1, 50, 10, 22, 0, 2),
        (2, 0, 40, 10, 10, 0, 1),
        (2, 1, 50, 10, 10, 15, 1),
    ]


def test_where_nothing_is_matched_the_slowest_is_told_by_the_steps_themselves() -> None:
    def one(rank: int, wall: int) -> RankTables:
        steps = {"rank": [rank], "step": [1], "phase": ["active"], "duration_ns": [wall]}
        given = {name: tables.empty(name) for name in ("communication", "operators", "kernels")}
        return of_rank(rank, given | {"steps": tables.frame("steps", steps)})

    result = across(joined([one(0, 60), one(1, 80)]))
    assert result.steps.select("slowest", "spread_ns", "waiting_share").rows() == [(1, 20, None)]


def test_where_waiting_is_not_known_no_rank_is_called_the_slowest() -> None:
    """A rank that waits in an ambiguous collective has a long step, too."""

    def one(rank: int, wall: int) -> RankTables:
        steps = {"rank": [rank], "step": [1], "phase": ["active"], "duration_ns": [wall]}
        rows = made([(rank, 1, "allreduce", 1, wall)], groups=[2])
        given = {name: tables.empty(name) for name in ("operators", "kernels")}
        return of_rank(rank, given | {"steps": tables.frame("steps", steps), "communication": rows})

    result = across(joined([one(0, 60), one(1, 80)]))
    assert result.steps.select("slowest", "spread_ns", "waiting_share").rows() == [(None,) * 3]


KINDS = st.sampled_from(["allreduce", "broadcast", "allgather"])
JOBS = st.lists(st.tuples(KINDS, st.integers(1, 50), st.lists(st.integers(0, 99), min_size=4)))


@given(JOBS, st.integers(2, 4), st.lists(st.integers(-(10**15), 10**15), min_size=4, max_size=4))
def test_waiting_is_found_whatever_the_clocks_say(
    job: list[tuple[str, int, list[int]]], ranks: int, clocks: list[int]
) -> None:
    """A rank arrives late by what is told, and all leave when the last has arrived."""
    rows: list[Row] = []
    now = 0
    for kind, moving, late in job:
        here = late[:ranks]
        end = now + max(here) + moving
        rows += [
            (rank, 1, kind, clocks[rank] + now + here[rank], end - now - here[rank])
            for rank in range(ranks)
        ]
        now = end + 1
    table = matched(made(rows), range(ranks)).table
    expected = [
        (number, rank, moving, max(late[:ranks]) - late[rank])
        for number, (_, moving, late) in enumerate(job)
        for rank in range(ranks)
    ]
    columns = ("collective", "rank", "communication_ns", "waiting_ns")
    assert table.select(columns).rows() == expected
