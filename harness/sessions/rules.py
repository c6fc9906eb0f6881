"""Rules for the settings of a session, whose windows begin when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.devices import TARGETS
from harness.errors import Problem
from harness.settings.request import Request
from harness.settings.schema import show

DEFAULTS: Final = (
    "workload.warmup_steps=0",
    "profiler.baseline.steps=0",
    # Of torch's estimates, nothing is in its trace.
    "device.with_flops=false",
)
"""A program that serves is warm, and its other steps are unprofiled."""
_TRACELESS: Final = ("performance_events", "profiler_metrics")
"""torch's settings whose values the tables get from the process that was profiled."""


def session_problems(request: Request) -> Iterator[Problem]:
    """Yield what a session cannot honour."""
    yield from _beginnings(request)
    if request.workload.is_one_step:
        yield Problem(
            setting="workload.step",
            given="whole",
            reason="a session records steps: with session.step(): …",
            fix="workload.step=marked, or harness.profile() for a whole block",
        )
    yield from _only_in_process(request)
    if request.profiler.with_lines and getattr(
        request.profiler.experimental, "profile_all_threads", False
    ):
        yield Problem(
            setting="profiler.with_lines",
            given="true",
            reason="lines are recorded of one thread, and with profile_all_threads=true any thread"
            " may make the steps of a session",
            fix="profiler.with_lines=false, or profiler.experimental.profile_all_threads=false",
        )


def _beginnings(request: Request) -> Iterator[Problem]:
    schedule, profiler = request.profiler.schedule, request.profiler
    zero = {
        "profiler.schedule.skip_first": schedule.skip_first,
        "profiler.schedule.skip_first_wait": schedule.skip_first_wait,
        "profiler.schedule.wait": schedule.wait,
        "workload.warmup_steps": request.workload.warmup_steps,
        "profiler.baseline.steps": profiler.baseline.steps,
    }
    for name, value in zero.items():
        if value:
            yield Problem(
                setting=name,
                given=str(value),
                reason="a window of a session begins when it is asked for",
                fix=f"{name}=0; session.window(at_step=…) names a later step",
            )
    if schedule.repeat != 1:
        yield Problem(
            setting="profiler.schedule.repeat",
            given=str(schedule.repeat),
            reason="a window of a session is one cycle",
            fix="profiler.schedule.repeat=1, and session.window() again",
        )
    if request.workload.steps is not None:
        yield Problem(
            setting="workload.steps",
            given=str(request.workload.steps),
            reason="each window says itself how many steps it records",
            fix="workload.steps=null; session.window(steps=5)",
        )


def _only_in_process(request: Request) -> Iterator[Problem]:
    """Refuse what is not in the trace that torch writes, from which a session's tables are made."""
    if TARGETS[request.device.name].profiled_by.analysed_after_run:
        return
    experimental = request.profiler.experimental
    values = {
        "profiler.with_flops": request.profiler.with_flops,
        "profiler.memory_timeline": request.profiler.memory_timeline,
        **{f"profiler.experimental.{name}": getattr(experimental, name) for name in _TRACELESS},
    }
    for name, value in values.items():
        if value:
            yield Problem(
                setting=name,
                given=show(value),
                reason="torch writes none of it into its trace, and a session leaves the profiled"
                " process alone",
                fix=f"{name}={show(type(value)())}, or harness.profile()",
            )
