"""Which runs can be merged: by what they requested, and how they ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from harness.capture.merge_record import LeftOut
from harness.capture.run_record import Delivery, RunRecord
from harness.capture.sweep_record import SweepJob, SweepRecord
from harness.capture.writer import this_process
from harness.errors import RefusedError
from harness.execution.protocol import write_json
from harness.merge.compatibility import candidates, chosen
from harness.merge.sequences import KERNELS, OPERATORS
from tests.support.run_folders import Columns, run_folder

GROUP = "profiler.experimental.aic_metrics"
EVENTS = "profiler.experimental.performance_events"
REQUESTED = {
    "seed": 0,
    "device.name": "npu",
    "workload.name": "mlp",
    "workload.batch": 8,
    "profiler.experimental.profiler_level": "Level1",
    "execution.timeout_s": None,
    "rehearsal.faults.dropped_kernels": 0,
}


def record(group: str, **changes: Any) -> RunRecord:
    requested = {**REQUESTED, GROUP: group, **changes.pop("requested", {})}
    made = RunRecord(
        status="ok",
        verdict="delivered",
        exit_code=0,
        versions={"torch": "2.13.0"},
        host="here",
        device="npu",
        device_name="Ascend910B",
        emulated=True,
        requested=requested,
    )
    return replace(made, **changes)


def leave(
    folder: Path, made: RunRecord | None, *, table: str = "kernels", step: int | None = 0
) -> Path:
    """Write a run's folder, as far as the merge looks at it."""
    folder.mkdir(parents=True)
    if made is not None:
        rows: Columns = {"step": [step], "name": ["mm"], "start_ns": [1], "duration_ns": [2]}
        ids: Columns = {"id": [0]} if table == "operators" else {}
        run_folder(folder, made, **{table: {**ids, **rows}})
    return folder


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [leave(tmp_path / name, record(name)) for name in ("Memory", "PipeUtilization")]


def refusal(paths: list[Path], match: Any = "aligned") -> list[str]:
    with pytest.raises(RefusedError) as refused:
        chosen(candidates(paths), match)
    return [f"{problem.setting}: {problem.reason}" for problem in refused.value.problems]


