"""What a sweep is: what it varies, who its jobs are, and what it refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from harness.capture.run_record import DIED, Delivery, RunRecord, Timing, request_hash
from harness.capture.sweep_record import SweepRecord
from harness.capture.writer import this_process
from harness.cli.prepare import all_problems
from harness.configuration.composition import CONF, Composition, Job, compose_jobs, identity
from harness.devices.torch_profiler import PERF_EVENTS
from harness.errors import ExitCode, Problem
from harness.execution.plan import requested
from harness.execution.protocol import write_json
from harness.report.sweep import sections
from harness.settings.npu import AiCMetrics
from harness.settings.request import COUNTERS, Request
from harness.sweep import jobs
from harness.sweep.table import Jobs

AIC, CUPTI, PERF = COUNTERS
NPU = ("device=npu", "profiler=level1", "+sweep=aic_metrics")
GROUPS = [group for group in get_args(AiCMetrics) if group != "AiCoreNone"]


def swept(*overrides: str, multirun: bool = False) -> Composition:
    composition = compose_jobs(overrides, multirun=multirun)
    assert all_problems(composition) == []
    return composition


def refused(*overrides: str, multirun: bool = False) -> Problem:
    (problem,) = all_problems(compose_jobs(overrides, multirun=multirun))
    return problem


def request(job: Job) -> Request:
    assert job.request is not None
    return job.request


def values(composition: Composition, setting: str) -> list[object]:
    return [requested(request(job))[setting] for job in composition.jobs]


def test_sweep_over_aic_metrics_is_all_groups_without_a_flag() -> None:
    composition = swept(*NPU)
    assert composition.multirun
    assert composition.swept == (AIC,)
    assert sorted(map(str, values(composition, AIC))) == sorted(GROUPS)
    assert len(GROUPS) == 8


def test_jobs_ask_for_the_same_in_all_but_what_is_swept() -> None:
    for overrides, setting in ((NPU, AIC), (("+sweep=performance_events",), PERF)):
        settings = [requested(request(job)) for job in swept(*overrides, "seed=7").jobs]
        for of_job in settings:
            del of_job[setting]
            assert of_job["seed"] == 7
        assert settings == [settings[0]] * len(settings)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "sweep").glob("*.yaml")))
def test_every_sweep_says_how_it_is_typed_and_that_works(name: str) -> None:
    text = (CONF / "sweep" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1]
    words = text.removeprefix("# python -m harness ").split()
    assert words[-1] == f"+sweep={name}"
    composition = swept(*words)
    assert composition.multirun
    assert len(composition.jobs) > 1
    assert jobs.varies_counters(composition)


def test_sweep_over_perf_events_counts_all_that_torch_knows() -> None:
    groups = values(swept("+sweep=performance_events"), PERF)
    assert all(isinstance(group, list | tuple) for group in groups)
    assert sorted(event for group in groups for event in group) == sorted(PERF_EVENTS)  # type: ignore[attr-defined]


def test_sweep_over_cupti_metrics_reads_them_kernel_by_kernel() -> None:
    composition = swept("device=cuda", "+sweep=cupti_metrics")
    setting = "profiler.experimental.profiler_measure_per_kernel"
    assert values(composition, setting) == [True] * len(composition.jobs)
    assert composition.swept == (CUPTI,)


def test_what_is_typed_counts_in_place_of_the_sweeps_own_values() -> None:
    composition = swept(*NPU, f"{AIC}=L2Cache,Memory")
    assert values(composition, AIC) == ["L2Cache", "Memory"]
    assert composition.swept == (AIC,)
    assert identity(composition) == identity(swept(*NPU)), "its folder is the whole sweep's"


def test_one_value_typed_is_a_sweep_of_one_job_in_the_same_folder() -> None:
    composition = swept(*NPU, f"{AIC}=Memory")
    assert composition.multirun
    assert values(composition, AIC) == ["Memory"]
    assert identity(composition) == identity(swept(*NPU))


@pytest.mark.parametrize("changed", ["seed=1", "workload=mlp", "device.index=1", "name=mine"])
def test_another_request_has_another_folder(changed: str) -> None:
    one, other = swept(*NPU, changed), swept(*NPU)
    assert jobs.sweep_folder(one, identity(one)) != jobs.sweep_folder(other, identity(other))


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("hydra.sweep.dir=a/${name}", "a/harness"),
        ("++hydra.sweep.dir='a b'", "a b"),
        (r"hydra.sweep.dir='a,b=\'1\''", "a,b='1'"),
        ("seed=1", "outputs/sweeps/harness-0"),
    ],
)
def test_results_lie_where_hydra_puts_them(given: str, folder: str) -> None:
    composition = swept(given, "workload.width=8,16", "workload=mlp", multirun=True)
    assert str(jobs.sweep_folder(composition, "0")) == folder


def test_folder_that_is_known_later_is_refused() -> None:
    problem = refused("hydra.sweep.dir=${hydra:job.name}", "seed=1,2", multirun=True)
    assert problem.setting == "hydra.sweep.dir"
    assert problem.reason.startswith("it must be known before the run")


def test_what_is_forced_in_beside_a_sweep_is_refused() -> None:
    problem = refused(*NPU, f"++{AIC}=Memory")
    assert (problem.setting, problem.given) == (f"++{AIC}", "Memory")
    assert problem.fix.startswith(f"{AIC}=Memory,")


@pytest.mark.parametrize(
    ("overrides", "setting", "given", "fix"),
    [
        (("+sweep=aic_metrics",), "+sweep", "aic_metrics", "device=npu, or python -m harness re"),
        (("+sweep=aic_metrics", "device=cuda"), "+sweep", "aic_metrics", "device=npu, or"),
        ((f"{AIC}=Memory,L2Cache", "device=cpu"), AIC, "Memory,L2Cache", "device=npu, or"),
        ((f"{CUPTI}=[a],[b]",), CUPTI, "[a],[b]", "device=cuda"),
        (("+sweep=cupti_metrics",), "+sweep", "cupti_metrics", "device=cuda"),
        (("+sweep=performance_events", "device=npu"), "+sweep", "performance_events", "device=cpu"),
    ],
)
def test_counters_of_another_device_are_one_problem(
    overrides: tuple[str, ...], setting: str, given: str, fix: str
) -> None:
    problem = refused(*overrides, multirun=True)
    assert (problem.setting, problem.given) == (setting, given)
    assert problem.reason.endswith("to sweep")
    assert problem.fix.startswith(fix)


def test_other_mistakes_are_told_beside_counters_of_another_device() -> None:
    problems = all_problems(compose_jobs(["+sweep=aic_metrics", "workload.steps=zwei"]))
    assert [problem.setting for problem in problems] == ["+sweep", "workload.steps"]


def test_what_no_job_can_do_is_one_problem_with_all_its_values() -> None:
    problem = refused("device=npu", "profiler=level0", "+sweep=aic_metrics")
    assert problem.setting == AIC
    assert sorted(problem.given.split(",")) == sorted(GROUPS)
    assert "jobs" not in problem.reason


def test_what_one_job_cannot_do_names_the_job() -> None:
    problem = refused(*NPU, f"{AIC}=Memori,L2Cache")
    assert (problem.setting, problem.given) == (AIC, "Memori")
    assert f"(in 1 of 2 jobs, first: {AIC}=Memori" in problem.reason


@pytest.mark.parametrize(
    ("word", "setting", "fix"),
    [
        ("sweep=aic_metrics", "sweep", "+sweep=aic_metrics"),
        ("+sweep=aic_metrics,cupti_metrics", "+sweep", "+sweep=aic_metrics"),
        ("+sweep=aic_metric", "+sweep", "+sweep=aic_metrics"),
        ("hydra.sweep.subdir=x", "hydra.sweep.subdir", "leave it out; sweep.json says"),
    ],
)
def test_a_sweep_that_is_typed_wrong_is_refused_with_the_fix(
    word: str, setting: str, fix: str
) -> None:
    problem = refused(word, "device=npu", f"{AIC}=Memory,L2Cache", multirun=True)
    assert problem.setting == setting
    assert problem.fix.startswith(fix)


@pytest.mark.parametrize(
    ("overrides", "alone"),
    [
        ((*NPU,), True),
        ((*NPU, f"{AIC}=Memory"), False),
        ((*NPU, "seed=1,2"), False),
        (("device=npu", "seed=1,2"), False),
        (("device=npu", f"{AIC}=Memory,L2Cache"), True),
        (("device=cuda", f"{CUPTI}=[a],[b]"), True),
        (("profiler=level0,level1",), False),
    ],
)
def test_jobs_are_joined_where_counters_alone_differ(
    overrides: tuple[str, ...], alone: bool
) -> None:
    assert jobs.varies_counters(swept(*overrides, multirun=True)) is alone


def leave(folder: Path, composition: Composition, number: int, **changes: object) -> RunRecord:
    """Leave the record of a job that ran, as `changes` say."""
    job = composition.jobs[number]
    record = RunRecord(
        status="ok",
        verdict="delivered",
        exit_code=0,
        request_hash=request_hash(request(job)),
        overrides=job.overrides,
        versions={},
        host="here",
        requested={},
        timing={
            "baseline": Timing(steps=5, median_ns=2_000_000, min_ns=1, max_ns=2),
            "active": Timing(steps=3, median_ns=3_000_000, min_ns=1, max_ns=2),
        },
    )
    record = replace(record, **changes)
    place = folder / jobs.folder_name(composition, job)
    place.mkdir(parents=True)
    write_json(record, place / "run.json")
    return record


def ended(folder: Path, composition: Composition) -> Jobs:
    """Write what became of the jobs, as at the end of a sweep, and return it."""
    with jobs.recorded(folder, composition, [False] * len(composition.jobs)) as reserve:
        results = jobs.results(folder, composition)
        jobs.save(folder, composition.swept, results, reserve)
    return results


def test_a_job_that_left_nothing_is_named_and_has_failed(tmp_path: Path) -> None:
    composition = swept("seed=1,2,3", multirun=True)
    leave(tmp_path, composition, 0)
    leave(tmp_path, composition, 1, status="running", verdict="pending", exit_code=None)
    results = ended(tmp_path, composition)
    assert [(job.folder, job.exit_code, job.reason) for job, _ in results] == [
        ("seed=1", 0, ""),
        (
            "seed=2",
            None,
            "the harness died before the run ended; what was recorded by then is kept",
        ),
        ("seed=3", None, "it left no result"),
    ]
    assert jobs.exit_code(results) == ExitCode.FAILED
    kept = msgspec.json.decode((tmp_path / "sweep.json").read_bytes(), type=SweepRecord)
    assert kept == SweepRecord(swept=("seed",), jobs=tuple(job for job, _ in results))
    (section,) = sections(composition.swept, results, [True, False, False], tmp_path)
    assert section.title == "Sweep: 1 of 3 jobs delivered"
    assert section.rows == (
        ("1", 0, 2_000_000, 5e-7, 3_000_000, 1.5, "delivered (kept)"),
        ("2", None, 2_000_000, 5e-7, 3_000_000, 1.5, "no result"),
        ("3", None, None, None, None, None, "no result"),
    )
    assert section.notes[:2] == (
        "seed=2: the harness died before the run ended; what was recorded by then is kept",
        "seed=3: it left no result",
    )
    assert "runs 2 jobs, and keeps" in str(section.notes[-1])


def test_a_broken_table_of_a_job_costs_its_figure_alone(tmp_path: Path) -> None:
    composition = swept("seed=1,2", multirun=True)
    for number in (0, 1):
        leave(tmp_path, composition, number)
    analyses = tmp_path / "seed=1" / "analyses"
    analyses.mkdir()
    (analyses / "step_breakdown.parquet").write_bytes(b"")
    results = ended(tmp_path, composition)
    assert jobs.exit_code(results) == ExitCode.OK


def test_the_result_of_another_request_is_no_result(tmp_path: Path) -> None:
    composition = swept("seed=1,2", multirun=True)
    leave(tmp_path, composition, 0, request_hash="another")
    leave(tmp_path, composition, 1)
    assert jobs.kept(tmp_path, composition, print) == [False, True]
    results = ended(tmp_path, composition)
    assert [job.exit_code for job, _ in results] == [None, 0]


def test_starting_over_keeps_nothing(tmp_path: Path) -> None:
    composition = swept("seed=1,2", "sweep.resume=false", multirun=True)
    leave(tmp_path, composition, 0)
    assert jobs.kept(tmp_path, composition, print) == [False, False]


def test_what_was_not_delivered_is_run_again_and_says_why(tmp_path: Path) -> None:
    composition = swept("seed=1,2", multirun=True)
    lost = Delivery(
        setting=AIC,
        requested="MemoryAccess",
        arrived="PipeUtilization",
        status="substituted",
        expectation="columns",
        reason="an older CANN",
    )
    leave(tmp_path, composition, 0, verdict="not_delivered", exit_code=3, delivery=(lost,))
    leave(tmp_path, composition, 1)
    assert jobs.kept(tmp_path, composition, print) == [False, True]
    results = ended(tmp_path, composition)
    assert jobs.exit_code(results) == ExitCode.NOT_DELIVERED
    reason = "aic_metrics substituted, arrived: PipeUtilization (an older CANN)"
    assert [job.reason for job, _ in results] == [reason, ""]


def test_the_record_at_the_start_says_what_is_expected_and_what_is_there(tmp_path: Path) -> None:
    composition = swept("seed=1,2", "profiler=level0,level1", multirun=True)
    with jobs.recorded(tmp_path, composition, [True, False, False, False]):
        left = msgspec.json.decode((tmp_path / "sweep.json").read_bytes(), type=SweepRecord)
    assert left.swept == ("seed", "profiler")
    assert [(job.folder, job.values, job.exit_code) for job in left.jobs] == [
        ("profiler=level0,seed=1", {"seed": "1", "profiler": "level0"}, 0),
        ("profiler=level1,seed=1", {"seed": "1", "profiler": "level1"}, None),
        ("profiler=level0,seed=2", {"seed": "2", "profiler": "level0"}, None),
        ("profiler=level1,seed=2", {"seed": "2", "profiler": "level1"}, None),
    ]


def test_a_job_that_another_process_still_runs_is_told_from_one_whose_harness_died(
    tmp_path: Path,
) -> None:
    composition = swept("seed=1,2", multirun=True)
    unended: dict[str, Any] = {"status": "running", "verdict": "pending", "exit_code": None}
    leave(tmp_path, composition, 0, **unended, writer=this_process())
    leave(tmp_path, composition, 1, **unended, writer=replace(this_process(), started=1))
    said: list[str] = []
    assert jobs.kept(tmp_path, composition, said.append) == [False, False]
    assert [text.partition(": ")[2] for text in said] == [
        f"it is still running (process {os.getpid()})",
        DIED,
    ]
    results = ended(tmp_path, composition)
    assert [job.reason for job, _ in results] == [
        f"it is still running (process {os.getpid()})",
        DIED,
    ]
    (section,) = sections(composition.swept, results, [False, False], tmp_path)
    assert [row[-1] for row in section.rows] == ["running", "no result"]
