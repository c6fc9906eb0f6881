"""Command lines and YAML files become requests, and no mistake in them passes in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.configuration.composition import CONF, Composition, compose_jobs, identity, slug
from harness.errors import Problem
from harness.settings.request import Request

CALLABLE = ("workload=callable", "workload.target=a:b")


def problems_in(composition: Composition) -> list[Problem]:
    """The problems of the command line, then those of the jobs, each once."""
    return list(
        dict.fromkeys(
            [*composition.problems, *(item for job in composition.jobs for item in job.problems)]
        )
    )


def only(*overrides: str, config_dir: Path | None = None, config_name: str = "config") -> Request:
    composition = compose_jobs(
        overrides, config_dir=str(config_dir) if config_dir else None, config_name=config_name
    )
    assert problems_in(composition) == []
    (job,) = composition.jobs
    assert job.request is not None
    return job.request


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def test_each_job_of_a_sweep_is_composed() -> None:
    composition = compose_jobs(
        ["profiler=level0,level1", "seed=range(1,3)", "name=fixed"], multirun=True
    )
    assert problems_in(composition) == []
    assert composition.multirun
    assert composition.swept == ("profiler", "seed")
    assert [job.overrides for job in composition.jobs] == [
        ("profiler=level0", "seed=1", "name=fixed"),
        ("profiler=level0", "seed=2", "name=fixed"),
        ("profiler=level1", "seed=1", "name=fixed"),
        ("profiler=level1", "seed=2", "name=fixed"),
    ]
    requests = [job.request for job in composition.jobs if job.request]
    assert [(request.profiler.record_shapes, request.seed) for request in requests] == [
        (False, 1),
        (False, 2),
        (True, 1),
        (True, 2),
    ]


def test_a_sweep_over_a_pattern_finds_the_files() -> None:
    composition = compose_jobs(["profiler=glob(level*)"], multirun=True)
    assert [job.overrides for job in composition.jobs] == [
        ("profiler=level0",),
        ("profiler=level1",),
        ("profiler=level2",),
    ]
    assert problems_in(composition) == []


def test_a_sweep_of_what_has_no_default_pair_is_composed() -> None:
    composition = compose_jobs(["device=choice(npu)", "profiler=markers"], multirun=True)
    assert problems_in(composition) == []
    assert composition.swept == ("device",)


def test_without_a_sweep_there_is_one_job() -> None:
    composition = compose_jobs(["seed=3", "hydra.job.name=x"])
    assert not composition.multirun
    assert [job.overrides for job in composition.jobs] == [("seed=3",)]


@pytest.mark.parametrize(
    "overrides",
    [
        ("device.environment.A=1",),
        ("+device.environment.A=1",),
        ("++device.environment.A=1", "name=x"),
        ("device.environment={A: 1}",),
    ],
    ids=" ".join,
)
def test_names_below_an_open_group_are_the_users(overrides: tuple[str, ...]) -> None:
    assert only(*overrides).device.environment == {"A": 1}


def test_a_name_below_an_open_group_may_be_deleted_again() -> None:
    request = only(*CALLABLE, "+workload.kwargs.a=1", "+workload.kwargs.b=2", "~workload.kwargs.a")
    assert getattr(request.workload, "kwargs", None) == {"b": 2}


MINE = "defaults: [level1, _self_]\nwith_stack: true\n"
MINE_ON_CPU = "defaults: [cpu/_base@_here_, _self_]\nrecord_python_gc_info: true\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with a profile of the user's own."""
    write(tmp_path, "profiler/mine.yaml", MINE)
    return write(tmp_path, "profiler/experimental/cpu/mine.yaml", MINE_ON_CPU)


def judge_mine(request: Request) -> None:
    assert request.profiler.with_stack
    assert request.profiler.with_flops
    assert request.profiler.experimental.changed() == ("verbose", "record_python_gc_info")


def test_a_profile_in_a_folder_of_ones_own_composes(mine: Path) -> None:
    judge_mine(only("profiler=mine", config_dir=mine))


def test_a_profile_on_the_search_path_composes(mine: Path) -> None:
    judge_mine(only("profiler=mine", f"hydra.searchpath=[file://{mine}]"))


def test_a_folder_of_ones_own_and_a_search_path_go_together(mine: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "it's two", "workload/own.yaml", "defaults: [mlp, _self_]\nbatch: 7\n")
    request = only(
        "profiler=mine", "workload=own", f"hydra.searchpath=[file://{mine}]", config_dir=other
    )
    judge_mine(request)
    assert getattr(request.workload, "batch", None) == 7


