"""Settings of the unprofiled steps that cannot be honoured are refused by name."""

from __future__ import annotations

import pytest

from tests.support.composing import problems_of

PROGRAM = ("workload=program", "workload.module=package.train")


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [
        ((*PROGRAM, "profiler.baseline.until=stable"), "profiler.baseline.until"),
        ((*PROGRAM, "profiler.baseline.place=around"), "profiler.baseline.place"),
        (("profiler.baseline.until=stable", "execution=torchrun"), "profiler.baseline.until"),
        (("profiler.baseline.precision=0.1",), "profiler.baseline.precision"),
        (
            ("profiler.baseline.until=stable", "profiler.baseline.max_steps=2"),
            "profiler.baseline.max_steps",
        ),
        (
            ("profiler.baseline.place=around", "profiler.baseline.steps=0"),
            "profiler.baseline.place",
        ),
        (
            ("profiler.baseline.place=around", "profiler.schedule.repeat=2"),
            "profiler.baseline.place",
        ),
    ],
)
def test_it_is_refused(overrides: tuple[str, ...], setting: str) -> None:
    assert [problem.setting for problem in problems_of(*overrides)] == [setting]


def test_a_pause_between_cycles_is_enough() -> None:
    cycles = ("profiler.schedule.repeat=2", "profiler.schedule.wait=1")
    assert problems_of("profiler.baseline.place=around", *cycles) == []
