"""Merge: what is paired is the same kernel, compared with programs whose truth is known."""

from __future__ import annotations

import difflib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from harness import tables
from harness.errors import RefusedError
from harness.merge.join import Joined, merge
from harness.merge.sequences import OPERATORS, Run

LAYER = ("MatMul", "Add", "Add", "Norm", "MatMul", "Gelu", "Cast", "MatMul", "Add", "Norm")
HCOM = "hcom_allReduce_"


class Kernel(Struct, frozen=True):
    """One kernel of the true program."""

    truth: int
    step: int
    stream: int | None
    type: str
    shapes: tuple[tuple[int, ...], ...] | None
    core: str = "AI_CORE"


def program(*, layers: int, steps: int, side: int = 3) -> list[Kernel]:
    """Equal steps of equal layers, a second stream with a few kernels, one all-reduce a step."""
    kernels: list[Kernel] = []

    def add(step: int, stream: int | None, kind: str, *shape: int, core: str = "AI_CORE") -> None:
        shapes = (shape,) if shape else None
        kernels.append(Kernel(len(kernels), step, stream, kind, shapes, core))

    for step in range(steps):
        add(step, 2, "Embedding", 8, 128)
        for layer in range(layers):
            for kind in LAYER:
                add(step, 2, kind, 8, 64)
            if layer % 8 < side:
                add(step, 3, "DSARandomUniform", core="DSA_SQE")
                add(step, 3, "Dropout", 8, 64)
        add(step, 2, "MemSet")
        add(step, 2, "CrossEntropy", 8)
        add(step, None, HCOM, core="HCCL")
    return kernels


def table(
    kernels: Sequence[Kernel],
    *,
    seed: int = 0,
    streams: dict[int, int] | None = None,
    counter: str = "aic_mac_ratio",
    inserted: Sequence[int] = (),
) -> pl.DataFrame:
    """What a run records of kernels, in the order of a device that runs streams side by side."""
    communicator = 100 + seed
    draw = random.Random(seed)
    streams = streams or {}
    lanes: dict[tuple[int, int | None], list[Kernel]] = defaultdict(list)
    for at, kernel in enumerate(kernels):
        if at in inserted:
            # Named by the kernel that follows: the same one in several runs is at the same place.
            truth = kernel.truth
            extra = Kernel(-1 - truth, kernel.step, kernel.stream, f"Autotune{truth}", ((truth,),))
            lanes[kernel.step, kernel.stream].append(extra)
        lanes[kernel.step, kernel.stream].append(kernel)
    rows: list[tuple[int, Kernel]] = []
    clock = 1_700_000_000_000_000_000
    for step in sorted({kernel.step for kernel in kernels}):
        clock += 1_000_000
        for (lane_step, _), lane in lanes.items():
            now = clock + draw.randrange(1000)
            for kernel in lane if lane_step == step else ():
                rows.append((now, kernel))
                now += draw.randrange(1, 900)
    rows.sort(key=lambda row: row[0])
    named = {HCOM: f"{HCOM}_{communicator}_0_1"}
    return tables.frame(
        "kernels",
        {
            "step": [kernel.step for _, kernel in rows],
            "rank": [0] * len(rows),
            "device": [0] * len(rows),
            "stream": [
                None if kernel.stream is None else streams.get(kernel.stream, kernel.stream)
                for _, kernel in rows
            ],
            "name": [named.get(kernel.type, f"aclnn{kernel.type}") for _, kernel in rows],
            "type": [kernel.type for _, kernel in rows],
            "core": [kernel.core for _, kernel in rows],
            "start_ns": [now for now, _ in rows],
            "duration_ns": [draw.randrange(1_000, 90_000) for _ in rows],
            "input_shapes": [
                kernel.shapes and [list(shape) for shape in kernel.shapes] for _, kernel in rows
            ],
            "aic_total_cycles": [draw.randrange(10**6) for _ in rows],
            counter: [draw.random() for _ in rows],
            "truth": [kernel.truth for _, kernel in rows],
        },
    )


