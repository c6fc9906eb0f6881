"""The order of a loop's steps."""

from __future__ import annotations

from harness.execution.blocks import Block, blocks
from harness.settings.request import Baseline, Schedule


def test_unprofiled_steps_come_after_each_cycle() -> None:
    schedule = Schedule(wait=1, warmup=1, active=2, repeat=2)
    baseline = Baseline(steps=3, place="around", until="stable")
    unprofiled = Block("baseline", 3, scheduled=False)
    cycle = [Block("wait", 1), Block("profiler_warmup", 1), Block("active", 2)]
    assert list(blocks(2, baseline, schedule, steps=8, cycles=2)) == [
        Block("warmup", 2, scheduled=False),
        unprofiled._replace(until_stable=True),
        *cycle,
        unprofiled,
        *cycle,
        unprofiled,
    ]


def test_before_is_the_default() -> None:
    order = list(blocks(0, Baseline(), Schedule(), steps=4, cycles=1))
    assert [block.phase for block in order] == ["baseline", "profiler_warmup", "active"]
