"""The causes of what is missing, each with its evidence. A new one is a line in a table."""

from __future__ import annotations

from collections.abc import Mapping

from harness.capture.capture import Capture
from harness.devices import TARGETS
from harness.devices.npu import TORCH_NPU
from harness.devices.torch_profiler import TORCH
from harness.verification.causes import npu, torch_profiler
from harness.verification.causes.base import Cause, explained
from harness.verification.causes.programs import of_program

BY_PROFILER: Mapping[str, Mapping[str, tuple[Cause, ...]]] = {
    TORCH.name: torch_profiler.CAUSES,
    TORCH_NPU.name: npu.CAUSES,
}
"""By profiler, then by what is missing."""


_OTHER_THREADS: Mapping[str, Cause] = {
    TORCH.name: torch_profiler.OTHER_THREADS,
    TORCH_NPU.name: npu.OTHER_THREADS,
}


def left_out(capture: Capture) -> str:
    """Say which operators of other threads were not recorded; "" if none were counted."""
    cause = _OTHER_THREADS[TARGETS[capture.expected.device].profiled_by.name]
    return explained(capture, [cause]) if cause.look(capture) else ""


def why(capture: Capture, missing: str) -> str:
    """Say why something is missing from a capture, with the evidence, or that it is not known."""
    profiler = TARGETS[capture.expected.device].profiled_by.name
    causes = BY_PROFILER[profiler].get(missing, ())
    return explained(capture, (*of_program(capture, missing), *causes))
