"""NVIDIA GPUs: torch.profiler with host and CUDA activity (CUPTI)."""

from __future__ import annotations

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
from harness.errors import MachineError, Problem
from harness.settings.request import DeviceName
from harness.settings.schema import show
from harness.settings.torch import CudaExperimental

if TYPE_CHECKING:
    import torch

    from harness.settings.request import Request

_ACTIVITIES: Final = {"host": "CPU", "device": "CUDA"}


class Cuda:
    """One NVIDIA GPU."""

    name: ClassVar[DeviceName] = "cuda"
    profiled_by = TORCH
    has_kernels = True
    reports_overflow = True
    distributed_backend = "nccl"
    can_be_rehearsed = False
    experimental = CudaExperimental
    unsupported: ClassVar[Mapping[str, Unsupported]] = ANALYSED_WHILE_RUNNING

    def problems(self, request: Request) -> Iterator[Problem]:
        """Yield torch's problems, and metrics of kernels that would not be recorded."""
        experimental = request.profiler.experimental
        assert isinstance(experimental, CudaExperimental)
        yield from torch_problems(request, experimental)
        if experimental.profiler_metrics and "device" not in request.profiler.activities:
            yield Problem(
                setting="profiler.experimental.profiler_metrics",
                given=show(experimental.profiler_metrics),
                reason="they are counted for kernels, but profiler.activities does not include"
                " device",
                fix="profiler.activities=[host,device],"
                " or profiler.experimental.profiler_metrics=[]",
            )

    def environment(self) -> dict[str, str]:
        """Keep torch from loading other accelerators' backends."""
        return dict(AUTOLOAD)

    def open(self, index: int) -> OpenDevice:
        """Return the GPU; raise `MachineError` saying what is missing."""
        import torch

        if torch.version.cuda is None:
            raise MachineError(
                f"device=cuda: torch {torch.__version__} was built without CUDA. Install a CUDA"
                " build of torch, or run with device=cpu."
            )
        if not torch.cuda.is_available():
            raise MachineError(
                f"device=cuda: torch {torch.__version__} finds no usable NVIDIA driver or GPU."
                " Look at nvidia-smi, or run with device=cpu."
            )
        count = torch.cuda.device_count()
        if index >= count:
            raise MachineError(
                f"device.index={index}: this machine has {count} GPU(s), numbered from 0."
                f" Write device.index={count - 1}."
            )
        supported = torch.profiler.supported_activities()  # type: ignore[no-untyped-call]
        if torch.profiler.ProfilerActivity.CUDA not in supported:
            raise MachineError(
                "device=cuda: this torch was built without CUPTI, and CUDA activity would be"
                " dropped with a warning. Install a build with CUPTI."
            )
        torch.cuda.set_device(index)
        device = torch.device("cuda", index)
        driver = Path("/proc/driver/nvidia/version")
        versions = {"cuda": str(torch.version.cuda)}
        if driver.exists():
            versions["driver"] = driver.read_text(encoding="utf-8").splitlines()[0]
        return OpenDevice(
            torch_device=device, name=torch.cuda.get_device_name(device), versions=versions
        )

    def synchronise(self, device: torch.device) -> None:
        """Wait for all streams of the GPU."""
        import torch

        torch.cuda.synchronize(device)

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