def check(joined: Joined, runs: Sequence[Run]) -> int:
    """Nothing is lost, nothing certain is wrong; return how many rows are ambiguous."""
    truths = {}
    for run in runs:
        rows = joined.table[f"row@{run.label}"]
        kept = rows.drop_nulls()
        assert sorted(kept) == list(range(len(run.table)))
        truths[run.label] = run.table["truth"].gather(rows)
    ambiguous = 0
    for doubt, *row_truths in zip(joined.table["ambiguous"], *truths.values(), strict=True):
        paired = {truth for truth in row_truths if truth is not None}
        ambiguous += doubt
        assert doubt or len(paired) == 1
    assert joined.unmatched.height == joined.table.filter(pl.col("runs") < len(runs)).height
    return ambiguous


@st.composite
def sweeps(draw: st.DrawFn) -> list[Run]:
    """Runs of one program that lost few kernels each, none of them lost by two."""
    whole = program(layers=draw(st.integers(1, 12)), steps=draw(st.integers(1, 3)))
    count = draw(st.integers(3, 5))
    lost = draw(
        st.lists(st.integers(0, len(whole) - 1), unique=True, max_size=len(whole) // 20 + 1)
    )
    runs = []
    for number in range(count):
        gone = set(lost[number::count])
        kept = [kernel for kernel in whole if kernel.truth not in gone]
        inserted = draw(st.lists(st.integers(0, len(kept) - 1), max_size=2))
        renumbered = draw(st.sampled_from([{}, {2: 7, 3: 9}, {2: 3, 3: 2}]))
        run_table = table(
            kept,
            seed=draw(st.integers(0, 99)),
            streams=renumbered,
            counter=f"counter{number}",
            inserted=inserted,
        )
        runs.append(Run(label=f"run{number}", table=run_table))
    return runs


@given(sweeps())
@settings(max_examples=150, deadline=None)
def test_what_is_certain_is_right_and_nothing_is_lost(runs: list[Run]) -> None:
    check(merge(runs, match="aligned"), runs)


@given(sweeps(), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_runs_is_irrelevant(runs: list[Run], draw: random.Random) -> None:
    one = merge(runs, match="aligned")
    other = merge(draw.sample(runs, len(runs)), match="aligned")
    assert one.table.equals(other.table)
    assert one.unmatched.equals(other.unmatched)
    assert one.runs == other.runs


@given(
    st.integers(1, 12),
    st.lists(st.sampled_from([{}, {2: 7, 3: 9}, {2: 3, 3: 2}]), min_size=2, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_strict_pairs_all_of_what_is_the_same(
    layers: int, renumbered: list[dict[int, int]]
) -> None:
    whole = program(layers=layers, steps=2)
    runs = [
        Run(label=f"run{at}", table=table(whole, seed=at, streams=streams))
        for at, streams in enumerate(renumbered)
    ]
    joined = merge(runs, match="strict")
    assert check(joined, runs) == 0
    assert joined.table.height == len(whole)
    assert joined.unmatched.is_empty()


def test_strict_refuses_and_names_the_first_difference() -> None:
    whole = program(layers=2, steps=2)
    runs = [
        Run(label="one", table=table(whole)),
        Run(label="other", table=table([kernel for kernel in whole if kernel.truth != 5])),
    ]
    with pytest.raises(RefusedError) as refused:
        merge(runs, match="strict")
    (problem,) = refused.value.problems
    assert problem.setting == "merge.match"
    assert "one and other differ in rank 0, step 0, stream 2: at position 5" in problem.reason
    assert "merge.match=aligned" in problem.fix


def test_what_one_run_lost_is_listed_with_run_and_place() -> None:
    whole = program(layers=4, steps=3)
    gone = [kernel for kernel in whole if kernel.type == "CrossEntropy"][1].truth
    runs = [Run(label=label, table=table(whole, seed=at)) for at, label in enumerate(("A", "B"))]
    short = [kernel for kernel in whole if kernel.truth != gone]
    runs.append(Run(label="C", table=table(short, seed=7)))
    joined = merge(runs, match="aligned")
    (row,) = joined.unmatched.iter_rows(named=True)
    assert (row["type"], row["step"], row["stream"]) == ("CrossEntropy", 1, 2)
    assert (row["found_in"], row["missing_in"]) == (["A", "B"], ["C"])
    assert not row["ambiguous"]
    assert {laid.label: (laid.unmatched, laid.missing) for laid in joined.runs} == {
        "A": (1, 0),
        "B": (1, 0),
        "C": (0, 1),
    }


def test_every_runs_own_figures_and_each_counter_once() -> None:
    whole = program(layers=1, steps=1)
    runs = [
        Run(label="A", table=table(whole, seed=1, counter="aic_mac_ratio")),
        Run(label="B", table=table(whole, seed=2, counter="aic_l2_read_bw(GB/s)")),
    ]
    joined = merge(runs, match="strict").table
    for run in runs:
        run_rows = run.table[joined[f"row@{run.label}"]]
        for name in ("duration_ns", "aic_total_cycles"):
            assert joined[f"{name}@{run.label}"].to_list() == run_rows[name].to_list()
    first, second = (run.table[joined[f"row@{run.label}"]] for run in runs)
    assert joined["aic_mac_ratio"].to_list() == first["aic_mac_ratio"].to_list()
    name = "aic_l2_read_bw(GB/s)"
    assert joined[name].to_list() == second[name].to_list()
    assert joined["position"].to_list()[:2] == [0, 0]


def test_exact_nanoseconds() -> None:
    whole = program(layers=1, steps=1)
    kernels = table(whole).with_columns(duration_ns=pl.lit(2**62 + 1))
    joined = merge([Run(label="A", table=kernels), Run(label="B", table=kernels)], match="strict")
    assert set(joined.table["duration_ns@B"]) == {2**62 + 1}


def test_kernels_outside_of_steps_are_left_out_and_counted() -> None:
    whole = program(layers=1, steps=1)
    kernels = table(whole).with_columns(
        step=pl.when(pl.col("type") == "MemSet").then(None).otherwise("step")
    )
    joined = merge(
        [Run(label="A", table=kernels), Run(label="B", table=table(whole))], match="aligned"
    )
    assert [laid.outside for laid in joined.runs] == [1, 0]
    assert joined.unmatched["missing_in"].to_list() == [["A"]]


def test_a_type_that_lost_its_shapes_in_one_run_is_paired_in_order() -> None:
    whole = program(layers=2, steps=1)
    bare = table(whole, seed=3).with_columns(
        input_shapes=pl.when(pl.col("type") != "Gelu").then("input_shapes")
    )
    runs = [Run(label="A", table=bare), Run(label="B", table=table(whole, seed=4))]
    joined = merge(runs, match="strict")
    assert check(joined, runs) == 0
    gelu = joined.table.filter(pl.col("type") == "Gelu")
    assert gelu["input_shapes"].to_list() == [[[8, 64]]] * 2


def test_streams_that_ran_the_same_may_be_one_another_if_they_were_renumbered() -> None:
    alike = [
        Kernel(at, 0, stream, kind, ((8,),))
        for at, (stream, kind) in enumerate((stream, kind) for stream in (2, 3) for kind in LAYER)
    ]
    runs = [
        Run(label="A", table=table(alike)),
        Run(label="B", table=table(alike, streams={2: 11, 3: 12})),
    ]
    assert merge(runs, match="strict").table["ambiguous"].all()
    same = [Run(label="A", table=table(alike)), Run(label="B", table=table(alike, seed=5))]
    assert not merge(same, match="strict").table["ambiguous"].any()


def test_renumbered_streams_are_told() -> None:
    whole = program(layers=4, steps=2)
    runs = [
        Run(label="A", table=table(whole)),
        Run(label="B", table=table(whole, streams={2: 3, 3: 2})),
    ]
    joined = merge(runs, match="strict")
    assert [laid.streams for laid in joined.runs] == [{}, {"3": "2", "2": "3"}]
    assert check(joined, runs) == 0


def test_names_break_ties() -> None:
    rows = [("Cast1", "Cast"), ("Cast2", "Cast"), ("Cast3", "Cast")]

    def named(kept: Sequence[tuple[str, str]]) -> pl.DataFrame:
        count = len(kept)
        return tables.frame(
            "kernels",
            {
                "step": [0] * count,
                "rank": [0] * count,
                "device": [0] * count,
                "stream": [2] * count,
                "name": [name for name, _ in kept],
                "type": [kind for _, kind in kept],
                "core": ["AI_CORE"] * count,
                "start_ns": range(count),
                "duration_ns": [5] * count,
                "input_shapes": [[[4]]] * count,
            },
        )

    runs = [Run(label="A", table=named(rows)), Run(label="B", table=named([rows[0], rows[2]]))]
    joined = merge(runs, match="aligned")
    assert joined.unmatched["name"].to_list() == ["Cast2"]
    assert not joined.table["ambiguous"].any()
    # Names that are numbered anew in each run say nothing.
    other = named([("Cast7", "Cast"), ("Cast8", "Cast")])
    joined = merge([runs[0], Run(label="B", table=other)], match="aligned")
    assert joined.unmatched.height == 1


def test_without_types_names_and_shapes_tell_rows_apart() -> None:
    operators = tables.frame(
        "operators",
        {
            "id": range(4),
            "step": [0] * 4,
            "thread": [1, 1, 2, 1],
            "name": ["aten::mm", "aten::mm", "aten::add", "aten::mm"],
            "input_shapes": [[[2, 2]], [[4, 4]], [[2]], [[2, 2]]],
            "start_ns": [10, 20, 5, 30],
            "duration_ns": [4, 5, 6, 7],
            "cycles": [1, 2, 3, 4],
        },
    )
    short = operators.filter(pl.col("id") != 1).rename({"cycles": "instructions"})
    runs = [Run(label="cycles", table=operators), Run(label="instructions", table=short)]
    joined = merge(runs, match="aligned", layout=OPERATORS)
    assert joined.table["name"].to_list() == ["aten::mm", "aten::mm", "aten::mm", "aten::add"]
    assert joined.table["instructions"].to_list() == [1, None, 4, 3]
    assert joined.table["thread"].to_list() == [1, 1, 1, 2]
    assert joined.unmatched["missing_in"].to_list() == [["instructions"]]
    # Every run has its own times, told or not.
    assert {"self_ns@cycles", "self_ns@instructions"} <= set(joined.table.columns)


# What is not to be done, measured on the same programs.


def mispaired_by_counting(one: pl.DataFrame, other: pl.DataFrame) -> int:
    """Pair the n-th occurrence of a key with the n-th."""

    def numbered(kernels: pl.DataFrame) -> dict[tuple[str, int], int]:
        counts: Counter[str] = Counter()
        truths = {}
        for kind, truth in kernels.filter(stream=2).select("type", "truth").iter_rows():
            counts[kind] += 1
            truths[kind, counts[kind]] = truth
        return truths

    left, right = numbered(one), numbered(other)
    return sum(left[key] != right[key] for key in left.keys() & right.keys())


def mispaired_by_blocks(one: pl.DataFrame, other: pl.DataFrame) -> int:
    """Pair by longest matching blocks."""
    left, right = (kernels.filter(stream=2).select("type", "truth") for kernels in (one, other))
    matcher = difflib.SequenceMatcher(
        None, left["type"].to_list(), right["type"].to_list(), autojunk=False
    )
    return sum(
        left["truth"][block.a + at] != right["truth"][block.b + at]
        for block in matcher.get_matching_blocks()
        for at in range(block.size)
    )


@pytest.mark.parametrize(
    ("layers", "steps"), [(32, 1), (3, 10)], ids=["32 equal layers", "10 equal steps"]
)
def test_where_counting_and_longest_blocks_mispair_in_silence_this_does_not(
    layers: int, steps: int
) -> None:
    whole = program(layers=layers, steps=steps)
    gone = set(range(7, len(whole), 101))
    full, short = (
        table(whole),
        table([kernel for kernel in whole if kernel.truth not in gone], seed=1),
    )
    assert mispaired_by_counting(full, short) > 20
    assert mispaired_by_blocks(full, short) > 20
    runs = [Run(label="full", table=full), Run(label="short", table=short)]
    ambiguous = check(merge(runs, match="aligned"), runs)
    assert ambiguous <= 4 * len(gone)
