"""Plan: a valid request becomes what will be handed to the profiler, and the evidence demanded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import to_builtins
from msgspec.structs import asdict

from harness.devices import TARGETS
from harness.devices.base import LoweredProfiler, LoweredSchedule
from harness.execution.protocol import Plan
from harness.settings.expectations import Target, expected_of
from harness.settings.request import Profiler, Request
from harness.settings.schedule import recorded_steps, steps_for, whole_cycles
from harness.settings.schema import flatten


def plan(request: Request, folder: Path) -> Plan:
    """Lower a valid request to its device; touches neither torch nor the device."""
    schedule = request.profiler.schedule
    steps = request.workload.steps
    if steps is None:
        cycles = schedule.repeat
        steps = steps_for(schedule, cycles)
    else:
        cycles = whole_cycles(schedule, steps)
    lowered = _lower(request.profiler, cycles)
    recorded = recorded_steps(schedule, cycles)
    effective = {f"profiler.{path}": value for path, value in flatten(to_builtins(lowered))}
    return Plan(
        folder=str(folder),
        request=request,
        environment=environment(request),
        profiler=lowered,
        steps=steps,
        cycles=cycles,
        recorded=recorded,
        effective=effective,
        expectations=tuple(
            expected_of(
                Target(request.device.name, request.profiler.activities),
                effective,
                recorded=len(recorded),
                changed=[
                    f"profiler.experimental.{name}"
                    for name in request.profiler.experimental.changed()
                ],
            )
        ),
    )


def requested(request: Request) -> dict[str, Any]:
    """Return every setting of a request by its dotted name, as plain values."""
    data = to_builtins(request)
    # The tag of the union; the device says it.
    del data["profiler"]["experimental"]["device"]
    return dict(flatten(data))


def environment(request: Request) -> dict[str, str]:
    """Return the variables to set before torch loads: the device's, then the user's."""
    own = {name: str(value) for name, value in request.device.environment.items()}
    return TARGETS[request.device.name].environment(request) | own


def _lower(profiler: Profiler, cycles: int) -> LoweredProfiler:
    # repeat=0 would start one more cycle after the last whole one and leave an empty capture.
    schedule = asdict(profiler.schedule) | {"repeat": cycles}
    return LoweredProfiler(
        activities=profiler.activities,
        record_shapes=profiler.record_shapes,
        with_stack=profiler.with_stack,
        profile_memory=profiler.profile_memory,
        with_modules=profiler.with_modules,
        with_flops=profiler.with_flops,
        memory_timeline=profiler.memory_timeline,
        schedule=LoweredSchedule(**schedule),
        experimental=profiler.experimental.lowered(),
    )
