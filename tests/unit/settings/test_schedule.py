"""The schedule's arithmetic is torch's."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import profiler
from torch.profiler import ProfilerAction

from harness.settings.request import Schedule
from harness.settings.schedule import (
    cycle_length,
    phase_of,
    recorded_steps,
    steps_for,
    whole_cycles,
)

# Every schedule here is made to be compared, with and without warm-up.
pytestmark = pytest.mark.filterwarnings("ignore:Profiler won't be using warmup:UserWarning")

PHASES = {
    ProfilerAction.NONE: "wait",
    ProfilerAction.WARMUP: "profiler_warmup",
    ProfilerAction.RECORD: "active",
    ProfilerAction.RECORD_AND_SAVE: "active",
}


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    few = st.integers(0, 4)
    wait = draw(few)
    return Schedule(
        skip_first=draw(few),
        skip_first_wait=draw(st.integers(0, 1)) if wait else 0,
        wait=wait,
        warmup=draw(few),
        active=draw(st.integers(1, 4)),
        repeat=draw(st.integers(0, 3)),
    )


@given(schedules(), st.integers(0, 4))
def test_phases_and_recorded_steps_are_those_of_torch(schedule: Schedule, cycles: int) -> None:
    cycles = schedule.repeat or cycles
    action = profiler.schedule(**msgspec.structs.asdict(schedule))
    last = steps_for(schedule, cycles)
    steps = range(max(last, schedule.skip_first))
    phases = [PHASES[action(step)] for step in steps]
    if cycles:
        assert [phase_of(schedule, step, cycles) for step in steps] == phases
        assert action(last - 1) == ProfilerAction.RECORD_AND_SAVE
    assert list(recorded_steps(schedule, cycles)) == [
        step for step in steps if step < last and phases[step] == "active"
    ]
    saves = [step for step in steps if action(step) == ProfilerAction.RECORD_AND_SAVE]
    assert len(saves) == cycles


@given(schedules(), st.integers(0, 40))
def test_whole_cycles_are_the_windows_that_torch_saves(schedule: Schedule, steps: int) -> None:
    action = profiler.schedule(**msgspec.structs.asdict(schedule))
    saves = [step for step in range(steps) if action(step) == ProfilerAction.RECORD_AND_SAVE]
    assert whole_cycles(schedule, steps) == len(saves)


@given(schedules(), st.integers(1, 4), st.integers(0, 20))
def test_nothing_is_recorded_after_the_last_cycle(
    schedule: Schedule, cycles: int, after: int
) -> None:
    assert phase_of(schedule, steps_for(schedule, cycles) + after, cycles) == "wait"


@pytest.mark.parametrize(
    ("schedule", "cycles", "needed", "recorded"),
    [
        (Schedule(), 1, 4, (1, 2, 3)),
        (Schedule(wait=1, warmup=1, active=2), 2, 8, (2, 3, 6, 7)),
        (Schedule(skip_first=5, warmup=0, active=1), 3, 8, (5, 6, 7)),
        (Schedule(skip_first_wait=1, wait=2, active=1), 2, 6, (1, 5)),
        (Schedule(skip_first=1, skip_first_wait=1, wait=2, active=1), 1, 3, (2,)),
    ],
)
def test_a_schedule_in_numbers(
    schedule: Schedule, cycles: int, needed: int, recorded: tuple[int, ...]
) -> None:
    assert steps_for(schedule, cycles) == needed
    assert recorded_steps(schedule, cycles) == recorded
    assert cycle_length(schedule) == schedule.wait + schedule.warmup + schedule.active
