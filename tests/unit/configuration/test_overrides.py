"""Every mistake in an override is said, with its setting and a fix, and all of them at once."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from harness.configuration.composition import Composition, compose_jobs
from harness.configuration.overrides import opened, quoted
from harness.errors import Problem

WORDS = {
    "group": "this is a group of settings; choose one of its files with a slash",
    "removed": "settings cannot be removed; the run needs each of them",
    "several": "several values make a sweep, and a sweep needs -m",
    "missing": "this setting has no default and must be given",
    "unknown": "there is no such setting",
}


def problems_in(composition: Composition) -> list[Problem]:
    """The problems of the command line, then those of the jobs, each once."""
    return list(
        dict.fromkeys(
            [*composition.problems, *(item for job in composition.jobs for item in job.problems)]
        )
    )


# The override, the setting, the value, the beginning of what is allowed, the beginning of the fix.
HOLES = [
    ("+unknown.key=1", "unknown", "", WORDS["unknown"], "use one of name, seed"),
    ("++nokey=1", "nokey", "1", WORDS["unknown"], "use one of name, seed"),
    ("profiler.levle=1", "profiler.levle", "1", WORDS["unknown"] + " in profiler", "use one of"),
    (
        "profiler.active=5",
        "profiler.active",
        "5",
        "there is no such setting; did you mean profiler.schedule.active?",
        "profiler.schedule.active=5",
    ),
    ("~workload", "~workload", "", WORDS["removed"], "leave it out, or set it: workload=…"),
    (
        "~profiler.with_stack",
        "~profiler.with_stack",
        "",
        WORDS["removed"],
        "leave it out, or set it: profiler.with_stack=…",
    ),
    (
        "profiler.experimental=npu/level1",
        "profiler.experimental",
        "npu/level1",
        WORDS["group"],
        "profiler/experimental=npu/level1",
    ),
    (
        "profiler/experimental=npu/level1",
        "profiler/experimental",
        "npu/level1",
        "these are settings of the npu profiler, and device=cpu",
        "profiler/experimental=cpu/level1, or device=npu",
    ),
    (
        "profiler/experimental=cuda/level1",
        "profiler/experimental",
        "cuda/level1",
        "these are settings of the cuda profiler, and device=cpu",
        "profiler/experimental=cpu/level1, or device=cuda",
    ),
    (
        "profiler/experimental=cpu/lvel1",
        "profiler/experimental",
        "cpu/lvel1",
        "there is no such profiler/experimental; did you mean cpu/level1?",
        "profiler/experimental=cpu/level1",
    ),
    (
        "profiler.experimental.device=npu",
        "profiler.experimental.device",
        "npu",
        "the device is chosen for the whole run",
        "device=npu",
    ),
    ("device.name=[npu]", "device.name", "[npu]", "must be one of cpu, cuda, npu", "device.name="),
    (
        "profiler.record_shapes=7",
        "profiler.record_shapes",
        "7",
        "must be true or false",
        "profiler.record_shapes=true",
    ),
    (
        "delivery.accept=[1,true]",
        "delivery.accept",
        "[1,true]",
        "must be a list, each one of activities",
        "delivery.accept=[]",
    ),
    ("execution.timeout_s=nan", "execution.timeout_s", "nan", "must be a number", "execution."),
    ("seed=${nope}", "seed", "${nope}", "this reference cannot be resolved", "seed=…"),
    (
        "profiler=lvel1",
        "profiler",
        "lvel1",
        "there is no such profiler; did you mean level1? There are default, level0",
        "profiler=level1",
    ),
    (
        "device=null",
        "device",
        "null",
        "there is no such device; there are cpu, cuda",
        "device=NAME",
    ),
    ("device=gpu", "device", "gpu", "there is no such device; did you mean cuda?", "device=cuda"),
    (
        "workload=mpl",
        "workload",
        "mpl",
        "there is no such workload; did you mean mlp?",
        "workload=mlp",
    ),
    ("workload=_base", "workload", "_base", "there is no such workload", "workload=NAME"),
    (
        "porfiler/x=y",
        "porfiler/x",
        "y",
        "there is no such config group; did you mean profiler?",
        "use one of analysis, device, execution, experiment, profiler",
    ),
    (
        "profiler=level0,level1",
        "profiler",
        "level0,level1",
        WORDS["several"],
        "add -m to run each value, or write one value",
    ),
    ("seed=interval(1,2)", "seed", "interval(1,2)", WORDS["several"], "add -m"),
    (
        "profiler.with_stack",
        "profiler.with_stack",
        "",
        "Hydra cannot read this override: missing EQUAL",
        "write key=value",
    ),
    ("=1", "=1", "", "there is no name before '='", "write key=value"),
    (
        "workload=callable",
        "workload.target",
        "???",
        WORDS["missing"],
        "workload.target=my_module:factory, with",
    ),
    ("seed=???", "seed", "???", WORDS["missing"], "seed=…"),
    (
        "+workload=mlp",
        "+workload",
        "mlp",
        "this group is chosen already, and + would add a second choice",
        "workload=mlp",
    ),
    (
        "profiler.schedule=3",
        "profiler.schedule",
        "3",
        "this is a group of settings, not a single value",
        "choose one of its files",
    ),
    ("hydra.searchpath=3", "hydra.searchpath", "", "hydra.searchpath must be a list", "hydra."),
    (
        "hydra.searchpath=[file:///nowhere]",
        "hydra.searchpath",
        "/nowhere",
        "there is no such folder",
        "hydra.searchpath=[file://FOLDER]",
    ),
    ("hydra.nokey=1", "hydra.nokey", "1", "Hydra does not take it: Key 'nokey' not in", "leave"),
    (
        "hydra/launcher=nosuch",
        "hydra/launcher",
        "nosuch",
        "there is no such launcher; installed are basic",
        "hydra/launcher=basic",
    ),
    (
        "hydra/launcher=basi",
        "hydra/launcher",
        "basi",
        "there is no such launcher; did you mean basic? Installed are basic",
        "hydra/launcher=basic",
    ),
    (
        "hydra/launcher=rq",
        "hydra/launcher",
        "rq",
        "this launcher is not installed; installed are basic",
        "pip install hydra-rq-launcher, or hydra/launcher=basic",
    ),
    (
        "+experiment.seed=1",
        "experiment",
        "",
        "an experiment sets other groups",
        "begin its file with the line: # @package _global_",
    ),
]


@pytest.mark.parametrize(
    ("override", "setting", "value", "reason", "fix"), HOLES, ids=[row[0] for row in HOLES]
)
def test_a_mistake_is_one_problem_with_its_setting_and_a_fix(
    override: str, setting: str, value: str, reason: str, fix: str
) -> None:
    (problem,) = problems_in(compose_jobs([override]))
    assert (problem.setting, problem.given) == (setting, value)
    assert problem.reason.startswith(reason)
    assert problem.fix.startswith(fix)


def test_settings_of_the_cpu_are_refused_on_another_device() -> None:
    (problem,) = problems_in(compose_jobs(["device=cuda", "profiler/experimental=cpu/level1"]))
    assert problem.reason == "these are settings of the cpu profiler, and device=cuda"
    assert problem.fix == "profiler/experimental=cuda/level1, or device=cpu"


def test_all_mistakes_of_a_command_line_are_reported_in_one_go() -> None:
    problems = problems_in(
        compose_jobs(
            [
                "profiler.with_stack",
                "~device",
                "profiler=lvel1",
                "workload=mlp",
                "workload.batch=0",
                "seed=-1",
                "profiler.levle=1",
                "+x=2",
                "profiler.schedule.active=1,2",
                "execution.timeout_s=${nope}",
            ]
        )
    )
    assert {problem.setting for problem in problems} == {
        "profiler.with_stack",
        "~device",
        "profiler",
        "workload.batch",
        "seed",
        "profiler.levle",
        "x",
        "profiler.schedule.active",
        "execution.timeout_s",
    }
    assert len(problems) == 9
    assert all(problem.fix for problem in problems)


# What is wrong only in a sweep.
SWEEPS = [
    (("hydra.run.dir=x", "seed=1,2"), "hydra.run.dir", "x", "hydra.sweep.dir=FOLDER"),
    (
        ("seed=interval(1,2)",),
        "seed",
        "interval(1,2)",
        "seed=1,2,3 or seed=range(1,4)",
    ),
    (("seed=1,2,1",), "seed", "1,2,1", "seed=1,2"),
    (("hydra/launcher=basic,joblib",), "hydra/launcher", "basic,joblib", "hydra/launcher= with"),
    (("hydra.sweep.dir=a,b", "seed=1,2"), "hydra.sweep.dir", "a,b", "hydra.sweep.dir= with"),
    (("profiler=level0,nosuch",), "profiler", "nosuch", "profiler=NAME"),
    (("workload.dtype=float32,float99",), "workload.dtype", "float99", "workload.dtype=float"),
    (("device=cpu,npu", "profiler=default,markers"), "profiler", "markers", "profiler=default"),
]


@pytest.mark.parametrize(
    ("overrides", "setting", "value", "fix"), SWEEPS, ids=[" ".join(row[0]) for row in SWEEPS]
)
def test_a_mistake_in_a_sweep_is_found_before_its_first_job(
    overrides: tuple[str, ...], setting: str, value: str, fix: str
) -> None:
    (problem,) = problems_in(compose_jobs(overrides, multirun=True))
    assert (problem.setting, problem.given) == (setting, value)
    assert problem.fix.startswith(fix)


def test_every_wrong_option_of_a_sweep_is_named() -> None:
    problems = problems_in(compose_jobs(["workload=mlp,nosuch,conv,neither"], multirun=True))
    assert [problem.given for problem in problems] == ["nosuch", "neither"]


def test_names_below_an_open_group_are_added_for_hydra() -> None:
    texts = ("device.environment.A=1", "+workload.kwargs.b=2", "~device.environment.C", "seed=1")
    assert opened(texts) == (
        "++device.environment.A=1",
        "++workload.kwargs.b=2",
        "~device.environment.C",
        "seed=1",
    )


@given(st.text(st.sampled_from("ab/ \\'\"${}:,=[]%"), min_size=1, max_size=12))
@example("${name}")
@example("\\\\${name}")
@example("a\\'b\\")
def test_a_quoted_text_is_read_back_as_it_is(text: str) -> None:
    override = OverridesParser.create().parse_override(f"key={quoted(text)}")
    assert OmegaConf.create({"key": override.value()}).key == text


def test_a_quoted_folder_is_where_the_results_go() -> None:
    folder = "out/${name}, it's [1]=2"
    composition = compose_jobs([f"hydra.run.dir={quoted(folder)}"])
    assert composition.problems == ()
    assert composition.folder == folder
