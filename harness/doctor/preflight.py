"""Check what a run needs of this machine before it starts. Imports no torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from harness.doctor.diagnoses import cuda, host
from harness.doctor.diagnoses.npu import lacks as npu_lacks
from harness.doctor.machine import Machine
from harness.emulator.build import build
from harness.errors import MachineError
from harness.execution.protocol import Plan
from harness.settings.request import Request
from harness.settings.torch import TorchExperimental


def check_machine(request: Request, report_progress: Callable[[str], None]) -> None:
    """Raise `MachineError` if this machine lacks something that shows without importing torch.

    `report_progress` is called before a step that takes a while.
    """
    _check_torch()
    if request.rehearsal.emulate:
        build(report_progress=report_progress)
    elif request.device.name == "npu":
        now = request.profiler.analyse == "now"
        _check_npu(analyse=now and "device" in request.profiler.activities)
    elif missing := _uncounted(request):
        raise MachineError(missing)


def check_analysis(plan: Plan, report_progress: Callable[[str], None]) -> None:
    """Raise `MachineError` for what this machine lacks to analyse the captures of an NPU."""
    _check_torch()
    if plan.loop.rehearsal.emulate:
        build(report_progress=report_progress)
    else:
        _check_npu(analyse="device" in plan.recording.profiler.activities)


def _check_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise MachineError(
            "torch is not installed in this Python. Install it: pip install 'torch>=2.13,<2.14'."
            " For everything else that is missing: python -m harness doctor"
        )


def _check_npu(*, analyse: bool) -> None:
    if missing := npu_lacks(Machine(), analyse=analyse):
        raise MachineError(missing)


def _uncounted(request: Request) -> str:
    """Say which requested counters of torch's profiler this machine does not have."""
    experimental = request.profiler.experimental
    assert isinstance(experimental, TorchExperimental)
    reasons = [host.uncounted(Machine(), experimental.performance_events)]
    if experimental.profiler_metrics:
        reasons.append(cuda.uncounted(Machine()))
    return " ".join(filter(None, reasons))
