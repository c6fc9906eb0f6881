"""The request: every setting, typed, with its meaning. Plain data; no OmegaConf, no torch.

A docstring below each field says what it is, its unit, and who reads it; the default is the
field's own. ``conf/`` holds the same defaults for people to read and override.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from harness.devices import AnyExperimental
from harness.emulator.columns import Era
from harness.emulator.faults import Faults
from harness.workloads import AnyWorkload

Steps = Annotated[int, Meta(ge=0)]
Activity = Literal["host", "device"]
DeviceName = Literal["cpu", "cuda", "npu"]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all groups of settings: frozen, typed, closed to unknown names."""


class Device(Settings, frozen=True, kw_only=True):
    """Where the workload runs, and what the portable profiles mean there."""

    name: DeviceName
    """Which device file is used. Read by: validate, plan, run."""
    index: Annotated[int, Meta(ge=0)] = 0
    """Which of several devices, numbered from 0. Read by: run."""
    activities: tuple[Activity, ...]
    """What profiles record here unless they say otherwise. Read by: the profiles."""
    with_flops: bool
    """Whether profiles that want flops ask this device for them. Read by: the profiles."""
    with_modules: bool
    """Whether profiles that want modules ask this device for them. Read by: the profiles."""
    environment: dict[str, str | int] = {}
    """Environment variables to set before torch loads, e.g. OMP_NUM_THREADS. Read by: plan."""


class Schedule(Settings, frozen=True, kw_only=True):
    """Which steps are recorded: skip_first, then cycles of wait, warmup, active. Unit: steps."""

    skip_first: Steps = 0
    """Steps before the first cycle. Read by: plan, the profiler."""
    skip_first_wait: Annotated[int, Meta(ge=0, le=1)] = 0
    """1: the first cycle has no wait. Read by: plan, the profiler."""
    wait: Steps = 0
    """Steps at the start of a cycle with the profiler off. Read by: plan, the profiler."""
    warmup: Steps = 1
    """Steps with the profiler on and its data thrown away. Read by: plan, the profiler."""
    active: Annotated[int, Meta(ge=1)] = 3
    """Recorded steps at the end of a cycle. Read by: plan, the profiler."""
    repeat: Steps = 1
    """Cycles; 0: as many whole ones as workload.steps holds. Read by: plan, the profiler."""


class Baseline(Settings, frozen=True, kw_only=True):
    """Steps timed without the profiler, to see what it costs."""

    steps: Steps = 5
    """How many, after the warm-up and before the profiled steps; 0: none. Read by: run."""


class Profiler(Settings, frozen=True, kw_only=True):
    """What is asked of the profiler, in the same words on every device."""

    activities: Annotated[tuple[Activity, ...], Meta(min_length=1)]
    """What is recorded: host operators, device kernels. Read by: the profiler, verify."""
    record_shapes: bool = False
    """Input shapes and dtypes of operators. Read by: the profiler, verify."""
    with_stack: bool = False
    """The Python call stack of operators. Read by: the profiler, verify."""
    profile_memory: bool = False
    """Allocations and frees, with the operator. Read by: the profiler, verify."""
    with_modules: bool = False
    """The module hierarchy of operators. Read by: the profiler, verify."""
    with_flops: bool = False
    """An estimate of floating-point operations for some operators; needs record_shapes.
    Read by: the profiler, verify."""
    memory_timeline: bool = False
    """Write torch's memory timeline to raw/; needs record_shapes, profile_memory and with_stack.
    cpu and cuda. Read by: run, verify."""
    analyse: Literal["now", "later"] = "now"
    """When torch_npu's raw data become tables: after the run, or by ``harness read RUN``, which
    completes the verdict; npu. Read by: run."""
    analyse_timeout_s: Annotated[float, Meta(gt=0)] | None = 3600
    """Wall-clock limit of that analysis, in seconds; null: none. What it ran past stays raw, and
    ``harness read RUN`` tries again; npu. Read by: run."""
    schedule: Schedule
    """Which steps are recorded. Read by: plan, the profiler."""
    baseline: Baseline
    """Unprofiled steps timed beside the profiled ones. Read by: run."""
    experimental: AnyExperimental
    """The profiler's own settings on this device. Read by: plan, the profiler."""


