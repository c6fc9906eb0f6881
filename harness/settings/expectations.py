"""What counts as delivery: for each setting, what must be in the capture.

The plan lists the expectations that apply; the verification checks each of them. `UNCHECKABLE`
lists the settings whose effect leaves no trace in a capture, with the reason. A test holds that
every setting marked `Recorded` has its place here, and no other setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from harness.settings.schema import show


class Expectation(Struct, frozen=True, kw_only=True):
    """What must be in the capture for a setting to count as delivered."""

    setting: str
    requested: str
    """The effective value, as it is typed."""
    description: str
    """What must be in the capture, in one phrase."""


class Beyond(Struct, frozen=True, kw_only=True):
    """Something that was asked for, and that the capture alone does not answer."""

    setting: str
    requested: str
    """The value, as it is typed."""
    reason: str
    arrived: str = ""
    """What is known to have come instead; empty if it is not known."""
    fails: bool = False
    """Whether it is known not to be delivered; else it cannot be checked."""


class Asked(Struct, frozen=True, kw_only=True):
    """Who was asked for a capture, and what of it that one is known not to do."""

    of: str = ""
    """The program and its version; empty if it is not known."""
    drops: dict[str, str] = {}
    """What it is known to do instead of a setting, by the setting's dotted name."""
    untold: str = ""
    """Why it may give the profiler no experimental settings at all; empty if it always does."""
    beyond: tuple[Beyond, ...] = ()
    trouble: str = ""
    """Why the recording did not end well, one line; empty if it did, as far as is known."""


class ExpectedSettings(Struct, frozen=True, kw_only=True):
    """The settings that a capture is checked against.

    For a run, those of its plan; for an imported capture, what its metadata reports, or what
    another program was asked for.
    """

    device: str
    """cpu, cuda or npu; of an imported capture, any of `harness.devices.READABLE`."""
    activities: tuple[str, ...]
    """host, device."""
    effective: dict[str, Any]
    """Every setting that reached the profiler, by its dotted name, as far as that is known."""
    experimental: dict[str, Any]
    """The device's own settings, by the profiler's names, with its defaults."""
    expectations: tuple[Expectation, ...] = ()
    recorded: tuple[int, ...] = ()
    """The steps, where they are known."""
    accept: tuple[str, ...] = ()
    """Settings whose partial delivery is accepted."""
    asked: Asked | None = None
    """Null unless another program was asked for these settings."""


def accepts(names: Iterable[str], setting: str) -> bool:
    """Tell whether ``delivery.accept`` names a setting, in full or by its last name."""
    return not {setting, setting.rpartition(".")[2]}.isdisjoint(names)


class Recording(Struct, frozen=True, kw_only=True):
    """The facts that decide whether a setting has an effect on a recording."""

    activities: tuple[str, ...]
    """host, device; none where an imported capture does not report them."""
    reports_overflow: bool
    """Whether the profiler reports that the device's buffers have overflowed."""


def is_set(recording: Recording, value: object) -> bool:  # noqa: ARG001 - the signature
    """Tell whether a setting is on, or has a value."""
    return bool(value)


def with_device(recording: Recording, value: object) -> bool:
    """Tell whether a setting is on that takes effect only while the device is recorded."""
    is_on = bool(value) and value not in ("AiCoreNone", "Level_none")
    return is_on and "device" in recording.activities


def has_threshold(recording: Recording, value: object) -> bool:  # noqa: ARG001 - the signature
    """Tell whether there is a threshold; 0 is one."""
    return value is not None


def switched_off(recording: Recording, value: object) -> bool:
    """Tell whether raw files are to be kept."""
    return value is False and with_device(recording, value=True)


def overflow_is_reported(recording: Recording, value: object) -> bool:  # noqa: ARG001 - the signature
    """Tell whether the device is recorded, as far as is known, and its overflows reported."""
    return recording.reports_overflow and recording.activities != ("host",)