def test_runs_that_differ_in_their_counters_belong_together(two: list[Path]) -> None:
    selection = chosen(candidates(two), "aligned")
    assert [run.label for run in selection.runs] == ["Memory", "PipeUtilization"]
    assert [run.table.height for run in selection.runs] == [1, 1]
    assert (selection.layout, selection.left_out, selection.notes) == (KERNELS, (), ())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"requested": {"workload.batch": 16}},
            "workload.batch: the runs differ: 8 in Memory, 16 in L2",
        ),
        ({"requested": {"workload.name": "conv"}}, "workload.name: the runs differ: mlp in Memory"),
        ({"requested": {"seed": 1}}, "seed: the runs differ: 0 in Memory, 1 in L2Cache"),
        (
            {"requested": {"profiler.experimental.profiler_level": "Level2"}},
            "profiler.experimental.profiler_level: the runs differ: Level1 in Memory, Level2 in",
        ),
        ({"device": "cuda"}, "device: the runs differ: npu in Memory, cuda in L2Cache"),
        ({"device_name": "Ascend310P"}, "the device's name: the runs differ: Ascend910B in Memory"),
        ({"emulated": False}, "emulated: the runs differ: True in Memory, False in L2Cache"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    paths = [
        leave(tmp_path / "1", record("Memory")),
        leave(tmp_path / "2", record("L2Cache", **changes)),
    ]
    (problem,) = refusal(paths)
    assert problem.startswith(named)


def test_of_many_differences_some_are_explained_and_more_are_named(tmp_path: Path) -> None:
    other = {f"workload.w{number}": number for number in range(7)}
    paths = [
        leave(tmp_path / "1", record("Memory")),
        leave(tmp_path / "2", record("L2Cache", requested=other)),
    ]
    reasons = refusal(paths)
    assert len(reasons) == 6
    assert reasons[0] == (
        "workload.w0: the runs differ: not reported in Memory, 0 in L2Cache; merged runs must have"
        " run the same program"
    )
    assert reasons[-1] == "merge: the runs differ in 2 more settings: workload.w5, workload.w6"


@pytest.mark.parametrize("key", ["execution.timeout_s", "rehearsal.faults.dropped_kernels"])
def test_what_measures_nothing_may_differ(tmp_path: Path, key: str) -> None:
    paths = [
        leave(tmp_path / "1", record("Memory")),
        leave(tmp_path / "2", record("L2Cache", requested={key: 3})),
    ]
    assert len(chosen(candidates(paths), "strict").runs) == 2


def test_equal_groups_are_numbered(tmp_path: Path) -> None:
    paths = [leave(tmp_path / name, record("Memory")) for name in ("a", "b", "c")]
    labels = [run.label for run in chosen(candidates(paths), "strict").runs]
    assert labels == ["Memory", "Memory#2", "Memory#3"]


def test_runs_without_counters_have_labels_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [leave(tmp_path / name / "run#1", record("")) for name in ("a", "b")]
    labels = [run.label for run in chosen(candidates(paths), "strict").runs]
    assert labels == ["run#1", "run#1#2"]
    monkeypatch.chdir(paths[0])
    labels = [run.label for run in chosen(candidates([Path(), paths[1]]), "strict").runs]
    assert labels == ["run#1", "run#1#2"]


def test_counters_of_operators_make_it_a_table_of_operators(tmp_path: Path) -> None:
    paths = [
        leave(
            tmp_path / str(number),
            record("", device="cpu", requested={EVENTS: events}),
            table="operators",
        )
        for number, events in enumerate((["cycles", "instructions"], ["pagefaults"]))
    ]
    selection = chosen(candidates(paths), "aligned")
    assert selection.layout is OPERATORS
    assert [run.label for run in selection.runs] == ["cycles+instructions", "pagefaults"]


SUBSTITUTED = Delivery(
    setting=GROUP,
    requested="L2Cache",
    arrived="PipeUtilization",
    status="substituted",
    expectation="",
)


@pytest.mark.parametrize(
    ("made", "step", "why"),
    [
        (None, 0, "it left no result"),
        (record("L2Cache", status="failed", reason="killed by SIGKILL"), 0, "killed by SIGKILL"),
        (record("L2Cache", status="running"), 0, "the harness died before the run ended"),
        (record("L2Cache", status="running", writer=this_process()), 0, "it is still running ("),
        (record("L2Cache", delivery=(SUBSTITUTED,)), 0, "its counters did not arrive, but: Pipe"),
        (record("L2Cache", verdict="pending"), 0, "its captures are not analysed yet: python -m"),
        (record("L2Cache"), None, "it has no kernels of any step"),
    ],
)
def test_what_has_nothing_to_say_is_left_out_with_its_reason(
    tmp_path: Path, two: list[Path], made: RunRecord | None, step: int | None, why: str
) -> None:
    third = leave(tmp_path / "third", made, step=step)
    jobs = [
        SweepJob(folder=path.name, overrides=(), values={GROUP: path.name})
        for path in [*two, third]
    ]
    write_json(SweepRecord(swept=(GROUP,), jobs=tuple(jobs)), tmp_path / "sweep.json")
    selection = chosen(candidates([tmp_path]), "aligned")
    assert [run.label for run in selection.runs] == ["Memory", "PipeUtilization"]
    (left,) = selection.left_out
    assert left.folder == "third"
    assert left.reason.startswith(why)


def test_an_expected_job_without_a_folder_is_left_out(tmp_path: Path, two: list[Path]) -> None:
    names = [*(path.name for path in two), "gone"]
    jobs = tuple(SweepJob(folder=name, overrides=(), values={}) for name in names)
    write_json(SweepRecord(swept=(GROUP,), jobs=jobs), tmp_path / "sweep.json")
    selection = chosen(candidates([tmp_path]), "aligned")
    assert selection.left_out == (LeftOut(folder="gone", reason="it left no result"),)


def test_without_a_record_of_the_sweep_the_folders_runs_are_its_jobs(
    tmp_path: Path, two: list[Path]
) -> None:
    assert [run.folder for run in candidates([tmp_path])] == two


def test_a_table_that_is_broken_is_left_out(tmp_path: Path, two: list[Path]) -> None:
    third = leave(tmp_path / "third", record("L2Cache"))
    path = third / "tables" / "kernels.parquet"
    for content in (b"", path.read_bytes()[:-9]):
        path.write_bytes(content)
        (left,) = chosen(candidates([*two, third]), "aligned").left_out
        assert left.reason.startswith("kernels.parquet: this table cannot be read: ")


def test_one_run_given_twice_is_refused(tmp_path: Path, two: list[Path]) -> None:
    (tmp_path / "latest").symlink_to(two[0])
    (problem,) = refusal([*two, tmp_path / "latest"])
    assert f"this run is given twice: {two[0]} is the same" in problem


def test_one_run_is_nothing_to_merge(tmp_path: Path) -> None:
    leave(tmp_path / "a", record("Memory"))
    leave(tmp_path / "b", record("L2Cache", status="failed", reason="it died"))
    (problem,) = refusal([tmp_path])
    assert problem == "merge: it takes two runs or more, and there is only one; b: it died"


def test_imported_captures_are_joined_by_equal_sequences_alone(tmp_path: Path) -> None:
    paths = [
        leave(tmp_path / name, record(name, source="/somewhere")) for name in ("Memory", "L2Cache")
    ]
    (problem,) = refusal(paths)
    assert problem.startswith("merge.match: imported captures do not record which program ran")
    assert len(chosen(candidates(paths), "strict").runs) == 2


def test_what_a_person_should_know_of_the_runs(tmp_path: Path) -> None:
    lost = Delivery(
        setting="profiler.schedule", requested="", arrived="", status="missing", expectation=""
    )
    paths = [
        leave(tmp_path / "1", record("Memory", delivery=(lost,), exit_code=3)),
        leave(tmp_path / "2", record("L2Cache", versions={"torch": "2.13.1"})),
    ]
    assert chosen(candidates(paths), "aligned").notes == (
        "Memory: not everything arrived: profiler.schedule",
        "the runs have different versions of torch: 2.13.0, 2.13.1",
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it is broken: Input data was truncated"),
        ("[1]", "it is broken: Expected `object`, got `array`"),
        ("{}", "it has no schema_version, so the harness did not write it"),
        ('{"schema_version": 1}', "its schema_version is 1, and this harness reads 3 only"),
    ],
)
def test_a_record_of_a_sweep_that_cannot_be_read_is_refused(
    tmp_path: Path, content: str, why: str
) -> None:
    (tmp_path / "sweep.json").write_text(content)
    (problem,) = refusal([tmp_path])
    assert problem == f"{tmp_path}/sweep.json: {why}"


