"""The ranges of steps and stages that the harness puts into a profile."""

from __future__ import annotations

from typing import Final, NamedTuple

STEP_MARK: Final = "harness.step#"
"""``record_function(f"{STEP_MARK}{n}")`` around a step gives its host range the number `n`."""
STAGE_MARK: Final = "harness.stage#"
"""``record_function(f"{STAGE_MARK}{name}")`` around a part of a step gives it a name."""


class HostRange(NamedTuple):
    """When the host was in a step, or in a stage of it, as the caller measured it."""

    step: int
    start_ns: int
    """Unix nanoseconds, as in the profile."""
    end_ns: int
    stage: str | None = None
    """Null for the step itself; its stages are ranges beside it."""
