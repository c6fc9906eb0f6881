"""Devices that torch records and the harness does not run: their captures are read all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from harness.devices.base import ProfilerFacts, Unsupported
from harness.devices.torch_profiler import ANALYSED_WHILE_RUNNING, TORCH
from harness.errors import Problem
from harness.settings.torch import CpuExperimental

if TYPE_CHECKING:
    from harness.settings.experimental import Experimental
    from harness.settings.request import Request


class Recorded(Struct, frozen=True, kw_only=True):
    """A device of other people's captures: a `harness.devices.base.Target` that no run is for."""

    name: str
    why_no_kernels: str
    profiled_by: ClassVar[ProfilerFacts] = TORCH
    has_kernels: ClassVar[bool] = True
    reports_overflow: ClassVar[bool] = False
    distributed_backend: ClassVar[str] = ""
    can_be_rehearsed: ClassVar[bool] = False
    experimental: ClassVar[type[Experimental]] = CpuExperimental
    unsupported: ClassVar[Mapping[str, Unsupported]] = ANALYSED_WHILE_RUNNING

    def problems(self, request: Request) -> Iterator[Problem]:  # noqa: ARG002 - the signature
        """Yield nothing: no request is for it."""
        return iter(())

    def environment(self) -> dict[str, str]:
        """Return nothing, likewise."""
        return {}


ALL = (
    Recorded(
        name="rocm",
        why_no_kernels="the step launches none, or roctracer (rocprofiler) recorded nothing",
    ),
    Recorded(name="xpu", why_no_kernels="the step launches none, or PTI recorded nothing"),
    Recorded(name="mtia", why_no_kernels="the step launches none, or MTIA's profiler was off"),
    Recorded(
        name="mps",
        why_no_kernels="torch.profiler records no kernels of MPS; torch.mps.profiler has signposts",
    ),
    Recorded(name="hpu", why_no_kernels="the step launches none, or SynapseAI's profiler was off"),
    Recorded(
        name="privateuse1",
        why_no_kernels="the step launches none, or the backend's profiler recorded nothing",
    ),
    Recorded(
        name="unknown device",
        why_no_kernels="its events are of kinds that no reader knows, and were not read",
    ),
)
