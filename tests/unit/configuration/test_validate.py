"""Each rule refuses its case, and accepts the request once its own fix is applied."""

from __future__ import annotations

import re

import pytest

from harness.configuration.validate import RULES, problems
from harness.devices.torch_profiler import PERF_EVENTS
from harness.errors import Problem
from tests.support.composing import composed

TARGET = ("workload=callable", "workload.target=a:b")
EXPERIMENTAL = "profiler.experimental"
NPU = ("device=npu",)
MARKERS = (*NPU, "profiler=markers")


def fixes(problem: Problem) -> list[str]:
    """The first way out that a fix names, as overrides."""
    return re.split(r",? or |; ", problem.fix)[0].split()


# What is refused, the setting that is named, the value, what the reason says.
REFUSED: list[tuple[tuple[str, ...], str, str, str]] = [
    (
        ("profiler.baseline.until=stable", "profiler.baseline.steps=0"),
        "profiler.baseline.until",
        "stable",
        "asks for no unprofiled steps",
    ),
    (
        ("workload=program", "workload.module=package.train", "execution=inline"),
        "execution",
        "inline",
        "a program may change or end the process",
    ),
    (
        ("workload=program", "workload.module=package.train", "seed=3"),
        "seed",
        "3",
        "a program seeds its own generators",
    ),
    (
        ("workload=loop",),
        "workload",
        "loop",
        "a program that calls harness.profile()",
    ),
    (
        ("profiler.activities=[host,host]",),
        "profiler.activities",
        "[host,host]",
        "torch refuses an activity that is listed twice",
    ),
    *(
        (
            ("device=cuda", "profiler=level0", "profiler.activities=[device]", f"{name}=true"),
            name,
            "true",
            "activities does not include host",
        )
        for name in (
            "profiler.record_shapes",
            "profiler.with_stack",
            "profiler.profile_memory",
        )
    ),
    (
        (*NPU, "profiler=level0", "profiler.activities=[device]", "profiler.with_modules=true"),
        "profiler.with_modules",
        "true",
        "activities does not include host",
    ),
    (
        ("analysis.perturbed.short_us=50",),
        "analysis.perturbed.long_us",
        "50.0",
        "it must be above analysis.perturbed.short_us=50",
    ),
    (
        ("rehearsal.emulate=true",),
        "device",
        "cpu",
        "only npu can be rehearsed",
    ),
    (
        (*NPU, "rehearsal.emulate=true", "execution=inline"),
        "execution",
        "inline",
        "the emulator's libraries must be on the path before the process starts",
    ),
    (
        (*NPU, "rehearsal.emulate=true", "device.index=2"),
        "device.index",
        "2",
        "this rehearsal has 2 NPUs, numbered from 0",
    ),
    (
        (*NPU, "rehearsal.faults.lost_head=0.5"),
        "rehearsal.faults.lost_head",
        "0.5",
        "this setting only applies to harness rehearse",
    ),
    (
        ("profiler.analyse=later",),
        "profiler.analyse",
        "later",
        "torch's events become tables while the run goes on",
    ),
    (
        ("profiler=level0", "profiler.activities=[host,device]"),
        "profiler.activities",
        "[host,device]",
        "device=cpu cannot deliver it: the CPU is the host, and there is no other device",
    ),
    (
        (f"{EXPERIMENTAL}.profiler_metrics=[a]",),
        f"{EXPERIMENTAL}.profiler_metrics",
        "[a]",
        "CUPTI counters exist on CUDA only",
    ),
    (
        (f"{EXPERIMENTAL}.performance_events=[cycles,branches]",),
        f"{EXPERIMENTAL}.performance_events",
        "[cycles,branches]",
        "torch has no event branches, and would record nothing at all; it has cycles, instruc",
    ),
    (
        (f"{EXPERIMENTAL}.performance_events=[cycles,cycles]",),
        f"{EXPERIMENTAL}.performance_events",
        "[cycles,cycles]",
        "listed twice",
    ),
    (
        (f"{EXPERIMENTAL}.performance_events=[{','.join(PERF_EVENTS)}]",),
        f"{EXPERIMENTAL}.performance_events",
        f"[{','.join(PERF_EVENTS)}]",
        "at most 4 at once",
    ),
    (
        (
            "device=cuda",
            "profiler=level0",
            "profiler.activities=[device]",
            f"{EXPERIMENTAL}.performance_events=[cycles]",
        ),
        f"{EXPERIMENTAL}.performance_events",
        "[cycles]",
        "activities does not include host",
    ),
    (
        ("device=cuda", f"{EXPERIMENTAL}.profiler_metrics=['a=b']"),
        f"{EXPERIMENTAL}.profiler_metrics",
        "[a=b]",
        "not the name of a metric",
    ),
    (
        (
            "device=cuda",
            "profiler.activities=[host]",
            f"{EXPERIMENTAL}.profiler_metrics=[sm__cycles_active.avg]",
        ),
        f"{EXPERIMENTAL}.profiler_metrics",
        "[sm__cycles_active.avg]",
        "activities does not include device",
    ),
    (
        (f"{EXPERIMENTAL}.enable_cuda_sync_events=true",),
        f"{EXPERIMENTAL}.enable_cuda_sync_events",
        "true",
        "no CUDA synchronisation",
    ),
    (
        (f"{EXPERIMENTAL}.disable_external_correlation=true",),
        f"{EXPERIMENTAL}.disable_external_correlation",
        "true",
        "no kernels to link",
    ),
    (
        (*NPU, "profiler=memory", "profiler.memory_timeline=true"),
        "profiler.memory_timeline",
        "true",
        "torch_npu's own memory files have the same content",
    ),
    (
        ("profiler=level0", "profiler.with_flops=true"),
        "profiler.with_flops",
        "true",
        "would also record shapes",
    ),
    (
        ("profiler=stacks", "profiler.memory_timeline=true"),
        "profiler.memory_timeline",
        "true",
        "it also needs profiler.record_shapes, profiler.profile_memory",
    ),
    (
        ("profiler.schedule.skip_first_wait=1",),
        "profiler.schedule.skip_first_wait",
        "1",
        "there is no wait to skip",
    ),
    (
        ("profiler.schedule.repeat=0",),
        "profiler.schedule.repeat",
        "0",
        "until the workload ends",
    ),
    (("workload.steps=3",), "workload.steps", "3", "the schedule needs 4"),
    (
        ("profiler.schedule.active=1000", "profiler.schedule.repeat=101"),
        "profiler.schedule.repeat",
        "101",
        "that makes 101,000 recorded steps",
    ),
    (
        ("profiler.schedule.wait=1000", "profiler.schedule.repeat=1000"),
        "profiler.schedule.repeat",
        "1000",
        "that makes 1,004,000 steps",
    ),
    (
        ("workload.steps=7", "profiler.schedule.repeat=2"),
        "workload.steps",
        "7",
        "the schedule needs 8",
    ),
    (
        ("workload.steps=3", "profiler.schedule.repeat=0"),
        "workload.steps",
        "3",
        "the schedule needs 4",
    ),
    (
        ("workload.steps=5", "profiler.schedule.repeat=0"),
        "workload.steps",
        "5",
        "the last cycle would be cut short",
    ),
    (
        ("workload.steps=7", "profiler.schedule={wait: 1, repeat: 0}"),
        "workload.steps",
        "7",
        "the last cycle would be cut short",
    ),
    (
        ("workload.compile=true", "workload.warmup_steps=0"),
        "workload.warmup_steps",
        "0",
        "the first step compiles",
    ),
    *(
        (
            (f"device={device}", "profiler=stacks", "profiler.with_modules=true"),
            "profiler.with_modules",
            "true",
            "no module hierarchy of eager workloads",
        )
        for device in ("cpu", "cuda")
    ),
    (("workload.heads=3",), "workload.heads", "3", "the heads must divide workload.width=128"),
    (
        (*TARGET, "+workload.kwargs.seed=3"),
        "workload.kwargs.seed",
        "3",
        "the harness passes seed itself",
    ),
    (
        ("workload=matmul", "workload.dtypes=[float32,float32]"),
        "workload.dtypes",
        "[float32,float32]",
        "only once",
    ),
    (
        ("workload=conv", "workload.batch=1", "workload.image_size=4"),
        "workload.image_size",
        "4",
        "one image is one pixel",
    ),
    (("device.index=1",), "device.index", "1", "one CPU device"),
    (
        ("profiler=stacks", f"{EXPERIMENTAL}.verbose=false"),
        f"{EXPERIMENTAL}.verbose",
        "false",
        "delivers empty stacks",
    ),
    (
        (f"{EXPERIMENTAL}.trace_only=true",),
        f"{EXPERIMENTAL}.trace_only",
        "true",
        "builds no events",
    ),
    (
        ("profiler=memory", f"{EXPERIMENTAL}.profile_all_threads=true"),
        f"{EXPERIMENTAL}.profile_all_threads",
        "true",
        "loses the memory events",
    ),
    (
        ("device=cuda", f"{EXPERIMENTAL}.profiler_measure_per_kernel=true"),
        f"{EXPERIMENTAL}.profiler_measure_per_kernel",
        "true",
        "profiler_metrics is empty",
    ),
    (
        (f"{EXPERIMENTAL}.custom_profiler_config='a=1'",),
        f"{EXPERIMENTAL}.custom_profiler_config",
        "'a=1'",
        "crashes torch's profiler",
    ),
    *(
        (
            (*NPU, f"profiler={profile}", f"{EXPERIMENTAL}.aic_metrics=Memory"),
            f"{EXPERIMENTAL}.aic_metrics",
            "Memory",
            f"profiler_level={level} collects no AI-core counters",
        )
        for profile, level in (("level0", "Level0"), ("markers", "Level_none"))
    ),
    (
        (*MARKERS, f"{EXPERIMENTAL}.mstx=false"),
        f"{EXPERIMENTAL}.mstx",
        "false",
        "records nothing but marks",
    ),
    (
        (*NPU, f"{EXPERIMENTAL}.op_attr=true"),
        f"{EXPERIMENTAL}.op_attr",
        "true",
        "only written to the database",
    ),
    (
        (*NPU, f"{EXPERIMENTAL}.mstx_domain_include=[a]"),
        f"{EXPERIMENTAL}.mstx",
        "false",
        "no marks are recorded",
    ),
    (
        (
            *MARKERS,
            f"{EXPERIMENTAL}.mstx_domain_include=[a]",
            f"{EXPERIMENTAL}.mstx_domain_exclude=[b]",
        ),
        f"{EXPERIMENTAL}.mstx_domain_exclude",
        "[b]",
        "not both",
    ),
]


