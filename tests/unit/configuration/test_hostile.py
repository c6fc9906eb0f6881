"""Whatever is typed or stands in a file: a result or a refusal, soon, that names its cause."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from harness.cli.prepare import all_problems
from harness.configuration.composition import compose_jobs, identity
from harness.errors import Problem

SECONDS = 5
"""Of this process: the machine may have other work."""
LONG = int(os.environ.get("HARNESS_FUZZ", "0"))
"""So many lists of overrides, others in every run, in place of a few that are always the same."""


def refused(
    *overrides: str, multirun: bool = False, config_dir: Path | str | None = None, name: str = ""
) -> list[Problem]:
    """Compose, and return what is wrong; a composition without mistakes can be named."""
    began = time.process_time()
    composition = compose_jobs(
        overrides,
        multirun=multirun,
        config_dir=None if config_dir is None else str(config_dir),
        config_name=name or "config",
    )
    problems = all_problems(composition)
    if not problems:
        identity(composition)
    assert time.process_time() - began < SECONDS
    return problems


@pytest.mark.parametrize(
    ("override", "setting"),
    [
        ("seed=${seed}", "seed"),
        ("seed=${oc.env:NO_SUCH_VARIABLE}", "seed"),
        ("seed=${oc.decode:'[[['}", "seed"),
        ("name=${oc.select:name}", "name"),
        ("workload.batch=${workload}", "workload.batch"),
        ("seed=range(1,3,0)", "seed"),
        ("seed=" + "9" * 5000, "seed"),
        ("seed=" + "9" * 400, "seed"),
        ("profiler.analyse_timeout_s=" + "9" * 400, "profiler.analyse_timeout_s"),
        ("seed=" + "[" * 500 + "]" * 500, "seed"),
        ("seed=" + "{a:" * 400 + "1" + "}" * 400, "seed"),
        ("seed=" + "1," * 20_000, "seed"),
        ("seed=choice(1,choice(2))", "seed"),
        ("name=a\0b", "name"),
        ("name=\udcff", "name"),
        ("hydra=5", "hydra"),
        ("~hydra.run", "~hydra.run"),
        ("hydra.mode=SWEEP", "hydra.mode"),
        ("hydra.verbose=5", "hydra.verbose"),
        ("hydra.verbose=null", "hydra.verbose"),
        ("hydra.job.env_copy=[NO_SUCH_VARIABLE]", "hydra.job.env_copy"),
        ("hydra.job.env_copy=5", "hydra.job.env_copy"),
        ("hydra.job.env_set={A: 5}", "hydra.job.env_set"),
        ("+hydra.job.env_set.A=[1]", "hydra.job.env_set.A"),
        ("+hydra.job.env_set.'a=b'=c", "+hydra.job.env_set.'a"),
        ("hydra.job.name=a/b", "hydra.job.name"),
        ("hydra.job.chdir=true", "hydra.job.chdir"),
        ("hydra.job_logging=5", "hydra.job_logging"),
        ("hydra.job_logging.root.level=NOPE", "hydra.job_logging.root.level"),
        ("hydra/job_logging=nope", "hydra/job_logging"),
        ("hydra.output_subdir=/", "hydra.output_subdir"),
        ("hydra.output_subdir=../..", "hydra.output_subdir"),
        ("hydra.run.dir=''", "hydra.run.dir"),
        ("hydra.run.dir=null", "hydra.run.dir"),
        ("+hydra.callbacks.a=5", "hydra.callbacks"),
        ("hydra.launcher=5", "hydra.launcher"),
        ("hydra.launcher._target_=os.system", "hydra.launcher"),
        ("hydra/launcher=[basic]", "hydra/launcher"),
        ("hydra.sweeper=5", "hydra.sweeper"),
        ("hydra.sweeper.max_batch_size=0", "hydra.sweeper.max_batch_size"),
        ("+hydra.sweeper.params.seed=null", "hydra.sweeper.params.seed"),
        ("device=${device}", "device"),
    ],
)
def test_a_hostile_override_is_refused_under_its_own_name(override: str, setting: str) -> None:
    assert setting in [problem.setting for problem in refused(override)]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("seed=range(0,1000000000000)", "this sweep has 1,000,000,000,000 jobs"),
        ("seed=range(0,100000)", "this sweep has 100,000 jobs (seed has 100,000)"),
        ("seed=shuffle(range(0,1000000000000))", "this sweep has 1,000,000,000,000 jobs"),
        ("seed=range(0,inf)", "a range needs finite numbers"),
        ("seed=range(1,3,nan)", "a range needs finite numbers"),
        ("seed=range(0,1,1e-300)", "its step is too small for its numbers"),
        ("seed=range(3,1)", "there is no value that it stands for"),
        ("device=glob(nosuch*)", "there is no value that it stands for"),
        ("hydra.sweep.dir=''", "must be the folder of a sweep"),
    ],
)
def test_a_sweep_is_counted_before_it_is_made(override: str, reason: str) -> None:
    (problem,) = refused(override, multirun=True)
    assert problem.reason.startswith(reason)


def test_a_setting_raises_the_bound_of_a_sweep() -> None:
    words = ["seed=1,2,3", "workload=mlp,conv"]
    (problem,) = refused(*words, "sweep.max_jobs=5", multirun=True)
    assert problem == Problem(
        setting="sweep.max_jobs",
        given="5",
        reason="this sweep has 6 jobs (seed has 3, workload has 2), and each is a run of several"
        " seconds",
        fix="sweep fewer values, or sweep.max_jobs=6",
    )
    assert refused(*words, "sweep.max_jobs=6", multirun=True) == []


def test_settings_that_refer_to_each_other_are_all_named() -> None:
    problems = refused("seed=${workload.batch}", "workload.batch=${seed}")
    assert {problem.setting for problem in problems} == {"seed", "workload.batch"}


def test_references_that_double_are_counted_before_they_are_resolved() -> None:
    base = "device.environment.A"
    doubled = [f"+{base}{n + 1}='${{{base}{n}}}${{.A{n}}}'" for n in range(25)]
    (problem,) = refused(f"+{base}0=x", *doubled)
    assert problem.setting.startswith(base)
    assert problem.reason == "its references stand for more than 2,000 others"
    assert refused(f"+{base}0=x", *doubled[:4]) == []


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("5\n", "it holds a single value, not settings"),
        ("- a\n", "it holds a list, not settings"),
        ("!!set {a, b}\n", "it does not hold settings"),
        ("name: mlp\nbatch: !!set {a}\n", "it does not hold settings"),
        (LAUGHS, "it stands for more than 5,000 values"),
        ("name: &a [*a]\n", "it is nested more than 32 deep, or an alias"),
        ("name: " + "[" * 3000 + "]" * 3000, "it is nested"),
        ("name: mlp\nbatch: " + "9" * 5000, "it does not hold settings: a number has too many"),
        ("name: mlp # \N{COPYRIGHT SIGN}".encode("latin-1"), "it is not a text in UTF-8"),
        (b"\x00\x01\xff", "it is not a text in UTF-8"),
        ("name: \a", "not valid YAML: unacceptable character"),
        ("a" * 200_000, "a file of configuration has at most 100,000 bytes"),
        ("defaults: 5\n", "it does not hold settings: Invalid defaults list"),
        ("defaults: [5]\n", "it does not hold settings: Unsupported type in defaults"),
        ("defaults: [mine]\nname: mlp\n", "Hydra does not take it: it is nested too deep"),
        ("# @package\nname: mlp\n", "it does not hold settings: Expected header format"),
        ("# @package _global_\nhydra: 5\n", "Hydra cannot compose it: Merge error: int is not"),
    ],
)
def test_a_file_that_holds_no_settings_is_named(
    tmp_path: Path, content: str | bytes, reason: str
) -> None:
    path = tmp_path / "workload" / "mine.yaml"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (problem,) = refused("workload=mine", config_dir=tmp_path)
    assert problem.reason.startswith(reason)
    assert "workload/mine.yaml" in problem.setting or problem.setting == "workload"


def test_a_number_in_a_file_may_not_be_larger_than_a_file_can_hold(tmp_path: Path) -> None:
    (tmp_path / "workload").mkdir()
    content = "defaults: [mlp]\nbatch: 0x" + "f" * 5000
    (tmp_path / "workload" / "mine.yaml").write_text(content, encoding="utf-8")
    (problem,) = refused("workload=mine", config_dir=tmp_path)
    assert (problem.setting, problem.given) == ("workload.batch", "about 1e6021")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "workload").mkdir()
    os.mkfifo(tmp_path / "workload" / "pipe.yaml")
    (tmp_path / "workload" / "folder.yaml").mkdir()
    (tmp_path / "workload" / "endless.yaml").symlink_to("/dev/zero")
    (tmp_path / "workload" / "log.yaml").symlink_to("/proc/kmsg")
    for name in ("pipe", "folder", "endless", "log"):
        assert refused(f"workload={name}", config_dir=tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")
    (problem,) = refused(config_dir=tmp_path, name="pipe")
    assert (problem.setting, problem.given) == ("--config-name", "pipe")


@pytest.mark.parametrize("folder", ["", "/proc/self", "/etc/passwd", "/dev", "a\0b", "x" * 5000])
def test_a_folder_without_configuration_is_named(folder: str) -> None:
    (problem,) = refused(config_dir=folder)
    assert (problem.setting, problem.given) == ("--config-dir", folder)


def test_a_folder_with_much_else_beside_its_configuration_is_quick(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"data{number}" / "deeper").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "workload").mkdir()
    text = "defaults: [mlp]\nbatch: 2\n"
    (tmp_path / "workload" / "mine.yaml").write_text(text, encoding="utf-8")
    assert refused("workload=mine", config_dir=tmp_path) == []
    assert refused("no/such=1", config_dir=tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../config", "a\0b", "\ud800", "x" * 5000])
def test_a_name_that_leaves_the_configuration_is_refused(name: str) -> None:
    (problem,) = refused(name=name)
    assert (problem.setting, problem.given) == ("--config-name", name)


KEYS = (
    *("seed", "name", "device", "profiler", "workload", "workload.batch", "workload.kwargs"),
    *("profiler.activities", "profiler.schedule", "profiler/experimental", "sweep", "experiment"),
    *("hydra", "hydra.run.dir", "hydra.sweep.dir", "hydra.verbose", "hydra.mode", "hydra/launcher"),
    *("hydra.job.env_set", "hydra.job.env_copy", "hydra.launcher", "hydra.sweeper.params"),
    *("hydra.searchpath", "hydra.output_subdir", "hydra.callbacks", "hydra.runtime.choices"),
    *("device.environment", "analysis.peaks.l2_gbps", "sweep.max_jobs", "a.b", "", "@", "a@b"),
)
ATOMS = (
    *("", "1", "0", "-1", "1.5", "1e400", "nan", "null", "true", "a", "cpu", "mlp", "'", '"', "\\"),
    *("'a b'", "9" * 60, "\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b[31m", "???", "_self_", "/", "..", "*"),
)
SHAPES = (
    *(
        "{}",
        "{},{}",
        "[{},{}]",
        "{{a:{}}}",
        "{{{}:1}}",
        "${{{}}}",
        "${{oc.env:{}}}",
        "range({},{})",
    ),
    *(
        "${{oc.decode:{}}}",
        "${{oc.select:{}}}",
        "choice({},{})",
        "glob({})",
        "sort({},{})",
        "int({})",
    ),
    *("interval({},{})", "tag({},{})", "shuffle({},{})", "range({},{},{})", "str({})", "'{}'"),
    *("range({},{})", "int({})"),
)


def overrides(data: Random) -> Iterator[str]:
    """Yield some overrides, most of them with something wrong."""
    for _ in range(data.randint(1, 4)):
        value = data.choice(SHAPES)
        words = [data.choice((*ATOMS, *KEYS)) for _ in range(3)]
        text = value.format(*words)
        if data.random() < 0.3:
            text = data.choice(SHAPES).format(text, data.choice(ATOMS), data.choice(ATOMS))
        prefix = data.choice(["", "", "", "", "+", "++", "~"])
        yield f"{prefix}{data.choice(KEYS)}{data.choice(['=', '=', '=', '=', '', '.x='])}{text}"


@settings(
    max_examples=LONG or 60,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**64 - 1))
def test_any_overrides_end_in_jobs_or_in_problems(seed: int) -> None:
    data = Random(seed)
    words: Sequence[str] = list(overrides(data))
    note(f"{words}")
    for problem in refused(*words, "sweep.max_jobs=20", multirun=data.random() < 0.5):
        assert problem.setting
        assert problem.reason
        assert problem.fix
