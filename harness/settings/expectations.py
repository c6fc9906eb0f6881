"""What counts as delivery: for each setting, what must be found in the capture.

The plan lists the expectations that apply, the verification checks each. A setting whose effect
leaves no trace in a capture is reported as not checkable, with the reason: `UNCHECKABLE` lists
these. `NOT_OF_THE_PROFILER` lists settings that record nothing. A test holds that every setting of
every device has its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from harness.settings.schema import show


class Expectation(Struct, frozen=True, kw_only=True):
    """What must be found in the capture for a setting to count as delivered."""

    setting: str
    requested: str
    """The effective value, as it is typed."""
    description: str
    """What must be found, in one phrase."""


class ExpectedSettings(Struct, frozen=True, kw_only=True):
    """The settings that a capture is checked against.

    Of a run, those of its plan; of an imported capture, what its metadata reports.
    """

    device: str
    """cpu, cuda or npu."""
    activities: tuple[str, ...]
    """host, device."""
    effective: dict[str, Any]
    """Every setting that reached the profiler, by its dotted name, as far as that is known."""
    experimental: dict[str, Any]
    """Those of the device alone, by the profiler's names, its defaults among them."""
    expectations: tuple[Expectation, ...] = ()
    recorded: tuple[int, ...] = ()
    """The steps, where they are known."""
    accept: tuple[str, ...] = ()
    """Settings whose partial delivery is fine."""


class Target(Struct, frozen=True):
    """The device and activities of a request, which decide whether a setting has an effect."""

    device: str
    activities: tuple[str, ...]


def is_set(target: Target, value: object) -> bool:  # noqa: ARG001 - the signature
    """Tell whether a setting is on, or has a value."""
    return bool(value)


def on_npu(target: Target, value: object) -> bool:
    """Tell whether an NPU's setting is on and the device is recorded."""
    named = value != "AiCoreNone" if isinstance(value, str) else bool(value)
    return named and target.device == "npu" and "device" in target.activities


def of_npu(target: Target, value: object) -> bool:
    """Tell whether an NPU's setting is on that has an effect without the device, too."""
    return bool(value) and target.device == "npu"


def collections(target: Target, value: object) -> bool:
    """Tell whether garbage collections are recorded; a threshold of 0 records all."""
    return value is not None and target.device == "npu"


def not_simplified(target: Target, value: object) -> bool:
    """Tell whether raw files are to be kept."""
    return value is False and on_npu(target, value=True)


class ExpectationRule(Struct, frozen=True, kw_only=True):
    """What must be found in a capture where a setting applies."""

    setting: str
    description: str
    """What must be found, as it is printed."""
    applies: Callable[[Target, object], bool] = is_set


def of_cuda(target: Target, value: object) -> bool:  # noqa: ARG001 - the signature
    """Tell whether CUPTI records; an imported trace does not say what it left out."""
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

EXPECTATIONS = (
    ExpectationRule(
        setting="profiler.activities",
        description="operators for host, kernels for device",
    ),
    ExpectationRule(
        setting=BUFFERS,
        description="torch does not report that CUPTI stopped early",
        applies=of_cuda,
    ),
    ExpectationRule(
        setting="profiler.schedule",
        description="every step of every cycle is recorded, and no step lost some of its kernels",
    ),
    ExpectationRule(
        setting="profiler.record_shapes",
        description="operators have input shapes and dtypes; on the NPU kernels, too",
    ),
    ExpectationRule(
        setting="profiler.with_stack",
        description="operators have Python stacks",
    ),
    ExpectationRule(
        setting="profiler.profile_memory",
        description="allocations are recorded",
    ),
    ExpectationRule(
        setting="profiler.with_modules",
        description="operators have a module hierarchy; on the NPU, module calls in the timeline",
    ),
    ExpectationRule(
        setting="profiler.with_flops",
        description="operators that torch has a formula for have flops; on the NPU marks tell them",
    ),
    ExpectationRule(
        setting="profiler.memory_timeline",
        description="raw/memory_timeline*.json.gz has content",
    ),
    ExpectationRule(
        setting="profiler.experimental.performance_events",
        description="operators have a count of each event",
    ),
    ExpectationRule(
        setting="profiler.experimental.profiler_metrics",
        description="kernels have a value of each metric; measured as one, the window has",
    ),
    ExpectationRule(
        setting="profiler.experimental.enable_cuda_sync_events",
        description="synchronisation is among the events",
    ),
    ExpectationRule(
        setting="profiler.experimental.profile_all_threads",
        description="operators of several threads, if there were any",
    ),
    ExpectationRule(
        setting="profiler.experimental.record_python_gc_info",
        description="garbage collections in the trace, if there were any",
    ),
    ExpectationRule(
        setting="profiler.experimental.profiler_level",
        description="what only this level delivers: kernels, their cores, calls of the runtime",
        applies=lambda target, value: on_npu(target, value) and value != "Level_none",
    ),
    ExpectationRule(
        setting="profiler.experimental.aic_metrics",
        description="kernels have the columns of this counter group, with values",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.l2_cache",
        description="l2_cache.csv has a hit rate in every row",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.msprof_tx",
        description="marks and ranges are in the timeline or the database",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.mstx",
        description="marks and ranges are in the timeline or the database",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.mstx_domain_include",
        description="marks of each of these domains, and of no other",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.mstx_domain_exclude",
        description="no mark of these domains",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.data_simplification",
        description="msprof's own output is kept",
        applies=not_simplified,
    ),
    ExpectationRule(
        setting="profiler.experimental.record_op_args",
        description="arguments are dumped beside the capture",
        applies=of_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.op_attr",
        description="kernels in the database have attributes",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.gc_detect_threshold",
        description="garbage collections, if there were any that long",
        applies=collections,
    ),
    ExpectationRule(
        setting="profiler.experimental.export_type",
        description="the files of each format are there",
        applies=of_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.host_sys",
        description="each kind has a track in the timeline or a table in the database",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.sys_io",
        description="samples of network ports: nic.csv, roce.csv",
        applies=on_npu,
    ),
    ExpectationRule(
        setting="profiler.experimental.sys_interconnection",
        description="samples of links: hccs.csv, pcie.csv",
        applies=on_npu,
    ),
)


def expected_of(
    target: Target,
    effective: Mapping[str, Any],
    *,
    recorded: int | None,
    changed: Iterable[str],
) -> Iterator[Expectation]:
    """Yield the expectations that apply: those whose setting is on.

    Args:
        target: The device and activities of the request.
        effective: The settings by their dotted names.
        recorded: How many steps the schedule records; null where it is not known.
        changed: The device's own settings that differ from their defaults, by their dotted names.
    """
    for rule in EXPECTATIONS:
        value = effective.get(rule.setting)
        if rule.setting == "profiler.schedule":
            value = None if recorded is None else f"{recorded} recorded steps"
        elif rule.setting == BUFFERS:
            value = "no loss"
        if rule.applies(target, value):
            yield Expectation(
                setting=rule.setting,
                requested=value if isinstance(value, str) else show(value),
                description=rule.description,
            )
    settled = {rule.setting for rule in EXPECTATIONS} | IMPLIED
    for setting in changed:
        if setting not in settled:
            yield Expectation(
                setting=setting,
                requested=show(effective.get(setting)),
                description=f"not checkable: {UNCHECKABLE[setting]}",
            )
