"""Consistency: do the files of a capture agree with each other, and with the tables?

A file that was cut off looks like one of a shorter run. Comparing sums with another file shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from harness.capture.capture import Capture
from harness.capture.run_record import Consistency
from harness.readers.base import CaptureError
from harness.verification.cross_checks import kernels, rows, step_times, times
from harness.verification.cross_checks.base import Compare, NotApplicableError


class CrossCheck(NamedTuple):
    """A comparison, and the files that are whole if it holds."""

    compare: Compare
    files: tuple[str, ...] = ()


def consistency(capture: Capture) -> tuple[Consistency, ...]:
    """Compare what two sources of the capture report of the same thing."""
    return tuple(_judged(name, check, capture) for name, check in CHECKS.items())


def _judged(name: str, check: CrossCheck, capture: Capture) -> Consistency:
    try:
        result = check.compare(capture)
    except NotApplicableError as reason:
        return Consistency(name=name, status="does_not_apply", reason=str(reason))
    except (CaptureError, OSError) as error:
        why = f"cannot be read: {error}"
        return Consistency(name=name, status="broken", reason=why, files=check.files)
    return Consistency(
        name=name,
        status="broken" if result.reason else "holds",
        expected=result.expected,
        actual=result.actual,
        difference=result.difference,
        reason=result.reason,
        files=check.files,
    )


KERNELS: Final = "kernel_details.csv"
STEPS: Final = "step_trace_time.csv"
CHECKS: Final[Mapping[str, CrossCheck]] = {
    "rows of kernel_details.csv": CrossCheck(kernels.rows),
    "rows of operator_details.csv": CrossCheck(rows.operators, ("operator_details.csv",)),
    "rows of the tables": CrossCheck(rows.tables),
    "op_statistic.csv": CrossCheck(kernels.op_statistic, ("op_statistic.csv", KERNELS)),
    "computing in step_trace_time.csv": CrossCheck(times.computing, (STEPS, KERNELS)),
    "communication in step_trace_time.csv": CrossCheck(times.communicating, (STEPS,)),
    "step times in analysis.db": CrossCheck(step_times.database, ("analysis.db",)),
    "communication.json": CrossCheck(times.operations, ("communication.json",)),
    "api_statistic.csv": CrossCheck(rows.calls, ("api_statistic.csv",)),
    "operator_memory.csv": CrossCheck(rows.memory, ("operator_memory.csv", "memory_record.csv")),
    "npu_module_mem.csv": CrossCheck(rows.modules, ("npu_module_mem.csv",)),
    **{
        name: CrossCheck(partial(kernels.reached, name, *columns), (name,))
        for name, columns in {
            "l2_cache.csv": ("Stream Id", "Task Id"),
            "soc_pmu.csv": ("Stream Id", "Task Id"),
            "task_time.csv": ("stream_id", "task_id"),
        }.items()
    },
    "ratios of pipes": CrossCheck(kernels.pipes),
    "self times of operators": CrossCheck(times.self_times),
}
"""All cross-checks, by the names under which they are reported."""