def test_ones_own_profiles_are_listed_with_the_others(mine: Path) -> None:
    (problem,) = problems_in(compose_jobs(["profiler=nosuch"], config_dir=str(mine)))
    assert "level2, markers, memory, mine, sglang" in problem.reason
    (problem,) = problems_in(compose_jobs(["profiler=mine", "device=cuda"], config_dir=str(mine)))
    assert "cpu: default, level0, level1, level2, memory, mine, stacks;" in problem.reason
    assert problem.fix == (
        "profiler=default, or device=cpu, or write your own profiler/experimental/cuda/mine.yaml"
    )


@pytest.mark.parametrize(
    ("line", "setting", "fix"),
    [
        ("with_stack: 7", "profiler.with_stack", "profiler.with_stack=true"),
        ("with_stak: true", "profiler.with_stak", "profiler.with_stack=true"),
        ("schedule: {actve: 2}", "profiler.schedule.actve", "profiler.schedule.active=2"),
        ("activities: [1, true]", "profiler.activities", "profiler.activities=[device]"),
        ("record_shapes: ${nope}", "profiler.record_shapes", "profiler.record_shapes=…"),
        ("schedule:\n\twait: 1", "mine.yaml", "indent with spaces"),
        ("schedule: {", "mine.yaml", "correct the file at that place"),
    ],
)
def test_a_mistake_in_ones_own_file_is_found(
    tmp_path: Path, line: str, setting: str, fix: str
) -> None:
    write(tmp_path, "profiler/mine.yaml", f"defaults: [default, _self_]\n{line}\n")
    write(tmp_path, "profiler/experimental/cpu/mine.yaml", "defaults: [cpu/_base@_here_]\n")
    problem = problems_in(compose_jobs(["profiler=mine"], config_dir=str(tmp_path)))[0]
    assert setting in problem.setting
    assert problem.fix.startswith(fix)


@pytest.mark.parametrize("text", ["seed:\n\t- 1\n", "defaults: [nosuch]\n", "- a\n- b\n", "seed\n"])
def test_a_primary_config_that_cannot_be_read_is_a_problem(tmp_path: Path, text: str) -> None:
    write(tmp_path, "own.yaml", text)
    problems = problems_in(compose_jobs([], config_dir=str(tmp_path), config_name="own"))
    assert problems
    assert all(problem.fix for problem in problems)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [({"config_dir": "/nowhere"}, "--config-dir"), ({"config_name": "nosuch"}, "--config-name")],
)
def test_a_folder_or_primary_config_that_does_not_exist_is_a_problem(
    arguments: dict[str, str], setting: str
) -> None:
    (problem,) = problems_in(compose_jobs([], **arguments))  # type: ignore[arg-type]
    assert problem.setting == setting


SWEEP_FILE = """# @package _global_
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      profiler: level0,level1
      seed: 5
"""


def test_a_sweep_in_a_config_file_is_expanded(tmp_path: Path) -> None:
    write(tmp_path, "experiment/mine.yaml", SWEEP_FILE)
    composition = compose_jobs(["experiment=mine", "name=a,b"], config_dir=str(tmp_path))
    assert problems_in(composition) == []
    assert composition.multirun
    assert composition.swept == ("profiler", "name")
    assert [job.overrides for job in composition.jobs] == [
        ("profiler=level0", "seed=5", "experiment=mine", "name=a"),
        ("profiler=level0", "seed=5", "experiment=mine", "name=b"),
        ("profiler=level1", "seed=5", "experiment=mine", "name=a"),
        ("profiler=level1", "seed=5", "experiment=mine", "name=b"),
    ]


@pytest.mark.parametrize(
    ("params", "setting"),
    [
        ("profiler: 'level0,nosuch'", "profiler"),
        ("~workload: mlp", "~workload"),
        ("seed: '1,[2'", "seed"),
        ("nokey: choice(1)", "nokey"),
    ],
)
def test_a_mistake_in_the_sweep_of_a_config_file_is_found(
    tmp_path: Path, params: str, setting: str
) -> None:
    text = f"# @package _global_\nhydra: {{mode: MULTIRUN, sweeper: {{params: {{{params}}}}}}}\n"
    write(tmp_path, "experiment/mine.yaml", text)
    (problem,) = problems_in(compose_jobs(["experiment=mine"], config_dir=str(tmp_path)))
    assert problem.setting == setting


