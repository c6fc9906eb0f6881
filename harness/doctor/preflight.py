"""What a run needs of this machine, looked at before it starts. Imports no torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Final

from harness.devices import TARGETS
from harness.devices.npu import TORCH_NPU
from harness.devices.torch_profiler import TORCH
from harness.doctor.diagnoses import cuda, host, npu
from harness.doctor.machine import Machine
from harness.emulator.build import build
from harness.errors import MachineError
from harness.settings.request import Request
from harness.settings.torch import TorchExperimental


def check_machine(request: Request, report_progress: Callable[[str], None]) -> None:
    """Raise `MachineError` for what this machine lacks that can be told without torch.

    `report_progress` is told what takes a while.
    """
    if importlib.util.find_spec("torch") is None:
        raise MachineError(
            "torch is not installed in this Python. Install it: pip install 'torch>=2.13,<2.14'."
            " What else there is to do: python -m harness doctor"
        )
    if request.rehearsal.emulate:
        build(report_progress=report_progress)
    elif lacks := _LACKS[TARGETS[request.device.name].profiled_by.name](request):
        raise MachineError(lacks)


def _of_torch(request: Request) -> str:
    """Say which of the requested counters of torch's profiler this machine does not have."""
    experimental = request.profiler.experimental
    assert isinstance(experimental, TorchExperimental)
    lacks = [host.uncounted(Machine(), experimental.performance_events)]
    if experimental.profiler_metrics:
        lacks.append(cuda.uncounted(Machine()))
    return " ".join(filter(None, lacks))


def _of_torch_npu(request: Request) -> str:
    """Say what this machine lacks for torch_npu's profiler, and for its analysis if it is now."""
    now = request.profiler.analyse == "now"
    return npu.lacks(Machine(), analyse=now and "device" in request.profiler.activities)


_LACKS: Final[Mapping[str, Callable[[Request], str]]] = {
    TORCH.name: _of_torch,
    TORCH_NPU.name: _of_torch_npu,
}
"""By the profiler that is to record: what this machine lacks, "" for nothing."""
