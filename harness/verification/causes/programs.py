"""What a program of the user's tells of its own steps, where some are missing."""

from __future__ import annotations

from harness.capture.capture import Capture
from harness.verification.causes.base import Cause


def _few_steps(capture: Capture) -> str:
    program = capture.outcome.program
    return program.why_short if program else ""


FEW_STEPS = Cause(
    "the program ended before the schedule was full",
    "the program's own count of its steps",
    _few_steps,
)


def of_program(capture: Capture, missing: str) -> tuple[Cause, ...]:
    """Return the causes that lie in the program, if a program of the user's ran."""
    program = capture.outcome.program
    if program is None or (missing != "steps" and _has_recorded_steps(capture)):
        return ()
    return (FEW_STEPS,)


def _has_recorded_steps(capture: Capture) -> bool:
    """Tell whether the program came as far as a step that is recorded."""
    return "active" in capture.tables["steps"]["phase"]
