"""What counts as delivery: for each setting, what must be found in the capture.

The plan lists the demands that apply, the verification looks for each. A setting of which nothing
can tell whether it took effect is reported as not checkable, with the reason; `UNCHECKABLE` has
these, and `NOT_OF_THE_PROFILER` what is asked of nobody. A test holds that every setting of every
device has its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from harness.settings.schema import show


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


def of_cuda(target: Target, value: object) -> bool:  # noqa: ARG001 - the signature
    """Tell whether CUPTI records; of a trace from elsewhere nobody knows what it left out."""
    return target.device == "cuda" and ("device" in target.activities or not target.activities)


IMPLIED = frozenset({"profiler.experimental.verbose"})
"""Settings that others stand for: stacks show whether torch was verbose."""

BUFFERS = "CUPTI buffers"
"""No setting, but what every profile on CUDA relies on."""

UNCHECKABLE: Mapping[str, str] = {
    f"profiler.experimental.{name}": why
    for name, why in {
        "profiler_measure_per_kernel": "the counters' ranges do not say whether they are kernels",
        "adjust_profiler_step": "it moves the ends of torch's own marks of steps, and steps are"
        " measured without them",
        "disable_external_correlation": "kernels find their operators by the driver's calls, too",
        "capture_overload_names": "torch writes overloads into no trace, and no table has them",
        "expose_kineto_event_metadata": "it adds to events in memory what the trace has anyway",
        "custom_profiler_config": "what it starts writes to a place of its own",
        "adjust_timestamps": "a time that was shifted looks like any other",
        "trace_only": "it is refused: the tables are made of the events that it leaves out",
    }.items()
}
"""Settings of which nothing in a capture can tell whether they took effect, and why."""

NOT_OF_THE_PROFILER: Mapping[str, str] = {
    "name": "names folders",
    "seed": "is the workload's",
    "device": "is where it runs: another machine is exit code 4",
    "workload": "is what runs: its failure is exit code 1",
    "execution": "is how it runs",
    "rehearsal": "is whether it is real: the summary says so",
    "sweep": "is about earlier results",
    "merge": "is about what several runs measured",
    "analysis": "is how a merged table is judged",
    "delivery": "is how strictly the others are judged",
    "profiler.baseline": "is about steps without the profiler",
    "profiler.analyse": "is when the verdict comes, which says so while it is pending",
    "profiler.analyse_timeout_s": "is a limit: what runs past it is missing, and named",
}
"""Settings, or groups of them, that ask for nothing to be recorded, and what they are about."""

DEMANDS = (
    Demand(
        setting="profiler.activities",
        phrase="operators for host, kernels for device",
    ),
    Demand(
        setting=BUFFERS,
        phrase="torch does not report that CUPTI stopped early",
        asks=of_cuda,
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
        phrase="kernels have a value of each metric; measured as one, the window has",
    ),
    Demand(
        setting="profiler.experimental.enable_cuda_sync_events",
        phrase="synchronisation is among the events",
    ),
    Demand(
        setting="profiler.experimental.profile_all_threads",
        phrase="operators of several threads, if there were any",
    ),
    Demand(
        setting="profiler.experimental.record_python_gc_info",
        phrase="garbage collections in the trace, if there were any",
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
        elif demand.setting == BUFFERS:
            value = "no loss"
        if demand.asks(target, value):
            words = value if isinstance(value, str) else show(value)
            yield Evidence(setting=demand.setting, asked=words, demand=demand.phrase)
    settled = {demand.setting for demand in DEMANDS} | IMPLIED
    for setting in changed:
        if setting not in settled:
            asked_for = show(effective.get(setting))
            why = UNCHECKABLE[setting]
            yield Evidence(setting=setting, asked=asked_for, demand=f"nothing can tell: {why}")


class Evidence(Struct, frozen=True, kw_only=True):
    """What must be found in the capture for a setting to count as delivered."""

    setting: str
    asked: str
    """The effective value, as it is typed."""
    demand: str
    """What will be looked for, in one phrase."""


class Asked(Struct, frozen=True, kw_only=True):
    """What a capture is judged by: of a run, what it was to record; of others, what they tell."""

    device: str
    """cpu, cuda or npu."""
    activities: tuple[str, ...]
    """host, device."""
    effective: dict[str, Any]
    """Every setting that reached the profiler, by its dotted name, as far as that is known."""
    experimental: dict[str, Any]
    """Those of the device alone, by the profiler's names, its defaults among them."""
    evidence: tuple[Evidence, ...] = ()
    recorded: tuple[int, ...] = ()
    """The steps, where they are known."""
    accept: tuple[str, ...] = ()
    """Settings whose partial delivery is fine."""
