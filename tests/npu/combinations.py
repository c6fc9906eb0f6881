"""Combinations of the profiler's settings that the harness accepts: all pairs, then random ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

Case = dict[str, Any]

LEVELS = {"Level_none": 0x0, "Level0": 0x801, "Level1": 0x27, "Level2": 0x12F}
GROUPS = {
    "ArithmeticUtilization": 0,
    "PipeUtilization": 1,
    "Memory": 2,
    "MemoryL0": 3,
    "ResourceConflictRatio": 4,
    "MemoryUB": 5,
    "L2Cache": 6,
    "MemoryAccess": 8,
    "AiCoreNone": 255,
}
BOTH = (False, True)
VALUES: dict[str, tuple[Any, ...]] = {
    "profiler_level": tuple(LEVELS),
    "aic_metrics": (*GROUPS, None),
    "export_type": (("Text",), ("Db",), ("Text", "Db")),
    "host_sys": ((), ("CPU",), ("CPU", "MEM")),
    "gc_detect_threshold": (None, 0, 1.5),
    **dict.fromkeys(
        (
            "l2_cache",
            "mstx",
            "msprof_tx",
            "op_attr",
            "record_op_args",
            "sys_io",
            "sys_interconnection",
            "data_simplification",
            "record_shapes",
            "profile_memory",
            "with_stack",
            "with_modules",
        ),
        BOTH,
    ),
}
"""By setting, the values to be combined."""
PORTABLE = {"record_shapes", "profile_memory", "with_stack", "with_modules"}


def counting(level: str) -> bool:
    return level in {"Level1", "Level2"}


def accepted(case: Case) -> bool:
    """Whether the settings of a case, which may be a part of one, go together."""
    level, group = case.get("profiler_level"), case.get("aic_metrics")
    if level is not None and not counting(level) and group not in {None, "AiCoreNone"}:
        return False
    if level == "Level_none" and case.get("mstx", True) is case.get("msprof_tx", True) is False:
        return False
    if case.get("op_attr"):
        return level != "Level_none" and "Db" in case.get("export_type", ("Db",))
    return True


def pairs_of(case: Case) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    return set(combinations(sorted(case.items()), 2))


def all_pairs() -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    found = set()
    for one, other in combinations(sorted(VALUES), 2):
        for left in VALUES[one]:
            for right in VALUES[other]:
                if accepted({one: left, other: right}):
                    found.add(((one, left), (other, right)))
    return found


def completed(part: Case, draw: random.Random) -> Case:
    while True:
        case = {name: part.get(name, draw.choice(values)) for name, values in VALUES.items()}
        if accepted(case):
            return case


def cases(count: int) -> Iterator[Case]:
    """Yield cases that have all pairs, then others, `count` in all; the same in every run."""
    draw = random.Random(0)
    left = sorted(all_pairs(), key=str)
    made = 0
    while left or made < count:
        tried = [completed(dict(left[0]) if left else {}, draw) for _ in range(8 if left else 1)]
        case = max(tried, key=lambda each: len(pairs_of(each) & set(left)))
        left = [pair for pair in left if pair not in pairs_of(case)]
        made += 1
        yield case


def settings(case: Case) -> list[str]:
    """A case as a user types it."""

    def text(value: Any) -> str:
        if value is None:
            return "null"
        return "[" + ",".join(value) + "]" if isinstance(value, tuple) else str(value).lower()

    return [
        f"profiler.{name}={text(value)}"
        if name in PORTABLE
        else f"profiler.experimental.{name}={value if isinstance(value, str) else text(value)}"
        for name, value in case.items()
    ]
