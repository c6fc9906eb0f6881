"""torch.profiler, as the devices cpu and cuda use it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

from harness.devices.base import (
    CycleWriter,
    LoweredProfiler,
    Profiler,
    ProfilerFacts,
    TraceHandler,
    Unsupported,
)
from harness.errors import Problem
from harness.settings.schema import show
from harness.settings.torch import TorchExperimental
from harness.workloads.callable import Callable
from harness.workloads.loop import Loop
from harness.workloads.program import Program

if TYPE_CHECKING:
    from harness.settings.request import Request

AUTOLOAD = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
"""Without it, ``import torch`` fails where torch_npu is installed and CANN is not."""

TORCH: Final = ProfilerFacts(
    name="torch",
    analysed_after_run=False,
    single_stream=True,
    records_kernel_shapes=False,
    records_lists=True,
)

ANALYSED_WHILE_RUNNING: Mapping[str, Unsupported] = {
    "profiler.analyse=later": Unsupported(
        "torch's events become tables while the run goes on", "profiler.analyse=now"
    ),
}


PERF_EVENTS = (
    *("cycles", "instructions", "pagefaults"),
    *("backend-stall-cycles", "frontend-stall-cycles"),
)
"""The perf events of Linux that torch 2.13 can count (torch/csrc/profiler/perf.cpp)."""
MOST_PERF_EVENTS = 4


def torch_problems(request: Request, experimental: TorchExperimental) -> Iterator[Problem]:
    """Yield what torch 2.13 would drop or ignore, or what would crash it, on all its devices."""
    prefix = "profiler.experimental"
    profiler = request.profiler
    if profiler.with_stack and not experimental.verbose:
        yield Problem(
            setting=f"{prefix}.verbose",
            given="false",
            reason="with_stack=true delivers empty stacks unless torch is verbose",
            fix=f"{prefix}.verbose=true, or profiler.with_stack=false",
        )
    if experimental.trace_only:
        yield Problem(
            setting=f"{prefix}.trace_only",
            given="true",
            reason="torch then builds no events, but the tables are made from events",
            fix=f"{prefix}.trace_only=false",
        )
    if experimental.profile_all_threads and profiler.profile_memory:
        yield Problem(
            setting=f"{prefix}.profile_all_threads",
            given="true",
            reason="with it, torch loses the memory events of profile_memory=true",
            fix=f"{prefix}.profile_all_threads=false, or profiler.profile_memory=false",
        )
    if experimental.profiler_measure_per_kernel and not experimental.profiler_metrics:
        yield Problem(
            setting=f"{prefix}.profiler_measure_per_kernel",
            given="true",
            reason="it needs metrics to measure, and profiler_metrics is empty",
            fix=f"{prefix}.profiler_metrics=[sm__inst_executed.sum]",
        )
    yield from _perf_problems(request, experimental)
    yield from _metric_problems(experimental)
    yield from _operator_problems(request)
    yield from _backend_problems(experimental)


def _backend_problems(experimental: TorchExperimental) -> Iterator[Problem]:
    # Kineto reads the text as one line of KEY=VALUE; a second "=" makes it reject its whole
    # configuration, and stopping then dereferences a session that never started.
    if any(mark in experimental.custom_profiler_config for mark in "=\n"):
        yield Problem(
            setting="profiler.experimental.custom_profiler_config",
            given=repr(experimental.custom_profiler_config),
            reason="a text with '=' or a line break crashes torch's profiler (SIGSEGV)",
            fix="profiler.experimental.custom_profiler_config='' or a JSON object without '='",
        )


def _perf_problems(request: Request, experimental: TorchExperimental) -> Iterator[Problem]:
    activities = request.profiler.activities
    events = experimental.performance_events
    wrong = ""
    if unknown := [name for name in events if name not in PERF_EVENTS]:
        wrong = f"torch has no event {unknown[0]}, and would record nothing at all; it has "
        wrong += ", ".join(PERF_EVENTS)
    elif len(set(events)) != len(events):
        wrong = "torch refuses an event that is listed twice, and would record nothing at all"
    elif len(events) > MOST_PERF_EVENTS:
        wrong = f"torch counts at most {MOST_PERF_EVENTS} at once, else it records nothing at all"
    elif events and "host" not in activities:
        wrong = "they are counted for operators, but profiler.activities does not include host"
    if wrong:
        countable = [name for name in dict.fromkeys(events) if name in PERF_EVENTS]
        possible = countable[:MOST_PERF_EVENTS] if "host" in activities else []
        yield Problem(
            setting="profiler.experimental.performance_events",
            given=show(events),
            reason=wrong,
            fix=f"profiler.experimental.performance_events={show(possible)};"
            " +sweep=performance_events counts all of them in several runs",
        )


def _metric_problems(experimental: TorchExperimental) -> Iterator[Problem]:
    metrics = experimental.profiler_metrics
    bad = [name for name in metrics if not re.fullmatch(r"[\w.]+", name)]
    if bad:
        yield Problem(
            setting="profiler.experimental.profiler_metrics",
            given=show(metrics),
            reason=f"{bad[0]!r} is not the name of a metric",
            fix="profiler.experimental.profiler_metrics=[sm__inst_executed.sum]",
        )


def _operator_problems(request: Request) -> Iterator[Problem]:
    """Refuse estimates and modules that torch would not deliver, or only with more than that."""
    profiler = request.profiler
    if profiler.with_flops and "host" not in profiler.activities:
        yield Problem(
            setting="profiler.with_flops",
            given="true",
            reason="torch estimates flops of operators, but profiler.activities does not include"
            " host",
            fix=f"profiler.activities={show(request.device.activities)},"
            " or profiler.with_flops=false",
        )
    if profiler.with_flops and not profiler.record_shapes:
        yield Problem(
            setting="profiler.with_flops",
            given="true",
            reason="torch would also record shapes, which costs time and memory",
            fix="profiler.record_shapes=true, or profiler.with_flops=false",
        )
    # torch records modules of TorchScript, which a user's own step may be.
    own = isinstance(request.workload, Callable | Loop | Program)
    if profiler.with_modules and not own:
        yield Problem(
            setting="profiler.with_modules",
            given="true",
            reason="torch records no module hierarchy of eager workloads",
            fix="profiler.with_modules=false; profiler.with_stack=true shows the calling code",
        )


def build_profiler(
    lowered: LoweredProfiler, writer: CycleWriter, activities: dict[str, str]
) -> AbstractContextManager[Profiler]:
    """Build torch's profiler; `activities` maps our names to ProfilerActivity's."""
    from harness.devices.torch_cycles import CycleProfiler, TorchCycleHandler

    handler = TorchCycleHandler(lowered, writer)
    return CycleProfiler(on_trace_ready=handler, **_arguments(lowered, activities))


def build_bare_profiler(
    lowered: LoweredProfiler, on_trace_ready: TraceHandler | None, activities: dict[str, str]
) -> Any:
    """Build a plain `torch.profiler.profile`."""
    from torch.profiler import profile

    return profile(on_trace_ready=on_trace_ready, **_arguments(lowered, activities))


def _arguments(lowered: LoweredProfiler, activities: dict[str, str]) -> dict[str, Any]:
    from msgspec.structs import asdict
    from torch._C._profiler import _ExperimentalConfig
    from torch.profiler import ProfilerActivity, schedule

    return {
        "activities": [getattr(ProfilerActivity, activities[name]) for name in lowered.activities],
        "schedule": schedule(**asdict(lowered.schedule)),
        "record_shapes": lowered.record_shapes,
        "profile_memory": lowered.profile_memory,
        "with_stack": lowered.with_stack,
        "with_flops": lowered.with_flops,
        "with_modules": lowered.with_modules,
        "experimental_config": _ExperimentalConfig(**lowered.experimental),
    }
