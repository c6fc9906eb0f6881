"""The devices. A new one is a file here, conf files, and a line in the tables."""

from __future__ import annotations

from harness.devices.base import Device, Target
from harness.devices.cpu import Cpu, CpuExperimental
from harness.devices.cuda import Cuda, CudaExperimental
from harness.devices.npu import Npu
from harness.devices.npu_settings import NpuExperimental

DEVICES: dict[str, Device] = {device.name: device for device in (Cpu(), Cuda())}
"""What can be run."""
TARGETS: dict[str, Target] = {**DEVICES, Npu.name: Npu()}
"""What can be composed and checked."""

AnyExperimental = CpuExperimental | CudaExperimental | NpuExperimental
"""``profiler.experimental``, by device."""

__all__ = ["DEVICES", "TARGETS", "AnyExperimental"]