@pytest.mark.parametrize(
    ("overrides", "setting", "value", "reason"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED]
)
def test_a_rule_refuses_its_case_and_accepts_its_own_fix(
    overrides: tuple[str, ...], setting: str, value: str, reason: str
) -> None:
    (problem,) = problems(composed(*overrides))
    assert (problem.setting, problem.given) == (setting, value)
    assert reason in problem.reason
    assert problems(composed(*overrides, *fixes(problem))) == []


# Whatever is given on the left is allowed, near a rule as it is.
ALLOWED: list[tuple[str, ...]] = [
    ("device=cuda", "profiler=level0", "profiler.activities=[device]"),
    ("device=cuda", "profiler.activities=[device,host]"),
    ("device=cuda", "device.index=7"),
    ("device=cuda", "profiler=memory", "profiler.memory_timeline=true"),
    ("device=cuda", f"{EXPERIMENTAL}.disable_external_correlation=true"),
    (
        "device=cuda",
        f"{EXPERIMENTAL}.profiler_metrics=[a]",
        f"{EXPERIMENTAL}.profiler_measure_per_kernel=true",
    ),
    ("profiler=memory", "profiler.memory_timeline=true"),
    ("profiler=level0", f"{EXPERIMENTAL}.verbose=true"),
    (f"{EXPERIMENTAL}.profile_all_threads=true",),
    (f"{EXPERIMENTAL}.performance_events=[{','.join(PERF_EVENTS[:4])}]",),
    (f"{EXPERIMENTAL}.custom_profiler_config='{{a: 1}}'",),
    (*TARGET, "profiler.with_modules=true"),
    (*TARGET, "+workload.kwargs.size=3"),
    ("workload.steps=4",),
    ("workload.steps=100",),
    ("workload.steps=8", "profiler.schedule.repeat=0"),
    ("workload.steps=6", "profiler.schedule={wait: 1, repeat: 0}"),
    ("workload.steps=5", "profiler.schedule={wait: 1, skip_first_wait: 1, repeat: 0}"),
    ("profiler.schedule.warmup=0",),
    ("profiler.schedule={wait: 1, skip_first_wait: 1}",),
    ("workload.warmup_steps=0",),
    ("workload.compile=true", "workload.warmup_steps=1"),
    (*NPU, "profiler.with_modules=true"),
    (*NPU, "device.index=3"),
    (*NPU, "profiler=level0", f"{EXPERIMENTAL}.aic_metrics=null"),
    (*MARKERS, f"{EXPERIMENTAL}.mstx=false", f"{EXPERIMENTAL}.msprof_tx=true"),
    (*MARKERS, f"{EXPERIMENTAL}.mstx_domain_exclude=[a]"),
    (*NPU, f"{EXPERIMENTAL}.op_attr=true", f"{EXPERIMENTAL}.export_type=[Db]"),
    (*NPU, f"{EXPERIMENTAL}.gc_detect_threshold=0"),
]


