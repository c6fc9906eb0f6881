"""Settings that were added after runs had been recorded, and what those runs did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

ADDED: Final[Mapping[str, Any]] = {
    "profiler.with_lines": False,
    "profiler.baseline.until": None,
    "profiler.baseline.precision": 0.02,
    "profiler.baseline.max_steps": 200,
    "profiler.baseline.place": "before",
}
"""Each with the value that makes a run what it was without the setting."""
_OF_EVERY_RUN: Final = "profiler.baseline.steps"
"""Every run of the harness has it; an imported capture, whose settings are not known, has not."""


def whole(requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run by their dotted names, with those that its version had not."""
    return {**ADDED, **requested} if _OF_EVERY_RUN in requested else dict(requested)
