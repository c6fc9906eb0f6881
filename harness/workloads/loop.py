"""The loop of a program that calls ``harness.profile()``: it runs already, and marks its steps."""

from __future__ import annotations

from typing import Literal

from harness.workloads.base import Workload


class Loop(Workload, tag="loop", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The loop of the program that calls ``harness.profile()``."""

    step: Literal["marked", "whole"] = "marked"
    """What a step is. marked: from one call of ``step()`` to the next; whole: the block is one
    step. Read by: plan, run."""

    @property
    def is_one_step(self) -> bool:
        """Whether all of it is recorded as one step, so that there is nothing to repeat."""
        return self.step == "whole"
