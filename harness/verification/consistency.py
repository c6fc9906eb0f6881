"""Consistency: do a capture's own sources agree with each other, and with the tables?

A file that was cut off is like one of a shorter run, until its sums are compared with another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from harness.capture.capture import Capture
from harness.capture.run_record import Consistency
from harness.readers.base import CaptureError
from harness.verification.cross_checks import kernels, rows, times
from harness.verification.cross_checks.base import Compare, DoesNotApplyError


class Check(NamedTuple):
    """A comparison, and the files that are there to their end where it holds."""

    compare: Compare
    files: tuple[str, ...] = ()


def consistency(capture: Capture) -> tuple[Consistency, ...]:
    """Compare whatever two sources of the capture tell the same."""
    return tuple(_judged(name, check, capture) for name, check in CHECKS.items())


def _judged(name: str, check: Check, capture: Capture) -> Consistency:
    try:
        found = check.compare(capture)
    except DoesNotApplyError as reason:
        return Consistency(name=name, status="does_not_apply", why=str(reason))
    except (CaptureError, OSError) as error:
        why = f"cannot be read: {error}"
        return Consistency(name=name, status="broken", why=why, files=check.files)
    return Consistency(
        name=name,
        status="broken" if found.why else "holds",
        expected=found.expected,
        found=found.found,
        difference=found.difference,
        why=found.why,
        files=check.files,
    )


KERNELS: Final = "kernel_details.csv"
STEPS: Final = "step_trace_time.csv"
CHECKS: Final[Mapping[str, Check]] = {
    "rows of kernel_details.csv": Check(kernels.rows),
    "rows of operator_details.csv": Check(rows.operators, ("operator_details.csv",)),
    "rows of the tables": Check(rows.tables),
    "op_statistic.csv": Check(kernels.op_statistic, ("op_statistic.csv", KERNELS)),
    "computing in step_trace_time.csv": Check(times.computing, (STEPS, KERNELS)),
    "communication in step_trace_time.csv": Check(times.communicating, (STEPS,)),
    "communication.json": Check(times.operations, ("communication.json",)),
    "api_statistic.csv": Check(rows.calls, ("api_statistic.csv",)),
    "operator_memory.csv": Check(rows.memory, ("operator_memory.csv", "memory_record.csv")),
    "npu_module_mem.csv": Check(rows.modules, ("npu_module_mem.csv",)),
    **{
        name: Check(partial(kernels.reached, name, *columns), (name,))
        for name, columns in {
            "l2_cache.csv": ("Stream Id", "Task Id"),
            "soc_pmu.csv": ("Stream Id", "Task Id"),
            "task_time.csv": ("stream_id", "task_id"),
        }.items()
    },
    "ratios of pipes": Check(kernels.pipes),
    "self times of operators": Check(times.self_times),
}
"""Each by the name under which it is reported."""