Acceptable = Literal[
    "activities",
    "record_shapes",
    "with_stack",
    "profile_memory",
    "with_modules",
    "with_flops",
    "memory_timeline",
    "schedule",
    "aic_metrics",
    "export_type",
    "host_sys",
    "l2_cache",
    "mstx_domain_include",
    "op_attr",
    "profiler.activities",
    "profiler.record_shapes",
    "profiler.with_stack",
    "profiler.profile_memory",
    "profiler.with_modules",
    "profiler.with_flops",
    "profiler.memory_timeline",
    "profiler.schedule",
    "profiler.experimental.aic_metrics",
    "profiler.experimental.export_type",
    "profiler.experimental.host_sys",
    "profiler.experimental.l2_cache",
    "profiler.experimental.mstx_domain_include",
    "profiler.experimental.op_attr",
]
"""Settings that can be delivered in part: by their last names, or in full."""


class Delivery(Settings, frozen=True, kw_only=True):
    """How strictly the delivery is judged."""

    accept: tuple[Acceptable, ...] = ()
    """Settings whose partial delivery is fine, by their last names or in full.
    Read by: verify."""


class Execution(Settings, frozen=True, kw_only=True):
    """How the workload's process is run."""

    kind: Literal["isolated", "inline"]
    """isolated: in a child process; inline: in this one, for debuggers. Read by: run."""
    timeout_s: Annotated[float, Meta(gt=0)] | None = None
    """Wall-clock limit of the child process, in seconds; null: none. Read by: run."""
    grace_s: Annotated[float, Meta(ge=0)] = 20
    """How long a child that was asked to stop may take to write down what it recorded, in
    seconds, before it is killed. Read by: run."""


class Rehearsal(Settings, frozen=True, kw_only=True):
    """A run over an emulator of CANN in place of an NPU; every time and counter is invented."""

    emulate: bool = False
    """Whether there is no NPU; ``python -m harness rehearse`` sets it. Read by: run."""
    devices: Annotated[int, Meta(ge=1, le=16)] = 2
    """How many NPUs there are. Read by: the emulator."""
    era: Era = "block_num"
    """Which CANN it is, by the headers of its tables: before 2026 (block_dim) or since.
    Read by: the emulator."""
    strict: bool = False
    """An operator that the emulator does not compute is an error; else it yields zeros.
    Read by: the emulator."""
    faults: Faults
    """What is to go wrong. Read by: the emulator."""


class Sweep(Settings, frozen=True, kw_only=True):
    """How a sweep finds its earlier results."""

    resume: bool = True
    """Keep finished jobs of the same sweep and run the others; false: start over.
    Read by: pipeline."""


class Request(Settings, frozen=True, kw_only=True):
    """All that a run is asked to be."""

    name: Annotated[str, Meta(pattern=r"^[\w.-]{1,40}$")] = "harness"
    """Names the folder of a sweep; letters, digits, '_', '.', '-'. Read by: cli."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """Seeds parameters and inputs. Read by: run."""
    device: Device
    """Where the workload runs. Read by: every stage."""
    profiler: Profiler
    """What is asked of the profiler. Read by: every stage."""
    delivery: Delivery
    """How strictly the delivery is judged. Read by: verify."""
    workload: AnyWorkload
    """What runs. Read by: validate, plan, run."""
    execution: Execution
    """How it runs. Read by: run."""
    rehearsal: Rehearsal
    """Whether it runs over an emulator. Read by: run."""
    sweep: Sweep
    """How a sweep finds its earlier results. Read by: pipeline."""
