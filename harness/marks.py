"""The ranges that the harness itself puts into a profile, by their names."""

from __future__ import annotations

from typing import Final

STEP_MARK: Final = "harness.step#"
"""``record_function(f"{STEP_MARK}{n}")`` around a step gives its host range the number `n`."""
STAGE_MARK: Final = "harness.stage#"
"""``record_function(f"{STAGE_MARK}{name}")`` around a part of a step gives it a name."""
