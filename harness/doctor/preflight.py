"""What a run needs of this machine, looked at before it starts. Imports no torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from harness.devices import TARGETS
from harness.devices.npu import TORCH_NPU
from harness.devices.torch_profiler import TORCH
from harness.doctor.diagnoses import cuda, host, npu
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
    elif missing := _MISSING[TARGETS[request.device.name].profiled_by.name](request, Machine()):
        raise MachineError(missing)


def check_sweep(requests: Iterable[Request]) -> None:
    """Raise `MachineError` if this machine can do none of the jobs of a sweep, each cause once.

    A cause that stops some of the jobs is found when they run.
    """
    _check_torch()
    machine = Machine()
    causes: list[str] = []
    events: dict[str, None] = {}
    for request in requests:
        cause = _obstacle(request, machine)
        if not cause:
            return
        experimental = request.profiler.experimental
        counted = (
            experimental.performance_events if isinstance(experimental, TorchExperimental) else ()
        )
        if cause == host.uncounted(machine, counted):
            # Each job asks for other events; that they are not counted is one cause.
            events |= dict.fromkeys(counted)
        else:
            causes.append(cause)
    if uncounted := host.uncounted(machine, events):
        causes.append(uncounted)
    if causes:
        raise MachineError("\n".join(dict.fromkeys(causes)))


def _obstacle(request: Request, machine: Machine) -> str:
    """Say why a job cannot run here, "" if nothing shows before it runs."""
    if request.rehearsal.emulate:
        return ""
    target = TARGETS[request.device.name]
    missing = _MISSING[target.profiled_by.name](request, machine)
    if missing or not target.has_kernels or target.profiled_by.name != TORCH.name:
        return missing
    # A single run finds that out itself, by importing torch, as this does.
    return cuda.lacks(machine)


def check_analysis(plan: Plan, report_progress: Callable[[str], None]) -> None:
    """Raise `MachineError` for what this machine lacks to analyse the captures of an NPU."""
    _check_torch()
    if plan.loop.rehearsal.emulate:
        build(report_progress=report_progress)
        return
    analyse = "device" in plan.recording.profiler.activities
    if missing := npu.lacks(Machine(), analyse=analyse):
        raise MachineError(missing)


def _check_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise MachineError(
            "torch is not installed in this Python. Install it: pip install 'torch>=2.13'."
            " For everything else that is missing: python -m harness doctor"
        )


def _for_torch(request: Request, machine: Machine) -> str:
    """Say which requested counters of torch's profiler this machine does not have."""
    experimental = request.profiler.experimental
    assert isinstance(experimental, TorchExperimental)
    reasons = [host.uncounted(machine, experimental.performance_events)]
    if experimental.profiler_metrics:
        reasons.append(cuda.uncounted(machine))
    return " ".join(filter(None, reasons))


def _for_torch_npu(request: Request, machine: Machine) -> str:
    """Say what this machine lacks for torch_npu's profiler, and for its analysis if that is now."""
    now = request.profiler.analyse == "now"
    return npu.lacks(machine, analyse=now and "device" in request.profiler.activities)


_MISSING: Final[Mapping[str, Callable[[Request, Machine], str]]] = {
    TORCH.name: _for_torch,
    TORCH_NPU.name: _for_torch_npu,
}
"""By the profiler that is to record: what this machine lacks, "" for nothing."""