class ExpectationRule(Struct, frozen=True, kw_only=True):
    """What must be in a capture if a setting applies."""

    setting: str
    description: str
    """What must be in it, as it is printed."""
    applies: Callable[[Recording, object], bool] = is_set


IMPLIED = frozenset({"profiler.experimental.verbose"})
"""Settings that another one covers: stacks show whether torch was verbose."""

BUFFERS = "CUPTI buffers"
"""No setting, but what every profile of a device that can lose kernels this way relies on."""

UNCHECKABLE: Mapping[str, str] = {
    f"profiler.experimental.{name}": why
    for name, why in {
        "profiler_measure_per_kernel": "ranges with counters do not show whether they are kernels",
        "adjust_profiler_step": "it moves the ends of torch's own step marks, and the harness does"
        " not use them",
        "disable_external_correlation": "kernels are also linked to operators by driver calls",
        "capture_overload_names": "torch writes overloads to no trace, and no table has them",
        "expose_kineto_event_metadata": "it adds to events in memory what the trace has anyway",
        "custom_profiler_config": "the backend that it starts writes its own files",
        "adjust_timestamps": "a shifted time looks like any other",
        "trace_only": "it is refused: the tables are made from the events that it leaves out",
    }.items()
}
"""Settings whose effect does not show in a capture, and why."""

EXPECTATIONS = (
    ExpectationRule(
        setting="profiler.activities",
        description="operators for host, kernels for device",
    ),
    ExpectationRule(
        setting=BUFFERS,
        description="torch does not report that CUPTI stopped early",
        applies=overflow_is_reported,
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
        setting="profiler.with_lines",
        description="it is known which line of your own code ran in each recorded step",
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
        description="operators that torch has a formula for have flops; on the NPU as marks",
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
        description="kernels have a value of each metric, or the window has, if measured as one",
    ),
    ExpectationRule(
        setting="profiler.experimental.enable_cuda_sync_events",
        description="there are synchronisation events",
    ),
    ExpectationRule(
        setting="profiler.experimental.profile_all_threads",
        description="there are operators of several threads, if several ran any",
    ),
    ExpectationRule(
        setting="profiler.experimental.record_python_gc_info",
        description="garbage collections are in the trace, if there were any",
    ),
    ExpectationRule(
        setting="profiler.experimental.profiler_level",
        description="there is what only this level delivers: kernels, cores, runtime calls",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.aic_metrics",
        description="kernels have the columns of this counter group, with values",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.l2_cache",
        description="l2_cache.csv has a hit rate in every row",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.msprof_tx",
        description="marks and ranges are in the timeline or the database",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.mstx",
        description="marks and ranges are in the timeline or the database",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.mstx_domain_include",
        description="there are marks of each of these domains, and of no other",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.mstx_domain_exclude",
        description="there is no mark of these domains",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.data_simplification",
        description="msprof's own output is kept",
        applies=switched_off,
    ),
    ExpectationRule(
        setting="profiler.experimental.record_op_args",
        description="arguments are dumped beside the capture",
    ),
    ExpectationRule(
        setting="profiler.experimental.op_attr",
        description="kernels in the database have attributes",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.gc_detect_threshold",
        description="garbage collections are recorded, if there were any that long",
        applies=has_threshold,
    ),
    ExpectationRule(
        setting="profiler.experimental.export_type",
        description="the files of each format are there",
    ),
    ExpectationRule(
        setting="profiler.experimental.host_sys",
        description="each kind has a track in the timeline or a table in the database",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.sys_io",
        description="there are samples of network ports: nic.csv, roce.csv",
        applies=with_device,
    ),
    ExpectationRule(
        setting="profiler.experimental.sys_interconnection",
        description="there are samples of links: hccs.csv, pcie.csv",
        applies=with_device,
    ),
)


def expected_of(
    recording: Recording,
    effective: Mapping[str, Any],
    *,
    recorded: int | None,
    changed: Iterable[str],
) -> Iterator[Expectation]:
    """Yield the expectations that apply: those whose setting is on.

    Args:
        recording: What is recorded, and what its profiler reports.
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
        if rule.applies(recording, value):
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
