"""The devices. A new one is a file here, conf files, and a line in the tables."""

from __future__ import annotations

from collections.abc import Mapping

from harness.devices.base import Device, Target
from harness.devices.cpu import Cpu
from harness.devices.cuda import Cuda
from harness.devices.npu import Npu
from harness.devices.recorded import ALL

DEVICES: Mapping[str, Device] = {device.name: device for device in (Cpu(), Cuda(), Npu())}
TARGETS: Mapping[str, Target] = DEVICES
"""The same, for those who neither run nor import torch."""
READABLE: Mapping[str, Target] = {**TARGETS, **{target.name: target for target in ALL}}
"""The devices whose captures are read: of some, others record them."""
