"""Validate: which settings of a request do not go together, though each is allowed by itself.

A rule takes the request and yields problems; it touches no device and imports no torch. Rules of
one device are its own: `harness.devices`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import to_builtins

from harness.configuration.baseline_rules import problems_of_baseline
from harness.configuration.own_programs import (
    loop_of_this_program,
    loops_belong_to_programs,
    programs_are_isolated,
    programs_seed_themselves,
    runs_in_this_process,
)
from harness.configuration.rank_rules import problems_of_ranks, ranks_are_isolated
from harness.devices import TARGETS
from harness.errors import Problem
from harness.settings.faults import Faults
from harness.settings.request import Rehearsal, Request
from harness.settings.schedule import cycle_length, steps_for, whole_cycles
from harness.settings.schema import flatten, show
from harness.workloads.base import BuiltWorkload

Rule = Callable[[Request], Iterator[Problem]]


def problems(
    request: Request, *, in_program: bool = False, runs_here: bool = True
) -> list[Problem]:
    """Return every reason to refuse the request, in the order of `RULES`.

    `in_program`: a program that runs already has made it, by ``harness.profile()``; not a command.
    `runs_here`: whether the harness runs it; else the ranks are those of another program.
    """
    rules = [*RULES, *(IN_PROGRAM if in_program else BY_COMMAND)]
    if not runs_here:
        rules.remove(problems_of_ranks)
    return [problem for rule in rules for problem in rule(request)]


def _activities_once(request: Request) -> Iterator[Problem]:
    activities = request.profiler.activities
    if len(set(activities)) != len(activities):
        once = ",".join(dict.fromkeys(activities))
        yield Problem(
            setting="profiler.activities",
            given=show(activities),
            reason="torch refuses an activity that is listed twice",
            fix=f"profiler.activities=[{once}]",
        )


def _host_settings(request: Request) -> Iterator[Problem]:
    """Operators are host events: what describes them needs the host activity."""
    profiler = request.profiler
    if "host" in profiler.activities:
        return
    wanted = {
        "record_shapes": profiler.record_shapes,
        "with_stack": profiler.with_stack,
        "profile_memory": profiler.profile_memory,
        "with_modules": profiler.with_modules,
    }
    for name, is_on in wanted.items():
        if is_on:
            yield Problem(
                setting=f"profiler.{name}",
                given="true",
                reason="it describes operators, but profiler.activities does not include host",
                fix=f"profiler.activities={show(request.device.activities)},"
                f" or profiler.{name}=false",
            )


def _capabilities(request: Request) -> Iterator[Problem]:
    """Refuse what the device never delivers."""
    target = TARGETS[request.device.name]
    for path, value in flatten(to_builtins(request)):
        values = value if isinstance(value, list | tuple) else [value]
        keys = [path] if value else []
        keys += [f"{path}={show(item)}" for item in values]
        for unsupported in (target.unsupported[key] for key in keys if key in target.unsupported):
            yield Problem(
                setting=path,
                given=show(value),
                reason=f"device={target.name} cannot deliver it: {unsupported.reason}",
                fix=unsupported.fix,
            )


def _memory_timeline_needs(request: Request) -> Iterator[Problem]:
    profiler = request.profiler
    if not profiler.memory_timeline:
        return
    needs = {
        "profiler.record_shapes": profiler.record_shapes,
        "profiler.profile_memory": profiler.profile_memory,
        "profiler.with_stack": profiler.with_stack,
    }
    missing = [name for name, is_on in needs.items() if not is_on]
    if missing:
        yield Problem(
            setting="profiler.memory_timeline",
            given="true",
            reason="torch builds it from shapes, memory and stacks; it also needs "
            + ", ".join(missing),
            fix=" ".join(f"{name}=true" for name in missing),
        )


def _steps_fill_schedule(request: Request) -> Iterator[Problem]:
    """Refuse a schedule that would end in a silent, partial or empty capture."""
    if request.workload.is_one_step:
        return
    schedule, steps = request.profiler.schedule, request.workload.steps
    if schedule.skip_first_wait and not schedule.wait:
        yield Problem(
            setting="profiler.schedule.skip_first_wait",
            given="1",
            reason="there is no wait to skip",
            fix="profiler.schedule.skip_first_wait=0, or profiler.schedule.wait=1",
        )
    elif steps is None:
        if schedule.repeat == 0:
            yield Problem(
                setting="profiler.schedule.repeat",
                given="0",
                reason="cycles repeat until the workload ends, and workload.steps=null sets no end",
                fix=f"workload.steps={steps_for(schedule, 2)}, or profiler.schedule.repeat=1",
            )
    elif whole_cycles(schedule, steps) < max(1, schedule.repeat):
        needed = steps_for(schedule, max(1, schedule.repeat))
        yield Problem(
            setting="workload.steps",
            given=str(steps),
            reason=f"the schedule needs {needed}; with fewer, the profiler silently cuts its last"
            " cycle short",
            fix=f"workload.steps={needed}, or null for as many as the schedule needs",
        )
    elif (
        not schedule.repeat
        and (steps - steps_for(schedule, 0)) % cycle_length(schedule) > schedule.wait
    ):
        whole = steps_for(schedule, whole_cycles(schedule, steps))
        yield Problem(
            setting="workload.steps",
            given=str(steps),
            reason="with profiler.schedule.repeat=0 the last cycle would be cut short",
            fix=f"workload.steps={whole}",
        )


MOST_RECORDED: Final = 100_000
MOST_STEPS: Final = 1_000_000


def _schedule_has_limits(request: Request) -> Iterator[Problem]:
    """Refuse cycles that together record, or run, more steps than a run can hold."""
    schedule = request.profiler.schedule
    steps = request.workload.steps
    cycles = schedule.repeat if steps is None else whole_cycles(schedule, steps)
    recorded, total = cycles * schedule.active, steps or steps_for(schedule, cycles)
    if request.profiler.baseline.place == "around":
        total += cycles * request.profiler.baseline.steps
    for count, most, what in (
        (recorded, MOST_RECORDED, "recorded steps; each leaves events on disk"),
        (total, MOST_STEPS, "steps; each leaves a line in steps.jsonl"),
    ):
        if count > most:
            yield Problem(
                setting="profiler.schedule.repeat",
                given=str(schedule.repeat),
                reason=f"that makes {count:,} {what}, and a run has at most {most:,}",
                fix=f"profiler.schedule.repeat={max(1, most // cycle_length(schedule))}, or shorter"
                " cycles",
            )


def _compile_before_timing(request: Request) -> Iterator[Problem]:
    workload = request.workload
    if isinstance(workload, BuiltWorkload) and workload.compile and workload.warmup_steps == 0:
        yield Problem(
            setting="workload.warmup_steps",
            given="0",
            reason="with workload.compile=true the first step compiles, and its time would count",
            fix="workload.warmup_steps=1",
        )


def _rehearsal(request: Request) -> Iterator[Problem]:
    """Refuse rehearsals of devices without an emulator, and settings of a rehearsal elsewhere."""
    rehearsal, device = request.rehearsal, request.device
    if not rehearsal.emulate:
        defaults = dict(flatten(to_builtins(Rehearsal(faults=Faults()))))
        for path, value in flatten(to_builtins(rehearsal)):
            if value != defaults[path]:
                yield Problem(
                    setting=f"rehearsal.{path}",
                    given=show(value),
                    reason="this setting only applies to harness rehearse",
                    fix=f"rehearsal.{path}={show(defaults[path])}, or python -m harness rehearse …",
                )
        return
    rehearsed = [name for name, target in TARGETS.items() if target.can_be_rehearsed]
    if device.name not in rehearsed:
        yield Problem(
            setting="device",
            given=device.name,
            reason=f"only {' and '.join(rehearsed)} can be rehearsed",
            fix=f"device={rehearsed[0]}, or python -m harness without rehearse",
        )
    if request.execution.kind == "inline":
        yield Problem(
            setting="execution",
            given="inline",
            reason="the emulator's libraries must be on the path before the process starts",
            fix="execution=isolated",
        )
    if device.index >= rehearsal.devices:
        yield Problem(
            setting="device.index",
            given=str(device.index),
            reason=f"this rehearsal has {rehearsal.devices} NPUs, numbered from 0",
            fix=f"device.index={rehearsal.devices - 1}, or rehearsal.devices={device.index + 1}",
        )


def _analysis(request: Request) -> Iterator[Problem]:
    limits = request.analysis.perturbed
    if limits.long_us <= limits.short_us:
        yield Problem(
            setting="analysis.perturbed.long_us",
            given=show(limits.long_us),
            reason=f"it must be above analysis.perturbed.short_us={show(limits.short_us)}: the"
            " limit is interpolated between the two",
            fix=f"analysis.perturbed.long_us={show(limits.short_us + 1)}",
        )


def _workload(request: Request) -> Iterator[Problem]:
    yield from request.workload.problems()


def _device(request: Request) -> Iterator[Problem]:
    yield from TARGETS[request.device.name].problems(request)


RULES: tuple[Rule, ...] = (
    _activities_once,
    _host_settings,
    _capabilities,
    _memory_timeline_needs,
    _steps_fill_schedule,
    _schedule_has_limits,
    _compile_before_timing,
    problems_of_baseline,
    problems_of_ranks,
    programs_are_isolated,
    programs_seed_themselves,
    _rehearsal,
    _analysis,
    _workload,
    _device,
)
"""The rules of every request; a new one is a line here."""
BY_COMMAND: tuple[Rule, ...] = (loops_belong_to_programs, ranks_are_isolated)
"""Those of a request that a command line makes."""
IN_PROGRAM: tuple[Rule, ...] = (loop_of_this_program, runs_in_this_process)
"""Those of a request that a running program makes."""