def test_a_run_of_another_version_is_left_out_of_a_sweep_and_refused_by_name(
    tmp_path: Path, two: list[Path]
) -> None:
    older = leave(tmp_path / "older", record("L2Cache", schema_version=2))
    why = "its schema_version is 2, and this harness reads 3 only"
    assert chosen(candidates([tmp_path]), "aligned").left_out == (
        LeftOut(folder="older", reason=f"run.json: {why}"),
    )
    assert refusal([two[0], older]) == [f"{older}/run.json: {why}"]


def test_only_the_table_that_is_joined_is_read(two: list[Path]) -> None:
    (two[0] / "tables" / "operators.parquet").write_bytes(b"")
    assert len(chosen(candidates(two), "aligned").runs) == 2


def test_a_table_that_is_gone_is_named(tmp_path: Path, two: list[Path]) -> None:
    third = leave(tmp_path / "third", record("L2Cache"))
    (third / "tables" / "kernels.parquet").unlink()
    (left,) = chosen(candidates([*two, third]), "aligned").left_out
    why = "kernels.parquet: this table is gone, and so is what it was made from"
    assert left.reason == why


def test_what_is_neither_a_sweep_nor_runs_is_refused(tmp_path: Path, two: list[Path]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RefusedError, match="there is no sweep in this folder"):
        candidates([empty])
    with pytest.raises(RefusedError, match="it left no result"):
        candidates([two[0], empty])
    (two[0] / "run.json.txt").write_text("")
    for name, why in (("gone", "there is no such folder"), ("run.json.txt", "this is no folder")):
        with pytest.raises(RefusedError, match=why):
            candidates([two[0], two[0] / name])


def test_a_run_of_an_earlier_version_belongs_to_one_of_this(tmp_path: Path) -> None:
    earlier = {"profiler.baseline.steps": 5}
    now = {**earlier, "profiler.with_lines": False, "profiler.baseline.place": "before"}
    folders = [
        leave(tmp_path / "a", record("PipeUtilization", requested=earlier)),
        leave(tmp_path / "b", record("Memory", requested=now)),
    ]
    assert len(chosen(candidates(folders), "aligned").runs) == 2


def test_a_setting_that_an_earlier_version_lacks_is_not_any_value(tmp_path: Path) -> None:
    earlier = {"profiler.baseline.steps": 5}
    folders = [
        leave(tmp_path / "a", record("PipeUtilization", requested=earlier)),
        leave(tmp_path / "b", record("Memory", requested={**earlier, "profiler.with_lines": True})),
    ]
    with pytest.raises(RefusedError, match=r"with_lines"):
        chosen(candidates(folders), "aligned")