def sweep(*overrides: str) -> str:
    composition = compose_jobs(overrides, multirun=True)
    assert problems_in(composition) == []
    return identity(composition)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("seed=1,2",), ("seed=2,1,7",)),
        (("profiler=level0,level1",), ("profiler=memory,stacks",)),
        (("device=cpu,cuda",), ("device=npu,cuda",)),
        ((*CALLABLE, "+workload.kwargs.n=1,2"), (*CALLABLE, "+workload.kwargs.n=3,4")),
        (("seed=1,2", "name=x"), ("name=x", "seed=1,2")),
    ],
    ids=str,
)
def test_the_identity_of_a_sweep_does_not_depend_on_the_swept_values(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert sweep(*one) == sweep(*other)


def test_the_identity_of_a_sweep_changes_with_all_that_is_fixed(tmp_path: Path) -> None:
    primary = (CONF / "config.yaml").read_text(encoding="utf-8")
    write(tmp_path, "other.yaml", primary.replace("seed: 0", "seed: 9"))
    composition = compose_jobs(
        ["profiler=level0,level1"], multirun=True, config_dir=str(tmp_path), config_name="other"
    )
    assert problems_in(composition) == []
    identities = [
        sweep("profiler=level0,level1"),
        sweep("profiler=level0,level1", "seed=1"),
        sweep("profiler=level0,level1", "seed=2"),
        sweep("profiler=level0,level1", "profiler.schedule.active=5"),
        sweep("profiler=level0,level1", "+device.environment.A=1"),
        sweep("seed=0,1"),
        identity(composition),
    ]
    assert len(set(identities)) == len(identities)
    assert all(len(text) == 8 for text in identities)


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ("", "job"),
        ("profiler=level1", "profiler=level1"),
        ("a=1,b.c=-2.5", "a=1,b.c=-2.5"),
        ("a=" + "1" * 98, "a=" + "1" * 98),
    ],
)
def test_a_plain_job_is_a_folder_of_the_same_name(overrides: str, folder: str) -> None:
    assert slug(overrides) == folder


def test_what_a_folder_cannot_be_called_is_replaced_and_told_apart() -> None:
    names = [slug(text) for text in ("a=b/c", "a=b c", "a=[b,c]", "a=b,c", "a=é", "a=è", "a=" * 60)]
    assert len(set(names)) == len(names)
    assert names[0].startswith("a=b_c-")


@given(st.lists(st.text(st.sampled_from("ab/ =[é"), max_size=130), unique=True, max_size=4))
def test_a_folder_is_short_plain_and_distinct(texts: list[str]) -> None:
    names = [slug(text) for text in texts]
    assert len(set(names)) == len(texts)
    for name in names:
        assert 0 < len(name.encode()) <= 100
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_=-")


def test_reference_to_a_wrong_setting_is_not_complained_of_again() -> None:
    wrong = problems_in(compose_jobs(["profiler.with_stack=7"]))
    assert [problem.setting for problem in wrong] == ["profiler.with_stack"]
    both = problems_in(compose_jobs(["profiler.with_stack=7", "profiler.experimental.verbose=8"]))
    assert len(both) == 2


def test_starting_over_happens_in_the_same_folder() -> None:
    words = ["seed=1,2", "workload=mlp"]
    first = compose_jobs(words, multirun=True)
    over = compose_jobs([*words, "sweep.resume=false"], multirun=True)
    assert identity(first) == identity(over)


def test_how_a_table_is_judged_makes_no_other_sweep(tmp_path: Path) -> None:
    write(tmp_path, "analysis/mine.yaml", "defaults: [default]\npeaks: {main_memory_gbps: 1600}\n")
    words = ["seed=1,2", "workload=mlp"]
    plain = compose_jobs(words, multirun=True)
    for more in (["analysis.bound.together=0.5"], ["analysis=mine"]):
        judged = compose_jobs([*words, *more], multirun=True, config_dir=str(tmp_path))
        assert problems_in(judged) == []
        assert identity(judged) == identity(plain)


def test_a_mapping_for_a_list_names_the_setting() -> None:
    setting = "profiler.experimental.host_sys"
    (problem,) = compose_jobs(["device=npu", f"{setting}={{CPU:true}}"]).problems
    assert (problem.setting, problem.given) == (setting, "{CPU:true}")
    assert "a group of names cannot take the place of" in problem.reason


@pytest.mark.parametrize(
    "words",
    [
        ["seed=1,2,3", "workload=mlp,matmul"],
        ["device=npu", "profiler=level1", "+sweep=aic_metrics", "seed=1,2"],
        ["workload.batch=4,8", "name=a,b", "profiler.schedule.active=1,2"],
        ["workload=callable", "workload.target=a:b", "+workload.kwargs.x=1,2", "seed=${x},3"],
        ["profiler.experimental={},{verbose:true}", "workload.batch=nine,4", "++new=1,2"],
        ["workload=matmul", "workload.shapes=[[8,8,8]],[[4,4,4],[2,2,2]]", "~merge", "seed=1,2"],
        ["name=${workload.name},b", "seed=1,2", "hydra.job.name=x"],
    ],
)
def test_jobs_of_a_sweep_are_composed_as_each_alone(words: list[str]) -> None:
    sweep = compose_jobs(words, multirun=True)
    assert len(sweep.jobs) > 1
    for job in sweep.jobs:
        (alone,) = compose_jobs(job.overrides).jobs
        assert (job.request, job.problems) == (alone.request, alone.problems)
