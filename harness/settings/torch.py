"""The settings of torch's own profiler, on cpu and cuda. Imports no torch."""

from __future__ import annotations

from harness.settings.experimental import Experimental


class TorchExperimental(Experimental, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field of torch 2.13's ``torch._C._profiler._ExperimentalConfig``, by its own name.

    The defaults are torch's, but for `verbose`, which the profiles tie to ``with_stack``.
    """

    profiler_metrics: tuple[str, ...] = ()
    """CUPTI range-profiler counters; CUDA only. Read by: the profiler."""
    profiler_measure_per_kernel: bool = False
    """Read those counters for each kernel, not for the window; needs profiler_metrics.
    Read by: the profiler."""
    verbose: bool = False
    """Attach stacks and module names to each event; without it they are recorded, but stay
    empty. Profiles set it to ``${profiler.with_stack}``. Read by: the profiler."""
    performance_events: tuple[str, ...] = ()
    """Linux perf events counted for each operator, those that it calls included: at most four of
    cycles, instructions, pagefaults, backend-stall-cycles, frontend-stall-cycles. They become
    columns of the operators. Read by: the profiler, verify."""
    enable_cuda_sync_events: bool = False
    """Record stream, event and device synchronisation; CUDA only. Read by: the profiler."""
    adjust_profiler_step: bool = False
    """Stretch ProfilerStep ranges over the kernels that they launched. Read by: the profiler."""
    disable_external_correlation: bool = False
    """Do not link kernels to operators, for a leaner trace; CUDA only. Read by: the profiler."""
    profile_all_threads: bool = False
    """Record operators of threads that were running before the profiler started.
    Read by: the profiler."""
    capture_overload_names: bool = False
    """Record which overload of an operator ran. Read by: the profiler."""
    record_python_gc_info: bool = False
    """Record Python's garbage collections. Read by: the profiler."""
    expose_kineto_event_metadata: bool = False
    """Keep Kineto's metadata with each event. Read by: the profiler."""
    custom_profiler_config: str = ""
    """A name or a JSON object for another profiler backend. Read by: the profiler."""
    adjust_timestamps: bool = False
    """Shift children that end after their parent. Read by: the profiler."""
    trace_only: bool = False
    """Write the trace and build no events; the harness needs the events. Read by: the profiler."""


class CpuExperimental(
    TorchExperimental, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cpu"
):
    """torch's experimental settings under ``device=cpu``."""


class CudaExperimental(
    TorchExperimental, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cuda"
):
    """torch's experimental settings under ``device=cuda``."""
