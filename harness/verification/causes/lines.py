"""Why it is not known which lines of the user's code ran."""

from __future__ import annotations

from typing import Final

from harness.capture.capture import Capture
from harness.execution.protocol import NO_LINES
from harness.verification.causes.base import Cause


def _ended(capture: Capture) -> str:
    outcome = capture.outcome
    return outcome.reason if outcome.status != "ok" else ""


def _noted(capture: Capture) -> str:
    notes = (note for note in capture.outcome.notes if note.startswith(NO_LINES))
    return next((note.removeprefix(NO_LINES) for note in notes), "")


LINES: Final = (
    Cause("the run ended before they were written", "a run that did not end well", _ended),
    Cause(
        "Python's tracing was not the harness's to the end: run without the other tracer, or"
        " profiler.with_lines=false",
        "a note of the run about its lines",
        _noted,
    ),
)
