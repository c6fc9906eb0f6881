"""The table communication of a torch profile: NCCL's kernels, gloo's ranges, calls alone."""

from __future__ import annotations

from typing import Any

import polars as pl

from harness import tables
from harness.readers.collectives import ProcessGroups, communication, process_groups

NOTHING = tables.empty("kernels")
ONE = ProcessGroups(gloo=("0",))


def ranges(*rows: tuple[str, int, int, Any, Any]) -> pl.DataFrame:
    columns = ("name", "start_ns", "duration_ns", "input_shapes", "input_dtypes")
    of_rows = {name: [row[place] for row in rows] for place, name in enumerate(columns)}
    return tables.frame("operators", of_rows | {"rank": [1] * len(rows), "step": [4] * len(rows)})


REDUCED = ("gloo:all_reduce", 50, 20, [[10, 3]], ["float"])
CALLED = ("c10d::allreduce_", 40, 5, [[10, 3]], ["TensorList[1]"])


def test_gloos_ranges_are_collectives_and_the_calls_behind_them_are_not_counted_twice() -> None:
    several = ("gloo:all_to_all", 10, 5, [[4], [2]], ["double", "c10::BFloat16"])
    table = communication(NOTHING, ranges(REDUCED, CALLED, several), ONE)
    assert table is not None
    shown = ("step", "rank", "name", "type", "group", "start_ns", "duration_ns", "bytes")
    assert table.select(shown).rows() == [
        (4, 1, "gloo:all_to_all", "alltoall", "0", 10, 5, 36),
        (4, 1, "gloo:all_reduce", "allreduce", "0", 50, 20, 120),
    ]
    assert table["transit_ns"].to_list() == table["wait_ns"].to_list() == [None, None]


def test_with_several_groups_none_is_named_and_their_number_is() -> None:
    table = communication(NOTHING, ranges(REDUCED), ProcessGroups(gloo=("0", "7")))
    assert table is not None
    assert table.select("group", "groups").rows() == [(None, 2)]


def test_calls_alone_are_collectives_of_unknown_duration() -> None:
    table = communication(NOTHING, ranges(CALLED, ("aten::add", 1, 1, [], [])), ONE)
    assert table is not None
    assert table.select("type", "start_ns", "duration_ns").rows() == [("allreduce", 40, None)]


def test_sizes_that_are_not_known_are_null() -> None:
    odd = [("gloo:barrier", 1, 1, None, None), ("gloo:send", 2, 1, [[3]], ["quint8"])]
    table = communication(NOTHING, ranges(*odd), ONE)
    assert table is not None
    assert table["bytes"].to_list() == [None, None]


def test_kernels_keep_the_group_and_the_members_that_they_name() -> None:
    kernels = tables.frame(
        "kernels",
        {
            "name": ["ncclDevKernel_AllReduce_Sum_f32_RING_LL", "ncclDevKernel_Broadcast_RING"],
            "start_ns": [1, 9],
            "duration_ns": [5, 6],
            "Collective name": ["allreduce", None],
            "Process Group Name": ["12", None],
            "Process Group Ranks": [[0, 1], None],
            "In msg nelems": [100, None],
            "dtype": ["BFloat16", None],
        },
    )
    table = communication(kernels, ranges(CALLED), ProcessGroups(nccl=("0", "12")))
    assert table is not None
    assert table.select("type", "group", "group_ranks", "groups", "bytes").rows() == [
        ("allreduce", "12", "[0, 1]", None, 200),
        ("broadcast", None, None, 2, None),
    ]


def test_a_profile_without_collectives_has_no_table() -> None:
    assert communication(NOTHING, ranges(("aten::add", 1, 1, [], [])), ONE) is None


def test_the_head_of_a_trace_names_the_groups() -> None:
    configs = [
        {"pg_name": "0", "backend_config": "cpu:gloo,cuda:nccl"},
        {"pg_name": "1", "backend_config": "cuda:nccl"},
        "no group",
    ]
    head = {"distributedInfo": {"rank": 0, "pg_config": configs}}
    assert process_groups(head) == ProcessGroups(gloo=("0",), nccl=("0", "1"))
    assert process_groups({"distributedInfo": 3}) == ProcessGroups()
