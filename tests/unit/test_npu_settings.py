"""torch_npu's settings: bad values, rules between them, and what another version has not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from msgspec import structs

from harness.compose import compose_jobs
from harness.devices import npu_settings
from harness.devices.npu_settings import DEFAULTS_OF_OUR_OWN, NpuExperimental, installed
from harness.errors import Problem
from harness.validate import problems
from tests.composing import composed

EXPERIMENTAL = "profiler.experimental"
SWITCHES = (
    "l2_cache",
    "msprof_tx",
    "mstx",
    "data_simplification",
    "record_op_args",
    "op_attr",
    "sys_io",
    "sys_interconnection",
)
LEVELS = "must be one of Level0, Level1, Level2, Level_none"
GROUPS = (
    "must be one of AiCoreNone, ArithmeticUtilization, L2Cache, Memory, MemoryAccess, MemoryL0,"
    " MemoryUB, PipeUtilization, ResourceConflictRatio or null"
)
SWITCH = "must be true or false"
THRESHOLD = "must be a number of at least 0 or null"
EXPORTS = "must be a list with at least 1 item, each one of Db, Text"
HOSTS = "must be a list, each one of CPU, DISK, MEM, NETWORK, NUMA, OSRT"
TEXTS = "must be a list, each a text"

# The setting, what is typed, what is allowed, the fix.
BAD: list[tuple[str, str, str, str]] = [
    ("profiler_level", "Level9", LEVELS, "Level2"),
    ("profiler_level", "level1", LEVELS, "Level1"),
    ("profiler_level", "1", LEVELS, "Level1"),
    ("profiler_level", "true", LEVELS, "Level1"),
    ("profiler_level", "null", LEVELS, "Level1"),
    ("profiler_level", "''", LEVELS, "Level1"),
    ("profiler_level", "[Level1]", LEVELS, "Level1"),
    ("aic_metrics", "PipeUtilisation", GROUPS, "PipeUtilization"),
    ("aic_metrics", "memory", GROUPS, "Memory"),
    ("aic_metrics", "1", GROUPS, "null"),
    ("aic_metrics", "false", GROUPS, "null"),
    ("aic_metrics", "''", GROUPS, "null"),
    ("aic_metrics", "[Memory,L2Cache]", GROUPS, "null"),
    *((name, "7", SWITCH, "true") for name in SWITCHES),
    *((name, "null", SWITCH, "false") for name in SWITCHES),
    *(
        ("mstx", given, SWITCH, fix)
        for given, fix in (
            ("0", "false"),
            ("1.0", "true"),
            ("yes", "true"),
            ("off", "false"),
            ("''", "true"),
            ("[true]", "true"),
            ("'true'", "true"),
        )
    ),
    *(
        ("gc_detect_threshold", given, THRESHOLD, "0")
        for given in ("-1", "-0.5", "nan", "inf", "true", "long", "''", "[1]")
    ),
    ("export_type", "[]", EXPORTS, "[Text]"),
    ("export_type", "null", EXPORTS, "[Text]"),
    ("export_type", "Text", EXPORTS, "[Text]"),
    ("export_type", "[text]", EXPORTS, "[Text]"),
    ("export_type", "[Text,7]", EXPORTS, "[Text]"),
    ("export_type", "[[Text]]", EXPORTS, "[Text]"),
    ("export_type", "true", EXPORTS, "[Text]"),
    ("host_sys", "CPU", HOSTS, "[CPU]"),
    ("host_sys", "[mem]", HOSTS, "[MEM]"),
    ("host_sys", "[GPU]", HOSTS, "[]"),
    ("host_sys", "[MEM,null]", HOSTS, "[MEM]"),
    ("host_sys", "null", HOSTS, "[]"),
    ("host_sys", "7", HOSTS, "[]"),
    *(
        (name, given, TEXTS, fix)
        for name in ("mstx_domain_include", "mstx_domain_exclude")
        for given, fix in (
            ("mine", "[mine]"),
            ("[7]", "[\"'7'\"]"),
            ("[mine,true]", "[mine,\"'true'\"]"),
        )
    ),
]


def found(*typed: str) -> list[Problem]:
    composition = compose_jobs(["device=npu", *typed])
    (job,) = composition.jobs
    further = problems(job.request) if job.request else []
    return [*composition.problems, *job.problems, *further]


def test_every_setting_has_bad_values_here() -> None:
    assert {row[0] for row in BAD} == {field.name for field in structs.fields(NpuExperimental)}


@pytest.mark.parametrize(("name", "given", "allowed", "fix"), BAD)
def test_a_bad_value_is_refused_once_with_what_is_allowed_and_a_fix(
    name: str, given: str, allowed: str, fix: str
) -> None:
    setting = f"{EXPERIMENTAL}.{name}"
    (problem,) = found(f"{setting}={given}")
    assert problem == Problem(setting=setting, given=given, allowed=allowed, fix=f"{setting}={fix}")
    (job,) = compose_jobs(["device=npu", problem.fix]).jobs
    assert job.problems == ()


HOST = ("profiler=level1", "profiler.activities=[host]")
LATE = "CANN records it with the device, and activities leaves the device out"
FLOPS = "torch_npu writes flops as marks, which would not be recorded"

# What is typed, then the setting that is named, its value, and the reason.
REFUSED: list[tuple[tuple[str, ...], str, str, str]] = [
    *(
        ((f"device.environment.{name}={value}",), f"device.environment.{name}", value, reason)
        for name, value, reason in (
            (
                "PROFILER_SAMPLECONFIG",
                "/tmp",  # noqa: S108 - any text
                "torch_npu takes it for a run under msprof, and records nothing",
            ),
            ("PROFILING_MODE", "dynamic", "torch_npu then switches its profiler off, and"),
            ("PROFILING_MODE", "0", "records nothing"),
            ("PROF_CONFIG_PATH", "conf", "profiles by itself, as a file in that folder says"),
            ("MSMONITOR_USE_DAEMON", "1", "profiles by itself, as a daemon says"),
            ("KINETO_USE_DAEMON", "1", "profiles by itself, as a daemon says"),
        )
    ),
    *(
        ((*HOST, f"{EXPERIMENTAL}.{name}={value}"), f"{EXPERIMENTAL}.{name}", value, LATE)
        for name, value in (
            ("aic_metrics", "Memory"),
            ("l2_cache", "true"),
            ("msprof_tx", "true"),
            ("mstx", "true"),
            ("host_sys", "[CPU,MEM]"),
            ("mstx_domain_include", "[mine]"),
            ("mstx_domain_exclude", "[mine]"),
            ("sys_io", "true"),
            ("sys_interconnection", "true"),
        )
    ),
    (
        (*HOST, f"{EXPERIMENTAL}={{op_attr: true, export_type: [Db]}}"),
        f"{EXPERIMENTAL}.op_attr",
        "true",
        LATE,
    ),
    (("profiler=level2", HOST[1]), f"{EXPERIMENTAL}.l2_cache", "true", LATE),
    (("profiler=markers", HOST[1]), f"{EXPERIMENTAL}.mstx", "true", LATE),
    *(
        (
            ("profiler=markers", f"{EXPERIMENTAL}.{name}=[mine,'']"),
            f"{EXPERIMENTAL}.{name}",
            "[mine,'']",
            "a domain without a name has no marks",
        )
        for name in ("mstx_domain_include", "mstx_domain_exclude")
    ),
    (
        ("profiler=markers", f"{EXPERIMENTAL}={{op_attr: true, export_type: [Db]}}"),
        f"{EXPERIMENTAL}.op_attr",
        "true",
        "profiler_level=Level_none records no operators that could have attributes",
    ),
    (
        (
            "profiler=level0",
            "profiler.activities=[device]",
            f"{EXPERIMENTAL}.gc_detect_threshold=1.5",
        ),
        f"{EXPERIMENTAL}.gc_detect_threshold",
        "1.5",
        "garbage collections are host events, and activities leaves the host out",
    ),
    (("profiler.with_flops=true",), "profiler.with_flops", "true", FLOPS),
    ((*HOST, "profiler.with_flops=true"), "profiler.with_flops", "true", FLOPS),
    *(
        (
            ("profiler.with_flops=true", f"{EXPERIMENTAL}.mstx=true", f"{EXPERIMENTAL}.{domains}"),
            "profiler.with_flops",
            "true",
            FLOPS,
        )
        for domains in ("mstx_domain_include=[mine]", "mstx_domain_exclude=[mfu_flops,mine]")
    ),
]


def fixes(problem: Problem) -> list[str]:
    """The first way out that a fix names, as overrides."""
    return re.split(r", or |; ", problem.fix)[0].split()


@pytest.mark.parametrize(
    ("typed", "setting", "given", "reason"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED]
)
def test_a_rule_refuses_its_case_and_accepts_its_own_fix(
    typed: tuple[str, ...], setting: str, given: str, reason: str
) -> None:
    (problem,) = found(*typed)
    assert (problem.setting, problem.given) == (setting, given)
    assert reason in problem.allowed
    assert "\n" not in problem.allowed + problem.fix
    assert found(*typed, *fixes(problem)) == []


ALLOWED: list[tuple[str, ...]] = [
    *((f"profiler={profile}", HOST[1]) for profile in ("default", "level0", "level1", "memory")),
    *((f"profiler={profile}", HOST[1]) for profile in ("stacks", "sglang")),
    (*HOST, f"{EXPERIMENTAL}.profiler_level=Level2"),
    (*HOST, f"{EXPERIMENTAL}.aic_metrics=null"),
    (*HOST, f"{EXPERIMENTAL}.export_type=[Db]"),
    (*HOST, f"{EXPERIMENTAL}.data_simplification=false"),
    (*HOST, f"{EXPERIMENTAL}.record_op_args=true"),
    (*HOST, f"{EXPERIMENTAL}.gc_detect_threshold=0"),
    ("device.environment.PROFILING_MODE=''",),
    ("device.environment.MSMONITOR_USE_DAEMON=0",),
    ("device.environment.TASK_QUEUE_ENABLE=0",),
    (f"{EXPERIMENTAL}.export_type=[Text,Text]",),
    (f"{EXPERIMENTAL}.host_sys=[CPU,CPU]",),
    ("profiler.with_flops=true", f"{EXPERIMENTAL}.mstx=true"),
    (
        "profiler.with_flops=true",
        f"{EXPERIMENTAL}.msprof_tx=true",
        f"{EXPERIMENTAL}.mstx_domain_include=[mine,mfu_flops]",
    ),
    (
        "profiler.with_flops=true",
        f"{EXPERIMENTAL}.mstx=true",
        f"{EXPERIMENTAL}.mstx_domain_exclude=[mine]",
    ),
]


@pytest.mark.parametrize("typed", ALLOWED, ids=" ".join)
def test_what_can_be_honoured_is_not_refused(typed: tuple[str, ...]) -> None:
    assert found(*typed) == []


def test_every_device_setting_is_refused_without_the_device() -> None:
    refused = {row[1] for row in REFUSED if row[3] == LATE}
    harmless = {
        "profiler_level",
        "data_simplification",
        "record_op_args",
        "gc_detect_threshold",
        "export_type",
    }
    names = {field.name for field in structs.fields(NpuExperimental)}
    assert refused == {f"{EXPERIMENTAL}.{name}" for name in names - harmless}


def test_defaults_of_our_own_are_settings() -> None:
    assert set(DEFAULTS_OF_OUR_OWN) <= {field.name for field in structs.fields(NpuExperimental)}


# --- other versions of torch_npu ---------------------------------------------------------------

OLD = """
class ProfilerLevel:
    Level0 = Constant.LEVEL0
    Level1 = Constant.LEVEL1
    Level2 = Constant.LEVEL2


