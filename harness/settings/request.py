"""The request: every setting, typed, with its meaning. Plain data; no OmegaConf, no torch.

The docstring below a field says what it is, its unit, and who reads it. ``conf/`` holds the same
defaults, for people to read and override.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from harness.settings.changes import Executed, Judged, Placed, Recorded
from harness.settings.faults import Era, Faults
from harness.settings.npu import NpuExperimental
from harness.settings.torch import CpuExperimental, CudaExperimental
from harness.workloads import AnyWorkload
from harness.workloads.base import SomeSteps, Steps

Seconds = Annotated[
    float, Meta(gt=0, le=31_536_000, extra={"limit": "that is a year; null sets no limit"})
]
Microseconds = Annotated[float, Meta(ge=0, le=1e9)]
Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
RecordedSteps = Annotated[
    int,
    Meta(ge=1, le=100_000, extra={"limit": "each recorded step is held in memory until it ends"}),
]
RankNumber = Annotated[int, Meta(ge=0, le=1_048_575)]
Activity = Literal["host", "device"]
DeviceName = Literal["cpu", "cuda", "npu"]
AnyExperimental = CpuExperimental | CudaExperimental | NpuExperimental
"""``profiler.experimental``, by device."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all groups of settings: frozen, typed, closed to unknown names."""


class Device(Settings, frozen=True, kw_only=True):
    """Where the workload runs, and what the portable profiles mean there."""

    name: DeviceName
    """Which device file is used. Read by: validate, plan, run."""
    index: Annotated[int, Meta(ge=0, le=1023)] = 0
    """Which of several devices, numbered from 0. Read by: run."""
    activities: tuple[Activity, ...]
    """What profiles record here unless they say otherwise. Read by: the profiles."""
    with_flops: bool
    """Whether profiles with flops request them on this device. Read by: the profiles."""
    with_modules: bool
    """Whether profiles with modules request them on this device. Read by: the profiles."""
    environment: dict[str, str | Integer] = {}
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
    """Steps with the profiler on whose data are discarded. Read by: plan, the profiler."""
    active: RecordedSteps = 3
    """Recorded steps at the end of a cycle. Read by: plan, the profiler."""
    repeat: Steps = 1
    """Cycles; 0: as many whole cycles as fit into workload.steps. Read by: plan, the profiler."""


class Baseline(Settings, frozen=True, kw_only=True):
    """Unprofiled steps, which show what the profiler costs."""

    steps: Steps = 5
    """How many, between the warm-up and the profiled steps; 0: none. Read by: run."""
    until: Literal["stable"] | None = None
    """stable: time more of them until the median is known well enough; null: no more than steps.
    Read by: run."""
    precision: Annotated[float, Meta(gt=0, le=1)] = 0.02
    """How well, with until=stable: the greatest distance of the 95 % confidence interval from the
    median, as a share of it. Read by: run."""
    max_steps: SomeSteps = 200
    """The most of them, with until=stable, before the profiled steps. Read by: run."""
    place: Literal["before", "around"] = "before"
    """before: all before the profiled steps; around: as many again after each cycle, so that a
    drift shows. Read by: run."""


