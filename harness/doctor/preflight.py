"""What a run needs of this machine, looked at before it starts. Imports no torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from harness.doctor.diagnoses import cuda, host
from harness.doctor.diagnoses.npu import lacks as npu_lacks
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
    elif request.device.name == "npu":
        now = request.profiler.analyse == "now"
        lacks = npu_lacks(Machine(), analyse=now and "device" in request.profiler.activities)
        if lacks:
            raise MachineError(lacks)
    elif lacks := _uncounted(request):
        raise MachineError(lacks)


def _uncounted(request: Request) -> str:
    """Say which counters that torch's profiler was asked for this machine does not have."""
    experimental = request.profiler.experimental
    assert isinstance(experimental, TorchExperimental)
    lacks = [host.uncounted(Machine(), experimental.performance_events)]
    if experimental.profiler_metrics:
        lacks.append(cuda.uncounted(Machine()))
    return " ".join(filter(None, lacks))
