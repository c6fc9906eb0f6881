"""The arithmetic of a profiler schedule: which steps it needs and which it records.

The rules are those of ``torch.profiler.schedule`` (torch 2.13), which torch_npu's follow.
"""

from __future__ import annotations

from harness.settings.request import Schedule


def cycle_length(schedule: Schedule) -> int:
    """Return the steps of one whole cycle."""
    return schedule.wait + schedule.warmup + schedule.active


def _lead(schedule: Schedule) -> int:
    """Return the step at which the first cycle starts; below skip_first if its wait is skipped."""
    return schedule.skip_first - (schedule.wait if schedule.skip_first_wait else 0)


def steps_for(schedule: Schedule, cycles: int) -> int:
    """Return how many steps `cycles` whole cycles need, from the workload's first step on."""
    return _lead(schedule) + cycles * cycle_length(schedule)


def whole_cycles(schedule: Schedule, steps: int) -> int:
    """Return how many whole cycles fit into `steps` steps, at most ``repeat`` of them."""
    fitting = max(0, (steps - _lead(schedule)) // cycle_length(schedule))
    return min(fitting, schedule.repeat) if schedule.repeat else fitting


def recorded_steps(schedule: Schedule, cycles: int) -> tuple[int, ...]:
    """Return the step numbers, from 0, that the first `cycles` cycles record."""
    return tuple(
        step
        for cycle in range(1, cycles + 1)
        for step in range(
            steps_for(schedule, cycle) - schedule.active,
            steps_for(schedule, cycle),
        )
    )


def phase_of(schedule: Schedule, step: int, cycles: int) -> str:
    """Return what the profiler does in a step: wait, profiler_warmup or active."""
    position = step - _lead(schedule)
    if step < schedule.skip_first or position >= cycles * cycle_length(schedule):
        return "wait"
    within = position % cycle_length(schedule)
    if within < schedule.wait:
        return "wait"
    return "profiler_warmup" if within < schedule.wait + schedule.warmup else "active"