class Profiler(Settings, frozen=True, kw_only=True):
    """What the profiler is to record, in the same words on every device."""

    activities: Annotated[tuple[Activity, ...], Meta(min_length=1)]
    """What is recorded: host operators, device kernels. Read by: the profiler, verify."""
    record_shapes: bool = False
    """Input shapes and dtypes of operators. Read by: the profiler, verify."""
    with_stack: bool = False
    """The Python call stack of operators. Read by: the profiler, verify."""
    with_lines: bool = False
    """Which line of your own code runs when, in the thread that makes the steps.
    Read by: run, verify."""
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
    analyse: Placed[Literal["now", "later"]] = "now"
    """When torch_npu's raw data are turned into tables: after the run, or later by ``harness read
    RUN``, which completes the verdict. npu only. Read by: run."""
    analyse_timeout_s: Placed[Seconds | None] = 3600
    """Wall-clock limit of that analysis, in seconds; null: none. Raw data that are not analysed by
    then stay, and ``harness read RUN`` tries again. npu only. Read by: run."""
    max_seconds: Placed[Seconds | None] = 120
    """Limit of a window over a whole program, in seconds; null: none. The program goes on after
    it. Read by: run."""
    max_memory_gib: Placed[Annotated[float, Meta(gt=0, le=65_536)] | None] = 8
    """Limit of what such a window may add to the memory of the process, in GiB; null: none.
    Read by: run."""
    schedule: Schedule
    """Which steps are recorded. Read by: plan, the profiler."""
    ranks: Executed[Annotated[tuple[RankNumber, ...], Meta(min_length=1)] | None] = None
    """The ranks of the job that record, by their global numbers; null: all. The others run the same
    schedule without a profiler. Read by: plan."""
    baseline: Executed[Baseline]
    """Unprofiled steps timed beside the profiled ones. Read by: run."""
    experimental: AnyExperimental
    """The profiler's own settings on this device. Read by: plan, the profiler."""


Acceptable = Literal[
    "activities",
    "record_shapes",
    "with_stack",
    "with_lines",
    "profile_memory",
    "with_modules",
    "with_flops",
    "memory_timeline",
    "schedule",
    "aic_metrics",
    "performance_events",
    "profiler_metrics",
    "export_type",
    "host_sys",
    "l2_cache",
    "mstx_domain_include",
    "op_attr",
    "profiler.activities",
    "profiler.record_shapes",
    "profiler.with_stack",
    "profiler.with_lines",
    "profiler.profile_memory",
    "profiler.with_modules",
    "profiler.with_flops",
    "profiler.memory_timeline",
    "profiler.schedule",
    "profiler.experimental.aic_metrics",
    "profiler.experimental.performance_events",
    "profiler.experimental.profiler_metrics",
    "profiler.experimental.export_type",
    "profiler.experimental.host_sys",
    "profiler.experimental.l2_cache",
    "profiler.experimental.mstx_domain_include",
    "profiler.experimental.op_attr",
]
"""Settings that can be delivered in part: by their last names, or in full."""


class Delivery(Settings, frozen=True, kw_only=True):
    """How strictly delivery is judged."""

    accept: tuple[Acceptable, ...] = ()
    """Settings whose partial delivery is accepted, by their last names or in full.
    Read by: verify."""


