"""Describe the profiling calls that a rehearsal recorded, by CANN's own names.

Names and numbers are those of CANN's ``acl_prof.h`` (aclprofAicoreMetrics, aclprofConfigType, the
``ACL_PROF_`` bits of dataTypeConfig); the bit for kernel shapes is in torch_npu only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import PurePath
from typing import Any, Final

import msgspec
from msgspec import Struct

from harness.emulator.columns import GROUPS

BITS: Final = {
    0x1: "ACL_API",
    0x2: "TASK_TIME",
    0x4: "AICORE_METRICS",
    0x8: "AICPU",
    0x10: "L2CACHE",
    0x20: "HCCL_TRACE",
    0x40: "TRAINING_TRACE",
    0x80: "MSPROFTX",
    0x100: "RUNTIME_API",
    0x800: "TASK_TIME_L0",
    0x1000: "TASK_MEMORY",
    0x4000: "OP_ATTR",
    0x800000000: "AICORE_SHAPE",
}
"""The bits of dataTypeConfig, without their prefix ACL_PROF_."""
LEVELS: Final = {0x0: "Level_none", 0x801: "Level0", 0x27: "Level1", 0x12F: "Level2"}
"""The profiler_level, by the bits that torch_npu sets for it."""
_OF_LEVELS: Final = 0x92F
SETTINGS: Final = {
    1: "STORAGE_LIMIT",
    3: "SYS_HARDWARE_MEM_FREQ",
    4: "LLC_MODE",
    5: "SYS_IO_FREQ",
    6: "SYS_INTERCONNECTION_FREQ",
    7: "DVPP_FREQ",
    8: "HOST_SYS",
    9: "HOST_SYS_USAGE",
    10: "HOST_SYS_USAGE_FREQ",
}
"""aclprofConfigType, without the prefix ACL_PROF_."""
NO_GROUP: Final = 255


class _Call(Struct, frozen=True):
    """What every call has."""

    call: str
    result: int


class _Config(_Call, frozen=True):
    data_type_config: int
    aicore_metrics: int
    devices: tuple[int, ...]


class _Setting(_Call, frozen=True):
    type: int
    value: str


class _Features(_Call, frozen=True):
    count: int


class _Path(_Call, frozen=True):
    path: str


class _Mark(_Call, frozen=True):
    message: str


_FIELDS: Final[Mapping[str, type[_Call]]] = {
    "aclprofCreateConfig": _Config,
    "aclprofSetConfig": _Setting,
    "aclprofGetSupportedFeatures": _Features,
    "aclopStartDumpArgs": _Path,
    "aclprofInit": _Path,
    "aclprofMarkEx": _Mark,
}
"""What `arguments` shows of a call."""


def decoded(content: bytes) -> list[dict[str, Any]]:
    """Return the calls of a file that the emulator wrote, one in each whole line.

    Raises:
        ValueError: A line is no JSON, or lacks what its call has.
    """
    # A child that was killed may have left half a line.
    lines = content.rpartition(b"\n")[0].splitlines()
    calls = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines]
    for call in calls:
        msgspec.convert(call, _FIELDS.get(msgspec.convert(call, _Call).call, _Call))
    return calls


def level(mask: int) -> str:
    """Return the profiler level of a dataTypeConfig."""
    return LEVELS.get(mask & _OF_LEVELS, f"unknown ({mask & _OF_LEVELS:#x})")


def group(metrics: int) -> str:
    """Return the counter group of an aicoreMetrics."""
    if metrics == NO_GROUP:
        return "AiCoreNone"
    return GROUPS[metrics].name if metrics in GROUPS else "unknown"


def bits(mask: int) -> str:
    """Return the names of the bits of a dataTypeConfig, joined by " | "."""
    names = [name for bit, name in BITS.items() if mask & bit]
    rest = mask & ~sum(BITS)
    return " | ".join([*names, *([f"{rest:#x}"] if rest else [])]) or "nothing"


def arguments(call: Mapping[str, Any]) -> str:
    """Return one call's arguments in words."""
    match call["call"]:
        case "aclprofCreateConfig":
            mask, metrics = call["data_type_config"], call["aicore_metrics"]
            devices = ", ".join(map(str, call["devices"]))
            text = (
                f"level {level(mask)}, metrics {group(metrics)} ({metrics}), device {devices},"
                f" mask {mask:#x} = {bits(mask)}"
            )
        case "aclprofSetConfig":
            name = SETTINGS.get(call["type"], "unknown")
            text = f"{name} ({call['type']}) = {call['value']}"
        case "aclprofGetSupportedFeatures":
            text = f"{call['count']} features"
        case "aclopStartDumpArgs":
            text = f"to {PurePath(call['path']).name}"
        case "aclprofInit":
            text = f"into {PurePath(call['path']).name}"
        case "aclprofMarkEx":
            text = str(call["message"])
        case _:
            text = ""
    return text + (f", refused with {call['result']}" if call["result"] else "")


def in_words(calls: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the calls in order, each with its arguments in words; marks are only counted."""
    lines = []
    for name, same_calls in groupby(calls, key=lambda call: str(call["call"])):
        run = list(same_calls)
        if name == "aclprofMarkEx" and len(run) > 1:
            lines.append((name, f"{len(run)} marks, the first: {arguments(run[0])}"))
        else:
            lines += [(name, arguments(call)) for call in run]
    return lines
