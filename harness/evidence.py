"""What counts as delivery: for each setting, what must be found in the capture.

The plan lists the demands that apply, the verification looks for each. Experimental settings
without a demand of their own are reported as not checkable when they differ from their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from harness.records import Evidence
from harness.schema import show


class Target(Struct, frozen=True):
    """Whom a profile is asked of: what decides whether a setting asks for anything."""

    device: str
    activities: tuple[str, ...]


def asked(target: Target, value: object) -> bool:  # noqa: ARG001 - the signature
    """Tell whether a setting asks for anything."""
    return bool(value)


def on_npu(target: Target, value: object) -> bool:
    """Tell whether an NPU's setting asks for anything; its records are the device's."""
    named = value != "AiCoreNone" if isinstance(value, str) else bool(value)
    return named and target.device == "npu" and "device" in target.activities


def of_npu(target: Target, value: object) -> bool:
    """Tell whether an NPU's setting asks for anything that comes without the device, too."""
    return bool(value) and target.device == "npu"


def collections(target: Target, value: object) -> bool:
    """Tell whether garbage collections are asked for; a threshold of 0 asks for all."""
    return value is not None and target.device == "npu"


def not_simplified(target: Target, value: object) -> bool:
    """Tell whether raw files were to be kept."""
    return value is False and on_npu(target, value=True)


class Demand(Struct, frozen=True, kw_only=True):
    """One setting's demand, made when the effective setting asks for something."""

    setting: str
    phrase: str
    """What will be looked for, as it is printed."""
    asks: Callable[[Target, object], bool] = asked


UNCHECKED = "nothing: the harness has no check for this setting yet"
"""The demand of an experimental setting without one of its own."""

IMPLIED = frozenset({"profiler.experimental.verbose"})
"""Settings that others stand for: stacks show whether torch was verbose."""

DEMANDS = (
    Demand(
        setting="profiler.activities",
        phrase="operators for host, kernels for device",
    ),
    Demand(
        setting="profiler.schedule",
        phrase="every step of every cycle is recorded, and no step lost some of its kernels",
    ),
    Demand(
        setting="profiler.record_shapes",
        phrase="operators have input shapes and dtypes; on the NPU kernels, too",
    ),
    Demand(
        setting="profiler.with_stack",
        phrase="operators have Python stacks",
    ),
    Demand(
        setting="profiler.profile_memory",
        phrase="allocations are recorded",
    ),
    Demand(
        setting="profiler.with_modules",
        phrase="operators have a module hierarchy; on the NPU calls of modules are in the timeline",
    ),
    Demand(
        setting="profiler.with_flops",
        phrase="operators that torch has a formula for have flops; on the NPU marks tell them",
    ),
    Demand(
        setting="profiler.memory_timeline",
        phrase="raw/memory_timeline*.json.gz has content",
    ),
    Demand(
        setting="profiler.experimental.performance_events",
        phrase="operators have a count of each event",
    ),
    Demand(
        setting="profiler.experimental.profiler_metrics",
        phrase="kernels have a value of each metric",
    ),
    Demand(
        setting="profiler.experimental.profiler_level",
        phrase="what only this level delivers: kernels, their cores, calls of the runtime",
        asks=lambda target, value: on_npu(target, value) and value != "Level_none",
    ),
    Demand(
        setting="profiler.experimental.aic_metrics",
        phrase="kernels have the columns of this counter group, with values",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.l2_cache",
        phrase="l2_cache.csv has a hit rate in every row",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.msprof_tx",
        phrase="marks and ranges are in the timeline or the database",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.mstx",
        phrase="marks and ranges are in the timeline or the database",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.mstx_domain_include",
        phrase="marks of each of these domains, and of no other",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.mstx_domain_exclude",
        phrase="no mark of these domains",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.data_simplification",
        phrase="msprof's own output is kept",
        asks=not_simplified,
    ),
    Demand(
        setting="profiler.experimental.record_op_args",
        phrase="arguments are dumped beside the capture",
        asks=of_npu,
    ),
    Demand(
        setting="profiler.experimental.op_attr",
        phrase="kernels in the database have attributes",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.gc_detect_threshold",
        phrase="garbage collections, if there were any that long",
        asks=collections,
    ),
    Demand(
        setting="profiler.experimental.export_type",
        phrase="the files of each format are there",
        asks=of_npu,
    ),
    Demand(
        setting="profiler.experimental.host_sys",
        phrase="each kind has a track in the timeline or a table in the database",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.sys_io",
        phrase="samples of network ports: nic.csv, roce.csv",
        asks=on_npu,
    ),
    Demand(
        setting="profiler.experimental.sys_interconnection",
        phrase="samples of links: hccs.csv, pcie.csv",
        asks=on_npu,
    ),
)


def demanded(
    target: Target,
    effective: Mapping[str, Any],
    *,
    recorded: int | None,
    changed: Iterable[str],
) -> Iterator[Evidence]:
    """Yield the demands that apply: those whose setting was asked for.

    Args:
        target: Whom it is asked of.
        effective: The settings by their dotted names.
        recorded: How many steps the schedule records; null where nobody knows.
        changed: The device's own settings that differ from their defaults, by their dotted names.
    """
    for demand in DEMANDS:
        value = effective.get(demand.setting)
        if demand.setting == "profiler.schedule":
            value = None if recorded is None else f"{recorded} recorded steps"
        if demand.asks(target, value):
            words = value if isinstance(value, str) else show(value)
            yield Evidence(setting=demand.setting, asked=words, demand=demand.phrase)
    settled = {demand.setting for demand in DEMANDS} | IMPLIED
    for setting in changed:
        if setting not in settled:
            asked_for = show(effective.get(setting))
            yield Evidence(setting=setting, asked=asked_for, demand=UNCHECKED)
