"""Why something is missing from a capture of torch's profiler, by its events and the run's log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.capture.capture import Capture
from harness.verification.causes import logs
from harness.verification.causes.base import Cause
from harness.verification.causes.lines import LINES
from harness.verification.causes.threads import SHOWN_BY, other_threads

OVERFLOW: Final = (
    r"activity collection was stopped early[^.\n]*|Exceeded max GPU buffer count[^\n]*"
)
"""What torch 2.13 says (profiler.py, `step`), and Kineto (CuptiActivityApi.cpp)."""
_CALLS: Final = ("cuda_runtime", "cuda_driver")
_MARKS: Final = "user_annotation"


def _ended(capture: Capture) -> str:
    outcome = capture.outcome
    return "" if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"


def _marks_alone(capture: Capture) -> str:
    """Look for marks of steps without operators: the profiler was at work."""
    marks = capture.event_counts.get(_MARKS)
    if marks is None or not marks.marks or capture.tables["operators"].height:
        return ""
    return f"the profiler recorded {marks.marks:,} marks of steps, and no operator"


def _operators_alone(capture: Capture) -> str:
    operators = capture.tables["operators"].height
    if not operators or capture.tables["memory"].height:
        return ""
    return f"{operators:,} operators, and 0 events of memory"


def _no_events(capture: Capture) -> str:
    requested = capture.expected.experimental.get("performance_events")
    if not requested or any(count.seen for count in capture.event_counts.values()):
        return ""
    return "counters are requested, and the profiler handed over 0 events, not even marks of steps"


def _calls(capture: Capture) -> int:
    counts = (capture.event_counts.get(kind) for kind in _CALLS)
    return sum(count.seen for count in counts if count is not None)


def _calls_alone(capture: Capture) -> str:
    calls = _calls(capture)
    if not calls or capture.tables["kernels"].height:
        return ""
    return f"{calls:,} calls of CUDA's runtime and driver, and no kernel"


def _no_calls(capture: Capture) -> str:
    """Look for a run without calls of CUDA; each of its steps ends with one."""
    steps = len(set(capture.tables["operators"]["step"].drop_nulls()))
    if capture.source or _calls(capture) or not steps:
        return ""
    return f"no call of CUDA's runtime in {steps:,} step(s), and the harness makes one in each"


def _steps_without_operators(capture: Capture) -> str:
    marks = capture.event_counts.get(_MARKS)
    # The harness makes a mark of each step, torch another one.
    if marks is None or marks.marks < len(capture.expected.recorded):
        return ""
    return f"the profiler recorded {marks.marks:,} marks of steps: it was at work in all of them"


ENDED: Final = Cause(
    "the run ended before it had recorded them", "a run that did not end well", _ended
)
OTHER_THREADS: Final = Cause(
    "the profiler does not record other threads: profiler.experimental.profile_all_threads=true",
    SHOWN_BY,
    other_threads,
)
OTHER_PROFILER: Final = Cause(
    "another profiler, which ran inside the workload, took the events: take it out of the step",
    'a log line "no active profiling session found"',
    logs.line("no active profiling session found"),
)
NO_PERF: Final = Cause(
    "torch drops every event where the system has no perf events (virtual machines,"
    " kernel.perf_event_paranoid); run without profiler.experimental.performance_events",
    "counters that are requested, and no event at all",
    _no_events,
)
_RIGHT: Final = Cause(
    "this user may not read the GPU's counters: NVreg_RestrictProfilingToAdminUsers=0"
    " (python -m harness doctor device=cuda)",
    'a log line "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"',
    logs.line("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"),
)
_HELD: Final = Cause(
    "another tool holds CUPTI: end it",
    'a log line "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED"',
    logs.line("CUPTI_ERROR_MULTIPLE_SUBSCRIBERS"),
)
_FULL: Final = Cause(
    "CUPTI's buffers overflowed, and later kernels are lost: record fewer steps"
    " (profiler.schedule.active)",
    'a log line "activity collection was stopped early" or "Exceeded max GPU buffer count"',
    logs.line(OVERFLOW),
)
_CUPTI: Final = Cause(
    "CUPTI reported an error", 'a log line "CUPTI_ERROR"', logs.line("CUPTI_ERROR|CUPTI initial")
)
_KERNELS: Final = (
    ENDED,
    _HELD,
    _FULL,
    _RIGHT,
    _CUPTI,
    OTHER_PROFILER,
    Cause(
        "the recorded steps launch no kernel",
        "calls of CUDA's runtime that were recorded, and no kernel",
        _calls_alone,
    ),
    Cause(
        "CUPTI recorded nothing of CUDA",
        "in a run, no call of CUDA's runtime though each step ends with one",
        _no_calls,
    ),
)

CAUSES: Final[Mapping[str, tuple[Cause, ...]]] = {
    "operators": (
        ENDED,
        OTHER_THREADS,
        OTHER_PROFILER,
        NO_PERF,
        Cause(
            "the recorded steps run no operator of torch in their thread",
            "marks of steps that were recorded, and no operator",
            _marks_alone,
        ),
    ),
    "kernels": _KERNELS,
    "steps": (
        ENDED,
        OTHER_THREADS,
        _FULL,
        OTHER_PROFILER,
        NO_PERF,
        Cause(
            "the step runs no operator of torch there",
            "marks of all recorded steps",
            _steps_without_operators,
        ),
    ),
    "short steps": (_FULL, _CUPTI, OTHER_PROFILER),
    "events of CUPTI": _KERNELS[:6],
    "allocations": (
        ENDED,
        OTHER_PROFILER,
        Cause(
            "the recorded operators allocate no memory through torch",
            "operators that were recorded, and no event of memory",
            _operators_alone,
        ),
    ),
    "stacks": (ENDED, OTHER_PROFILER),
    "lines": LINES,
    "files": (ENDED, OTHER_PROFILER),
}
"""By what is missing."""
