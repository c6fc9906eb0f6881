"""torch.profiler, as the devices cpu and cuda use it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from harness.devices.base import CycleWriter, LoweredProfiler, Profiler, Unsupported
from harness.errors import Problem
from harness.settings.schema import show
from harness.settings.torch import TorchExperimental

if TYPE_CHECKING:
    from harness.settings.request import Request

AUTOLOAD = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
"""Without it, ``import torch`` fails where torch_npu is installed and CANN is not."""

ANALYSED_WHILE_RUNNING: Mapping[str, Unsupported] = {
    "profiler.analyse=later": Unsupported(
        "torch's events become tables while the run goes on", "profiler.analyse=now"
    ),
}


PERF_EVENTS = (
    *("cycles", "instructions", "pagefaults"),
    *("backend-stall-cycles", "frontend-stall-cycles"),
)
"""What torch 2.13 can count of Linux's perf events (torch/csrc/profiler/perf.cpp)."""
MOST_PERF_EVENTS = 4


def torch_problems(request: Request, experimental: TorchExperimental) -> Iterator[Problem]:
    """Yield what torch 2.13 would drop, ignore or die of, on any of its devices."""
    prefix = "profiler.experimental"
    profiler = request.profiler
    if profiler.with_stack and not experimental.verbose:
        yield Problem(
            setting=f"{prefix}.verbose",
            given="false",
            reason="with_stack=true delivers empty stacks unless torch is told to be verbose",
            fix=f"{prefix}.verbose=true, or profiler.with_stack=false",
        )
    if experimental.trace_only:
        yield Problem(
            setting=f"{prefix}.trace_only",
            given="true",
            reason="torch then builds no events, and the tables are made from them",
            fix=f"{prefix}.trace_only=false",
        )
    if experimental.profile_all_threads and profiler.profile_memory:
        yield Problem(
            setting=f"{prefix}.profile_all_threads",
            given="true",
            reason="torch loses the memory events of profile_memory=true with it",
            fix=f"{prefix}.profile_all_threads=false, or profiler.profile_memory=false",
        )
    if experimental.profiler_measure_per_kernel and not experimental.profiler_metrics:
        yield Problem(
            setting=f"{prefix}.profiler_measure_per_kernel",
            given="true",
            reason="there is nothing to measure for each kernel without profiler_metrics",
            fix=f"{prefix}.profiler_metrics=[sm__inst_executed.sum]",
        )
    yield from _counter_problems(request, experimental)
    # Kineto reads the text as one line of KEY=VALUE; a second "=" makes it reject its whole
    # configuration, and stopping then dereferences a session that never started.
    if any(mark in experimental.custom_profiler_config for mark in "=\n"):
        yield Problem(
            setting=f"{prefix}.custom_profiler_config",
            given=repr(experimental.custom_profiler_config),
            reason="a text with '=' or a line break crashes torch's profiler (SIGSEGV)",
            fix=f"{prefix}.custom_profiler_config='' or a JSON object without '='",
        )


def _counter_problems(request: Request, experimental: TorchExperimental) -> Iterator[Problem]:
    activities = request.profiler.activities
    events, prefix = experimental.performance_events, "profiler.experimental"
    wrong = ""
    if unknown := [name for name in events if name not in PERF_EVENTS]:
        wrong = f"torch knows no {unknown[0]}, and would record nothing at all; there are "
        wrong += ", ".join(PERF_EVENTS)
    elif len(set(events)) != len(events):
        wrong = "torch refuses an event that is named twice, and would record nothing at all"
    elif len(events) > MOST_PERF_EVENTS:
        wrong = f"torch counts at most {MOST_PERF_EVENTS} at once, and would record nothing at all"
    elif events and "host" not in activities:
        wrong = "they are counted for operators, and activities leaves the host out"
    if wrong:
        known = [name for name in dict.fromkeys(events) if name in PERF_EVENTS]
        reason = known[:MOST_PERF_EVENTS] if "host" in activities else []
        yield Problem(
            setting=f"{prefix}.performance_events",
            given=show(events),
            reason=wrong,
            fix=f"{prefix}.performance_events={show(reason)};"
            " +sweep=performance_events counts all, run by run",
        )
    metrics = experimental.profiler_metrics
    bad = [name for name in metrics if not re.fullmatch(r"[\w.]+", name)]
    unseen = metrics and "device" not in activities and request.device.name == "cuda"
    if bad or unseen:
        yield Problem(
            setting=f"{prefix}.profiler_metrics",
            given=show(metrics),
            reason=f"{bad[0]!r} is no name of a metric"
            if bad
            else "they are counted for kernels, and activities leaves the device out",
            fix=f"{prefix}.profiler_metrics=[sm__inst_executed.sum]"
            if bad
            else f"{prefix}.profiler_metrics=[]",
        )


def build_profiler(
    lowered: LoweredProfiler, writer: CycleWriter, activities: dict[str, str]
) -> AbstractContextManager[Profiler]:
    """Build ``torch.profiler.profile``; `activities` maps our names to ProfilerActivity's."""
    from msgspec.structs import asdict
    from torch._C._profiler import _ExperimentalConfig
    from torch.profiler import ProfilerActivity, profile, schedule

    from harness.devices.torch_cycles import TorchCycleHandler

    return profile(
        activities=[getattr(ProfilerActivity, activities[name]) for name in lowered.activities],
        schedule=schedule(**asdict(lowered.schedule)),
        on_trace_ready=TorchCycleHandler(lowered, writer),
        record_shapes=lowered.record_shapes,
        profile_memory=lowered.profile_memory,
        with_stack=lowered.with_stack,
        with_flops=lowered.with_flops,
        with_modules=lowered.with_modules,
        experimental_config=_ExperimentalConfig(**lowered.experimental),
    )