class AiCMetrics:
    PipeUtilization = Constant.AicPipeUtilization
    Memory = Constant.AicMemory
    AiCoreNone = Constant.AicMetricsNone


class ExportType:
    Text = Constant.Text


class _ExperimentalConfig:
    def __init__(
        self,
        profiler_level: int = Constant.LEVEL0,
        aic_metrics: int = Constant.AicMetricsNone,
        l2_cache: bool = False,
        msprof_tx: bool = False,
        data_simplification: bool = True,
        record_op_args: bool = False,
        op_attr: bool = False,
        gc_detect_threshold: float = None,
        export_type: str = Constant.Text,
    ):
        self._profiler_level = profiler_level
"""
ALL_FIELDS = ", ".join(f"{field.name}=0" for field in structs.fields(NpuExperimental))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in front of the installed packages, and nothing remembered of those."""
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()


def write(folder: Path, source: str | None, version: str | None = "2.1.0") -> None:
    package = folder / "torch_npu"
    (package / "profiler").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('there is no CANN')\n")
    if source is not None:
        (package / "profiler" / "experimental_config.py").write_text(source)
    if version is not None:
        metadata = folder / f"torch_npu-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: torch_npu\nVersion: {version}\n")


def test_an_older_torch_npu_is_read_without_being_imported(install: Path) -> None:
    write(install, OLD)
    assert installed() == npu_settings.Installed(
        version="2.1.0",
        settings=frozenset(
            [
                "profiler_level",
                "aic_metrics",
                "l2_cache",
                "msprof_tx",
                "data_simplification",
                "record_op_args",
                "op_attr",
                "gc_detect_threshold",
                "export_type",
            ]
        ),
        choices={
            "profiler_level": frozenset({"Level0", "Level1", "Level2"}),
            "aic_metrics": frozenset({"PipeUtilization", "Memory", "AiCoreNone"}),
            "export_type": frozenset({"Text"}),
        },
    )


