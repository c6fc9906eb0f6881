"""Two sides from their folders to the answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.capture.provenance import RanProgram
from harness.capture.run_record import RankResult, Timing
from harness.capture.writer import this_process
from harness.comparison.pipeline import compare
from harness.comparison.sides import sides
from harness.errors import RefusedError
from harness.settings.request import Compare
from tests.support.compared import compared_run, record, side

SETTINGS = Compare()
BASE = [10.0, 10.1, 9.9, 10.05, 9.95]
SLOWER = [step * 1.1 for step in BASE]


def refusal(*paths: list[Path]) -> str:
    with pytest.raises(RefusedError) as refused:
        compare(sides(*paths), SETTINGS)
    return str(refused.value)


def test_a_slower_side_is_slower_and_its_operator_comes_first(tmp_path: Path) -> None:
    usual = ("aten::add", [[4, 8]], "float", 900_000)
    base = side(tmp_path / "a", BASE, operators=[usual, ("aten::mm", [[4, 8]], "float", 1_000_000)])
    slow = side(
        tmp_path / "b", SLOWER, operators=[usual, ("aten::mm", [[4, 8]], "float", 2_000_000)]
    )
    found = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS)
    assert found.times is not None
    assert (found.times.answer, found.times.kind) == ("slower", "unprofiled")
    assert found.times.ratio == pytest.approx(1.1)
    assert (found.times.candidate_ns, found.times.base_ns) == (11e6, 10e6)
    (operators,) = found.attributions
    assert [(row.name, row.contribution_ns) for row in operators.rows] == [
        ("aten::mm", 1_000_000),
        ("aten::add", 0),
    ]
    assert operators.outside_ns == -1_000_000
    assert [run.folder for run in found.candidate] == [str(path) for path in slow]
    assert [run.folder for run in found.base] == [str(path) for path in base]
    assert found.differences == ()


def test_one_run_each_is_not_testable(tmp_path: Path) -> None:
    compared_run(tmp_path / "a"), compared_run(tmp_path / "b", 12.0)
    times = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS).times
    assert times is not None
    assert times.ratio == pytest.approx(1.2)
    assert (times.answer, times.interval, times.p_value) == ("not testable", None, None)
    assert "one run" in times.reason


def test_runs_of_several_requests_are_no_sample(tmp_path: Path) -> None:
    side(tmp_path / "a", BASE)
    compared_run(tmp_path / "b" / "1", 12.0)
    for number, settings in enumerate(({"workload.batch": 9}, {"workload.batch": 10})):
        compared_run(tmp_path / "b" / str(number), 12.0, requested=record().requested | settings)
    times = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS).times
    assert times is not None
    assert times.answer == "not testable"
    assert "workload.batch" in times.reason


def test_runs_that_differ_in_their_seed_are_repetitions(tmp_path: Path) -> None:
    side(tmp_path / "a", BASE)
    for number, step in enumerate(SLOWER):
        requested = record().requested | {"seed": number}
        compared_run(tmp_path / "b" / str(number), step, requested=requested)
    times = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS).times
    assert times is not None
    assert times.answer == "slower"


def test_what_differs_is_said(tmp_path: Path) -> None:
    requested = record().requested
    program = RanProgram(source="train.py", args=(), folder="/x", sha256="a" * 64, commit="b" * 40)
    later = RanProgram(
        source="train.py", args=(), folder="/x", sha256="c" * 64, commit="b" * 40, is_changed=True
    )
    compared_run(tmp_path / "a", program=program, requested=requested | {"merge.match": "strict"})
    compared_run(
        tmp_path / "b",
        program=later,
        host="there",
        versions={"harness": "0.1.0", "torch": "2.14.0"},
        requested=requested | {"workload.batch": 16},
    )
    found = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS)
    assert [(item.kind, item.what, item.candidate, item.base) for item in found.differences] == [
        ("machine", "host", ("there",), ("here",)),
        ("program", "its file (sha256)", ("c" * 12,), ("a" * 12,)),
        ("program", "its commit", ("b" * 12 + " and changes",), ("b" * 12,)),
        ("version", "torch", ("2.14.0",), ("2.13.0",)),
        ("setting", "workload.batch", ("16",), ("8",)),
    ]
    assert any("different machines" in note for note in found.notes)


def test_both_sides_use_the_same_kind_of_steps(tmp_path: Path) -> None:
    profiled = {"active": Timing(steps=3, median_ns=15_000_000, min_ns=1, max_ns=20_000_000)}
    both = record().timing | profiled
    compared_run(tmp_path / "a", timing=both), compared_run(tmp_path / "b", timing=profiled)
    times = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS).times
    assert times is not None
    assert (times.kind, times.ratio) == ("profiled", 1.0)
    compared_run(tmp_path / "c")
    found = compare(sides([tmp_path / "b"], [tmp_path / "c"]), SETTINGS)
    assert found.times is None
    assert "unprofiled steps alone" in found.no_times


@pytest.mark.parametrize(
    ("mine", "said"), [(True, "are emulated"), (False, "one side is emulated")]
)
def test_invented_times_are_not_compared(tmp_path: Path, mine: bool, said: str) -> None:
    compared_run(tmp_path / "a", emulated=True), compared_run(tmp_path / "b", emulated=mine)
    found = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS)
    assert (found.times, found.emulated) == (None, True)
    assert said in found.no_times
    assert found.attributions


def test_sides_that_ran_one_after_the_other_are_warned_of(tmp_path: Path) -> None:
    for number in range(2):
        compared_run(tmp_path / "a" / str(number), began_ns=10 + number * 10)
        compared_run(tmp_path / "b" / str(number), began_ns=50 + number * 10)
        compared_run(tmp_path / "c" / str(number), began_ns=15 + number * 10)
    apart = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS)
    assert any("one side ran before the other" in note for note in apart.notes)
    for mine, theirs in (("c", "a"), ("a", "c")):
        in_turn = compare(sides([tmp_path / mine], [tmp_path / theirs]), SETTINGS)
        assert not any("one side ran before the other" in note for note in in_turn.notes)


def test_the_tables_of_a_job_of_several_ranks_are_those_of_a_rank(tmp_path: Path) -> None:
    for name in ("a", "b"):
        compared_run(tmp_path / name / "ranks" / "1", rank=1, world_size=2)
        ranks = tuple(
            RankResult(rank=rank, records=rank == 1, status="ok", verdict="delivered")
            for rank in (0, 1)
        )
        compared_run(tmp_path / name, world_size=2, ranks=ranks)
    found = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS)
    assert "operators and kernels are those of rank 1" in found.notes
    assert len(found.candidate) == 1


def test_what_has_no_result_is_left_out_and_named(tmp_path: Path) -> None:
    side(tmp_path / "a", BASE), side(tmp_path / "b", BASE)
    compared_run(tmp_path / "b" / "failed", status="failed", exit_code=1, reason="it raised")
    (tmp_path / "b" / "broken").mkdir()
    (tmp_path / "b" / "broken" / "run.json").write_text("{")
    found = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS)
    left = {Path(item.folder).name: item.reason for item in found.left_out}
    assert left["failed"] == "it raised"
    assert "no record of a run" in left["broken"]
    assert len(found.candidate) == 5


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    compared_run(tmp_path / "a"), compared_run(tmp_path / "going", status="running")
    (tmp_path / "empty").mkdir()
    (tmp_path / "trace.json").write_text("{}")
    compared_run(tmp_path / "bad", status="failed", exit_code=1, reason="it raised")
    base = [tmp_path / "a"]
    assert "there is no such folder" in refusal([tmp_path / "none"], base)
    assert "there is no run in this folder" in refusal([tmp_path / "empty"], base)
    assert "python -m harness read" in refusal([tmp_path / "trace.json"], base)
    assert "this run is on both sides" in refusal(base, base)
    assert "no run of this side has a result" in refusal([tmp_path / "bad"], base)
    all_at_once = refusal([tmp_path / "none", tmp_path / "empty"], [tmp_path / "trace.json"])
    assert all_at_once.count("fix:") == 3


def test_a_run_that_goes_on_is_refused(tmp_path: Path) -> None:
    compared_run(tmp_path / "a")
    compared_run(tmp_path / "b", status="running", exit_code=None, writer=this_process())
    assert f"it is still running (process {os.getpid()})" in refusal(
        [tmp_path / "b"], [tmp_path / "a"]
    )


def test_sides_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    compared_run(tmp_path / "a"), compared_run(tmp_path / "b", None, operators=())
    assert "nothing in common" in refusal([tmp_path / "b"], [tmp_path / "a"])


def test_runs_of_two_programs_are_no_repetitions(tmp_path: Path) -> None:
    side(tmp_path / "a", BASE)
    for number, step in enumerate(SLOWER):
        program = RanProgram(source="train.py", args=(), folder="/x", sha256=str(number) * 64)
        compared_run(tmp_path / "b" / str(number), step, program=program)
    times = compare(sides([tmp_path / "b"], [tmp_path / "a"]), SETTINGS).times
    assert times is not None
    assert times.answer == "not testable"
    assert "its file (sha256)" in times.reason
