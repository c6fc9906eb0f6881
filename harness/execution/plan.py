"""Plan: lower a valid request to what the profiler gets and what the loop does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import to_builtins
from msgspec.structs import asdict, replace

from harness.devices import TARGETS
from harness.devices.base import LoweredProfiler, LoweredSchedule
from harness.execution.protocol import LoopPlan, Plan, RecordingPlan
from harness.settings.expectations import Recording, expected_of
from harness.settings.ranks import ALONE, Rank
from harness.settings.request import Baseline, Profiler, Request, Schedule
from harness.settings.schedule import recorded_steps, steps_for, whole_cycles
from harness.settings.schema import flatten


def plan(request: Request, folder: Path, rank: Rank = ALONE) -> Plan:
    """Lower a valid request to its device, for one process; needs neither torch nor the device."""
    if request.workload.is_one_step:
        request = _as_one_step(request)
    schedule = request.profiler.schedule
    steps = request.workload.steps
    if steps is None:
        cycles = schedule.repeat
        steps = steps_for(schedule, cycles)
    else:
        cycles = whole_cycles(schedule, steps)
    return Plan(
        folder=str(folder),
        recording=_recording(request, cycles, rank),
        loop=LoopPlan(
            seed=request.seed,
            workload=request.workload,
            baseline=request.profiler.baseline,
            steps=steps,
            execution=request.execution,
            rehearsal=request.rehearsal,
            max_seconds=request.profiler.max_seconds,
            max_memory_gib=request.profiler.max_memory_gib,
        ),
    )


def _as_one_step(request: Request) -> Request:
    """Return the request for a program that is recorded as a whole: there is nothing to repeat."""
    profiler = replace(
        request.profiler,
        schedule=Schedule(wait=0, warmup=0, active=1, repeat=1),
        baseline=Baseline(steps=0),
    )
    workload = replace(request.workload, warmup_steps=0, steps=None)
    return replace(request, profiler=profiler, workload=workload)


def _recording(request: Request, cycles: int, rank: Rank) -> RecordingPlan:
    profiler = request.profiler
    records = profiler.ranks is None or rank.rank in profiler.ranks
    lowered = _lower(profiler, cycles)
    recorded = recorded_steps(profiler.schedule, cycles) if records else ()
    effective = {f"profiler.{path}": value for path, value in flatten(to_builtins(lowered))}
    expectations = expected_of(
        Recording(
            activities=profiler.activities,
            reports_overflow=TARGETS[request.device.name].reports_overflow,
        ),
        effective,
        recorded=len(recorded),
        changed=[f"profiler.experimental.{name}" for name in profiler.experimental.changed()],
    )
    return RecordingPlan(
        device=request.device.name,
        index=_device_index(request, rank),
        rank=rank.rank,
        world_size=rank.world_size,
        records=records,
        environment=environment(request),
        profiler=lowered,
        recorded=recorded,
        effective=effective,
        expectations=tuple(expectations) if records else (),
        accept=request.delivery.accept,
    )


def _device_index(request: Request, rank: Rank) -> int:
    """Return the device of a rank: each of those on one machine has its own, if there are any."""
    has_devices = TARGETS[request.device.name].has_kernels
    return request.device.index + (rank.local_rank if has_devices else 0)


def trusted(plan: Plan, folder: Path) -> Plan:
    """Return a plan that was found in a run folder, for the analysis of what lies there.

    Its folder and its variables choose what is run, and where; a folder from elsewhere may not.
    """
    environment = TARGETS[plan.recording.device].environment()
    recording = replace(plan.recording, environment=environment)
    return replace(plan, folder=str(folder.absolute()), recording=recording)


def requested(request: Request) -> dict[str, Any]:
    """Return every setting of a request by its dotted name, as plain values."""
    data = to_builtins(request)
    # The tag of the union repeats the device's name.
    del data["profiler"]["experimental"]["device"]
    return dict(flatten(data))


def environment(request: Request) -> dict[str, str]:
    """Return the variables to set before torch loads: the device's, then the user's."""
    of_user = {name: str(value) for name, value in request.device.environment.items()}
    return TARGETS[request.device.name].environment() | of_user


def _lower(profiler: Profiler, cycles: int) -> LoweredProfiler:
    # With repeat=0, torch starts another cycle after the last whole one: an empty capture.
    schedule = asdict(profiler.schedule) | {"repeat": cycles}
    return LoweredProfiler(
        activities=profiler.activities,
        record_shapes=profiler.record_shapes,
        with_stack=profiler.with_stack,
        with_lines=profiler.with_lines,
        profile_memory=profiler.profile_memory,
        with_modules=profiler.with_modules,
        with_flops=profiler.with_flops,
        memory_timeline=profiler.memory_timeline,
        schedule=LoweredSchedule(**schedule),
        experimental=profiler.experimental.lowered(),
    )