@pytest.mark.parametrize(
    ("typed", "given", "allowed", "fix"),
    [
        ("host_sys=[CPU]", "[CPU]", "no such setting", "profiler.experimental.host_sys=[]"),
        ("mstx=true", "true", "no such setting", "profiler.experimental.mstx=false"),
        ("sys_io=true", "true", "no such setting", "profiler.experimental.sys_io=false"),
        ("sys_interconnection=true", "true", "no such setting", ".sys_interconnection=false"),
        ("aic_metrics=MemoryAccess", "MemoryAccess", "no MemoryAccess", "use AiCoreNone, Memory,"),
        ("export_type=[Text,Db]", "[Text,Db]", "no Db", "use Text"),
    ],
)
def test_what_the_installed_version_has_not_is_refused_by_name(
    install: Path, typed: str, given: str, allowed: str, fix: str
) -> None:
    write(install, OLD)
    (problem,) = found(f"{EXPERIMENTAL}.{typed}")
    assert problem.setting == f"{EXPERIMENTAL}.{typed.partition('=')[0]}"
    assert problem.given == given
    assert problem.allowed == f"the installed torch_npu 2.1.0 has {allowed}"
    assert fix in problem.fix
    assert problem.fix.endswith(", or pip install torch-npu==2.13.0")


