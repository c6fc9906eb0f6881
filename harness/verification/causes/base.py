"""A cause of what is missing, and the evidence of it that is looked for in a capture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.capture.capture import Capture

Look = Callable[[Capture], str]
"""Looks for the evidence of a cause; returns it in words, "" where it is not there."""


class Cause(NamedTuple):
    """Why something may be missing from a capture."""

    says: str
    """The cause, and what to do."""
    shown_by: str
    """The evidence, as the page of causes has it, and the reason where no cause is shown."""
    look: Look


def explained(capture: Capture, causes: Sequence[Cause]) -> str:
    """Return the first cause of which there is evidence, with this; else say what is not there."""
    for cause in causes:
        if evidence := cause.look(capture):
            return f"{cause.says} ({evidence})"
    if not causes:
        return "the cause is not known"
    looked_for = list(dict.fromkeys(cause.shown_by for cause in causes))
    return f"the cause is not known; looked for, and not there: {'; '.join(looked_for)}"