class Execution(Settings, frozen=True, kw_only=True):
    """How the workload's process is run."""

    kind: Literal["isolated", "inline", "torchrun"]
    """isolated: in a child process; inline: in this one, for debuggers; torchrun: in several
    processes, the ranks of one job, which torch.distributed.run starts. Read by: run."""
    nproc: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Ranks of the job, with execution=torchrun, all on this machine. Read by: run."""
    timeout_s: Placed[Seconds | None] = None
    """Wall-clock limit of the child process, in seconds; null: none. Read by: run."""
    grace_s: Placed[Annotated[float, Meta(ge=0, le=86_400)]] = 20
    """How many seconds a child that is stopped may take to write what it recorded, before it is
    killed. Read by: run."""
    stall_notice_s: Placed[Seconds | None] = 60
    """After how many seconds without the end of a step it is said which rank is behind and where
    its process is, while the run goes on; null: never. Read by: run."""
    join_timeout_s: Placed[Seconds] = 300
    """How many seconds the ranks that an outer launcher has started wait for each other before they
    begin. Read by: run."""
    exit_barrier_timeout_s: Placed[Seconds | None] = 300
    """How many seconds a rank that has made its steps waits for the others before it ends; null:
    no limit. Read by: run."""


class Rehearsal(Settings, frozen=True, kw_only=True):
    """A run on an emulator of CANN instead of an NPU; all times and counters are invented."""

    emulate: bool = False
    """Use the emulator; ``python -m harness rehearse`` sets it. Read by: run."""
    devices: Annotated[int, Meta(ge=1, le=16)] = 2
    """How many NPUs the emulator has. Read by: the emulator."""
    era: Era = "block_num"
    """The version of CANN, by the headers of its tables: before 2026 (block_dim) or since.
    Read by: the emulator."""
    strict: bool = False
    """Make an operator that the emulator does not compute an error; else it returns zeros.
    Read by: the emulator."""
    faults: Faults
    """What is to go wrong. Read by: the emulator."""


MOST_JOBS: Final = 1_000_000


class Sweep(Settings, frozen=True, kw_only=True):
    """How a sweep finds its earlier results, and how large it may be."""

    resume: bool = True
    """Keep the finished jobs of the same sweep, and run the others; false: start over.
    Read by: pipeline."""
    max_jobs: Annotated[
        int, Meta(ge=1, le=MOST_JOBS, extra={"limit": "each job is a run of several seconds"})
    ] = 5000
    """A sweep of more jobs is refused before anything is composed. Read by: compose."""


Match = Literal["aligned", "strict"]


class Merge(Settings, frozen=True, kw_only=True):
    """How the runs of a sweep over counter groups are joined."""

    match: Match = "aligned"
    """aligned: pair kernels by minimal edits, and list those that not every run has; strict: refuse
    runs that did not execute the same sequences. Read by: merge."""


Detail = Literal["brief", "full"]


class Report(Settings, frozen=True, kw_only=True):
    """What a terminal shows of a result; the files in its folder always have all of it."""

    detail: Detail = "brief"
    """brief: one screen, what matters first, and all that was not delivered; full: every section of
    the summary. Read by: cli."""


class Compare(Settings, frozen=True, kw_only=True):
    """When the step times of two sides count as different, and when as the same."""

    margin: Annotated[float, Meta(gt=0, le=1)] = 0.03
    """The relative change that matters: slower and faster are said of more, no difference where
    more is ruled out. Read by: compare."""
    confidence: Annotated[float, Meta(ge=0.5, le=0.999)] = 0.95
    """Of the tests and of the interval of the ratio, 0.5 to 0.999. Read by: compare."""


Ratio = Annotated[float, Meta(ge=0, le=1)]
Peak = Annotated[float, Meta(gt=0, le=1e9)] | None


class CubePipes(Settings, frozen=True, kw_only=True):
    """The share of a cube core's cycles above which a pipe counts as full."""

    mac: Ratio = 0.8
    """Matrix products (mac_ratio). Read by: merge."""
    scalar: Ratio = 0.8
    """Scalar instructions; those of unsplit cores, too (scalar_ratio). Read by: merge."""
    mte1: Ratio = 0.8
    """Moves from L1 to L0A and L0B (mte1_ratio). Read by: merge."""
    mte2: Ratio = 0.8
    """Reads of main memory; those of unsplit cores, too (mte2_ratio). Read by: merge."""
    fixpipe: Ratio = 0.75
    """Moves out of L0C (fixpipe_ratio). Read by: merge."""


class VectorPipes(Settings, frozen=True, kw_only=True):
    """The share of a vector core's cycles above which a pipe counts as full."""

    vec: Ratio = 0.7
    """Vector instructions (vec_ratio). Read by: merge."""
    scalar: Ratio = 0.8
    """Scalar instructions (scalar_ratio). Read by: merge."""
    mte2: Ratio = 0.7
    """Reads of main memory (mte2_ratio). Read by: merge."""
    mte3: Ratio = 0.7
    """Writes of main memory (mte3_ratio). Read by: merge."""


class Bound(Settings, frozen=True, kw_only=True):
    """Thresholds above which a resource counts as the kernel's bottleneck."""

    cube: CubePipes
    """The pipes of cube cores. Read by: merge."""
    vector: VectorPipes
    """The pipes of vector cores. Read by: merge."""
    together: Ratio = 0.9
    """If no pipe is full, the sum of shares above which they count as used in turn.
    Read by: merge."""
    icache_miss_rate: Ratio = 0.15
    """The share of instruction fetches that miss. Read by: merge."""
    conflict: Ratio = 0.15
    """The share of cycles that vector instructions lose to conflicts. Read by: merge."""
    short_us: Microseconds = 20
    """In microseconds: a shorter kernel without a full pipe is bound by overhead, a longer one by
    latency. Read by: merge."""


