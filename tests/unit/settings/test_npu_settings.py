"""torch_npu's settings: bad values, and rules between them."""

from __future__ import annotations

import re
import shlex

import pytest
from msgspec import structs

from harness.configuration.composition import compose_jobs
from harness.errors import Problem
from harness.settings.npu import DEFAULTS_OF_OUR_OWN, NpuExperimental
from tests.support.composing import problems_of

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
THRESHOLD = "must be a number from 0 to 1,000,000 or null"
EXPORTS = "must be a list with at least 1 item, each one of Db, Text"
HOSTS = "must be a list, each one of CPU, DISK, MEM, NETWORK, NUMA, OSRT"
TEXTS = "must be a list, each a text"

# The setting, what is typed, what is allowed, the fix.
BAD: list[tuple[str, str, str, str]] = [
    ("profiler_level", "Level9", LEVELS, "Level1"),
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
    ("host_sys", "[GPU]", HOSTS, "[CPU]"),
    ("host_sys", "[MEM,null]", HOSTS, "[MEM]"),
    ("host_sys", "null", HOSTS, "[]"),
    ("host_sys", "7", HOSTS, "[]"),
    *(
        (name, given, TEXTS, fix)
        for name in ("mstx_domain_include", "mstx_domain_exclude")
        for given, fix in (
            ("mine", "[mine]"),
            ("[7]", "\"['7']\""),
            ("[mine,true]", "\"[mine,'true']\""),
        )
    ),
]


def test_every_setting_has_bad_values_here() -> None:
    assert {row[0] for row in BAD} == {field.name for field in structs.fields(NpuExperimental)}


@pytest.mark.parametrize(("name", "given", "reason", "fix"), BAD)
def test_a_bad_value_is_refused_once_with_what_is_allowed_and_a_fix(
    name: str, given: str, reason: str, fix: str
) -> None:
    setting = f"{EXPERIMENTAL}.{name}"
    (problem,) = problems_of("device=npu", f"{setting}={given}")
    assert problem == Problem(setting=setting, given=given, reason=reason, fix=f"{setting}={fix}")
    # As a shell takes it.
    (job,) = compose_jobs(["device=npu", *shlex.split(problem.fix)]).jobs
    assert job.problems == ()


HOST = ("profiler=level1", "profiler.activities=[host]")
LATE = "CANN records it on the device, but profiler.activities does not include device"
FLOPS = "torch_npu writes flops as marks, which would not be recorded"

# What is typed, then the setting that is named, its value, and the reason.
REFUSED: list[tuple[tuple[str, ...], str, str, str]] = [
    *(
        ((f"device.environment.{name}={value}",), f"device.environment.{name}", value, reason)
        for name, value, reason in (
            (
                "PROFILER_SAMPLECONFIG",
                "/tmp",  # noqa: S108 - any text
                "torch_npu then assumes a run under msprof, and records nothing",
            ),
            ("PROFILING_MODE", "dynamic", "torch_npu then switches its profiler off, and"),
            ("PROFILING_MODE", "0", "records nothing"),
            ("PROF_CONFIG_PATH", "conf", "is then controlled by a file in that folder"),
            ("MSMONITOR_USE_DAEMON", "1", "is then controlled by a daemon"),
            ("KINETO_USE_DAEMON", "1", "is then controlled by a daemon"),
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
            "torch_npu drops domains without a name",
        )
        for name in ("mstx_domain_include", "mstx_domain_exclude")
    ),
    (
        ("profiler=markers", f"{EXPERIMENTAL}={{op_attr: true, export_type: [Db]}}"),
        f"{EXPERIMENTAL}.op_attr",
        "true",
        "profiler_level=Level_none records no operators, so there are no attributes",
    ),
    (
        (
            "profiler=level0",
            "profiler.activities=[device]",
            f"{EXPERIMENTAL}.gc_detect_threshold=1.5",
        ),
        f"{EXPERIMENTAL}.gc_detect_threshold",
        "1.5",
        "garbage collections are host events, but profiler.activities does not include host",
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
    (problem,) = problems_of("device=npu", *typed)
    assert (problem.setting, problem.given) == (setting, given)
    assert reason in problem.reason
    assert "\n" not in problem.reason + problem.fix
    assert problems_of("device=npu", *typed, *fixes(problem)) == []


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
    assert problems_of("device=npu", *typed) == []


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