@pytest.mark.parametrize("overrides", ALLOWED, ids=" ".join)
def test_what_can_be_honoured_is_not_refused(overrides: tuple[str, ...]) -> None:
    assert problems(composed(*overrides)) == []


def test_every_rule_refuses_something_here(monkeypatch: pytest.MonkeyPatch) -> None:
    # One rule looks at the job that this process is a part of.
    monkeypatch.setenv("RANK", "1")
    requests = [composed(*row[0]) for row in REFUSED]
    idle = [rule for rule in RULES if not any(list(rule(request)) for request in requests)]
    assert idle == []


def test_all_rules_speak_at_once() -> None:
    request = composed(
        "profiler=level0",
        "profiler.activities=[device]",
        "profiler.with_stack=true",
        "profiler.with_flops=true",
        "device.index=2",
        "workload.steps=1",
        "workload.heads=3",
    )
    assert [problem.setting for problem in problems(request)] == [
        "profiler.with_stack",
        "profiler.activities",
        "workload.steps",
        "workload.heads",
        "profiler.with_flops",
        "profiler.with_flops",
        "device.index",
    ]


def test_a_fix_for_missing_host_activities_is_one_for_this_device() -> None:
    request = composed("profiler.activities=[device]")
    assert [problem.fix for problem in problems(request)] == [
        "profiler.activities=[host], or profiler.record_shapes=false",
        "profiler.activities=[host]",
    ]