def test_a_level_that_the_installed_version_has_not_is_refused(install: Path) -> None:
    write(install, OLD.replace("msprof_tx: bool = False", "mstx: bool = False"))
    (problem,) = found("profiler=markers")
    assert (problem.setting, problem.given) == (f"{EXPERIMENTAL}.profiler_level", "Level_none")
    assert problem.fix == "use Level0, Level1, Level2, or pip install torch-npu==2.13.0"


def test_settings_left_alone_are_not_missed_in_an_older_version(install: Path) -> None:
    write(install, OLD)
    assert found() == []
    assert len(NpuExperimental().lowered()) == 15


def test_a_group_that_the_level_implies_is_looked_for_too(install: Path) -> None:
    write(install, OLD.replace("AiCoreNone =", "AicNone ="))
    (problem,) = found("profiler=level0", f"{EXPERIMENTAL}.aic_metrics=null")
    assert (problem.setting, problem.given) == (f"{EXPERIMENTAL}.aic_metrics", "null")
    assert problem.allowed == "the installed torch_npu 2.1.0 has no AiCoreNone"


@pytest.mark.parametrize(
    "source",
    [
        f"class _ExperimentalConfig:\n    def __init__(self, *, {ALL_FIELDS}, new=1): ...\n",
        f"class _ExperimentalConfig:\n    def __init__(self, {ALL_FIELDS}, new=1): ...\n",
        "from .elsewhere import _ExperimentalConfig\n",
        "class _ExperimentalConfig(Config):\n    level: int = 0\n",
        "this is no Python",
        None,
    ],
    ids=["keywords", "new field", "moved", "no constructor", "no Python", "no file"],
)
def test_a_version_that_is_newer_or_unreadable_is_not_in_the_way(
    install: Path, source: str | None
) -> None:
    write(install, source, version="3.0.0")
    assert found("profiler=level2", f"{EXPERIMENTAL}.host_sys=[NUMA]") == []


def test_settings_that_can_only_be_named_are_read_too(install: Path) -> None:
    write(install, f"class _ExperimentalConfig:\n    def __init__(self, *, {ALL_FIELDS}): ...\n")
    known = installed()
    assert known is not None
    assert known.settings == {field.name for field in structs.fields(NpuExperimental)}


def test_a_version_without_a_number_is_called_unknown(
    install: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    write(install, OLD, version=None)
    (problem,) = found(f"{EXPERIMENTAL}.sys_io=true")
    assert problem.allowed == "the installed torch_npu (of unknown version) has no such setting"


def test_without_torch_npu_every_setting_can_be_composed(
    install: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert install.exists()
    assert installed() is None
    assert found("profiler=level2") == []


def test_the_installed_torch_npu_has_all_settings() -> None:
    installed.cache_clear()
    known = installed()
    assert known is not None
    assert known.version.startswith(npu_settings.KNOWN)
    assert known.settings == set(composed("device=npu").profiler.experimental.lowered())
