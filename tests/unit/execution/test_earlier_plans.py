"""Plans of earlier versions are read."""

from __future__ import annotations

import msgspec

from harness.devices.base import LoweredProfiler


def test_a_plan_without_lines_asked_for_none() -> None:
    schedule = dict.fromkeys(("skip_first", "skip_first_wait", "wait", "warmup", "active"), 1)
    flags = ("record_shapes", "with_stack", "profile_memory", "with_modules", "with_flops")
    earlier = {
        "activities": ["host"],
        **dict.fromkeys((*flags, "memory_timeline"), False),
        "schedule": {**schedule, "repeat": 1},
        "experimental": {},
    }
    assert msgspec.convert(earlier, LoweredProfiler).with_lines is False
