"""The CPU: torch.profiler with host activity."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from harness.devices.base import (
    CycleWriter,
    LoweredProfiler,
    OpenDevice,
    Profiler,
    TraceHandler,
    Unsupported,
)
from harness.devices.torch_profiler import (
    ANALYSED_WHILE_RUNNING,
    AUTOLOAD,
    TORCH,
    build_bare_profiler,
    build_profiler,
    torch_problems,
)
from harness.devices.torch_threads import TakeCounts, counting
from harness.errors import Problem
from harness.settings.request import DeviceName
from harness.settings.torch import CpuExperimental

if TYPE_CHECKING:
    import torch

    from harness.settings.request import Request

_ACTIVITIES: Final = {"host": "CPU"}


class Cpu:
    """The host itself."""

    name: ClassVar[DeviceName] = "cpu"
    profiled_by = TORCH
    has_kernels = False
    reports_overflow = False
    distributed_backend = "gloo"
    can_be_rehearsed = False
    experimental = CpuExperimental
    unsupported: ClassVar[Mapping[str, Unsupported]] = {
        **ANALYSED_WHILE_RUNNING,
        "profiler.activities=device": Unsupported(
            "the CPU is the host, and there is no other device", "profiler.activities=[host]"
        ),
        "profiler.experimental.profiler_metrics": Unsupported(
            "CUPTI counters exist on CUDA only",
            "profiler.experimental.profiler_metrics=[], or performance_events=[cycles]",
        ),
        "profiler.experimental.enable_cuda_sync_events": Unsupported(
            "the CPU has no CUDA synchronisation",
            "profiler.experimental.enable_cuda_sync_events=false",
        ),
        "profiler.experimental.disable_external_correlation": Unsupported(
            "there are no kernels to link",
            "profiler.experimental.disable_external_correlation=false",
        ),
    }

    def problems(self, request: Request) -> Iterator[Problem]:
        """Yield torch's problems, and an index other than 0."""
        experimental = request.profiler.experimental
        assert isinstance(experimental, CpuExperimental)
        yield from torch_problems(request, experimental)
        if "cupti_monitor" in experimental.custom_profiler_config:
            yield Problem(
                setting="profiler.experimental.custom_profiler_config",
                given=repr(experimental.custom_profiler_config),
                reason="the CUPTI monitor works on CUDA only",
                fix="profiler.experimental.custom_profiler_config=''",
            )
        if request.device.index != 0:
            yield Problem(
                setting="device.index",
                given=str(request.device.index),
                reason="torch has one CPU device, with index 0",
                fix="device.index=0",
            )

    def environment(self) -> dict[str, str]:
        """Keep torch from loading accelerator backends that a CPU run does not need."""
        return dict(AUTOLOAD)

    def open(self, index: int) -> OpenDevice:
        """Return the CPU, with the processor's model name where the system tells it."""
        import torch

        return OpenDevice(torch_device=torch.device("cpu", index), name=_model_name())

    def synchronise(self, device: torch.device) -> None:
        """Return at once: operators on the CPU are done when they return."""

    def profiler(
        self, lowered: LoweredProfiler, writer: CycleWriter
    ) -> AbstractContextManager[Profiler]:
        """Build torch's profiler."""
        return build_profiler(lowered, writer, _ACTIVITIES)

    def bare_profiler(self, lowered: LoweredProfiler, on_trace_ready: TraceHandler | None) -> Any:
        """Build a plain `torch.profiler.profile`."""
        return build_bare_profiler(lowered, on_trace_ready, _ACTIVITIES)

    def counting_threads(
        self, lowered: LoweredProfiler, take: TakeCounts
    ) -> AbstractContextManager[None] | None:
        """Record a step with all its threads."""
        return counting(lowered, [_ACTIVITIES[name] for name in lowered.activities], take)

    def analyse(self, capture: Path) -> None:
        """Return at once: torch's events become tables while the run goes on."""


def _model_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
