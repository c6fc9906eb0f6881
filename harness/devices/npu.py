"""Huawei Ascend NPUs: the settings of torch_npu's profiler. Composed and checked; not yet run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.devices.base import Cannot
from harness.devices.npu_settings import NpuExperimental, npu_problems
from harness.errors import Problem

if TYPE_CHECKING:
    from harness.config import Request


class Npu:
    """One Ascend NPU."""

    name = "npu"
    experimental = NpuExperimental
    cannot: ClassVar[Mapping[str, Cannot]] = {
        "profiler.memory_timeline": Cannot(
            "torch_npu's own memory files hold the same", "profiler.memory_timeline=false"
        ),
    }

    def problems(self, request: Request) -> Iterator[Problem]:
        """Yield what torch_npu would reset with a printed warning."""
        return npu_problems(request)

    def environment(self, request: Request) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        """Let the NPU device decide when torch_npu is imported."""
        return {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