class Perturbed(Settings, frozen=True, kw_only=True):
    """The difference above which the durations of several runs count as perturbed.

    The limit is `short` for kernels up to `short_us`, `long` from `long_us` on, linear between.
    """

    short_us: Microseconds = 20
    """A mean duration, in microseconds. Read by: merge."""
    short: Annotated[float, Meta(gt=0, le=1000)] = 0.25
    """(max - min) / mean over the runs. Read by: merge."""
    long_us: Annotated[float, Meta(gt=0, le=1e9)] = 50
    """A mean duration above short_us, in microseconds. Read by: merge."""
    long: Annotated[float, Meta(gt=0, le=1000)] = 0.1
    """(max - min) / mean over the runs. Read by: merge."""


class Peaks(Settings, frozen=True, kw_only=True):
    """The peak rates of the chip, all cores together; null: unknown, so there is no roofline."""

    cube_fp16_tops: Peak = None
    """Matrix products of 16-bit floats, in 1e12 operations a second. Read by: merge."""
    cube_int8_tops: Peak = None
    """Matrix products of 8-bit integers, in 1e12 operations a second. Read by: merge."""
    vector_fp32_tops: Peak = None
    """Vector instructions on 32-bit floats, in 1e12 operations a second. Read by: merge."""
    vector_fp16_tops: Peak = None
    """Vector instructions on 16-bit floats, in 1e12 operations a second. Read by: merge."""
    vector_int32_tops: Peak = None
    """Vector instructions on 32-bit integers, in 1e12 operations a second. Read by: merge."""
    main_memory_gbps: Peak = None
    """Main memory, reads and writes together, in 1e9 bytes a second. Read by: merge."""
    l2_gbps: Peak = None
    """Between the L2 cache and the cores, both ways together, in 1e9 bytes a second.
    Read by: merge."""


class Analysis(Settings, frozen=True, kw_only=True):
    """How the table of bottlenecks is made from what was measured."""

    bound: Bound
    """Thresholds of bottlenecks. Read by: merge."""
    perturbed: Perturbed
    """Thresholds of perturbed durations. Read by: merge."""
    peaks: Peaks
    """The chip's peak rates. Read by: merge."""


class Request(Settings, frozen=True, kw_only=True):
    """Every setting of a run."""

    # The mark on a group is that of every setting in it that has none of its own.

    name: Placed[Annotated[str, Meta(pattern=r"^[\w.-]{1,40}\Z")]] = "harness"
    """Names the folder of a sweep; letters, digits, '_', '.', '-'. Read by: cli."""
    seed: Executed[Annotated[int, Meta(ge=0, le=2**63 - 1)]] = 0
    """Seeds parameters and inputs. Read by: run."""
    device: Executed[Device]
    """Where the workload runs. Read by: every stage."""
    profiler: Recorded[Profiler]
    """What the profiler is to record. Read by: every stage."""
    delivery: Judged[Delivery]
    """How strictly the delivery is judged. Read by: verify."""
    workload: Executed[AnyWorkload]
    """What runs. Read by: validate, plan, run."""
    execution: Executed[Execution]
    """How it runs. Read by: run."""
    rehearsal: Executed[Rehearsal]
    """Whether it runs over an emulator. Read by: run."""
    sweep: Placed[Sweep]
    """How a sweep finds its earlier results, and how large it may be. Read by: pipeline."""
    merge: Judged[Merge]
    """How a sweep over groups of counters is joined. Read by: merge."""
    report: Placed[Report]
    """What a terminal shows of a result. Read by: cli."""
    compare: Judged[Compare]
    """When runs count as slower, faster or the same. Read by: compare."""
    analysis: Judged[Analysis]
    """How the table of bottlenecks judges. Read by: merge."""


COUNTERS: Final = (
    "profiler.experimental.aic_metrics",
    "profiler.experimental.profiler_metrics",
    "profiler.experimental.performance_events",
)
"""The settings that choose a group of counters: one run collects one group."""
