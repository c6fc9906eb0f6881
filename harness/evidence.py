"""What counts as delivery: for each setting, what must be found in the capture.

The plan lists the demands that apply, the verification looks for each. Experimental settings
without a demand of their own are reported as not checkable when they differ from their defaults.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from harness.config import Request


def _always(request: Request) -> bool:  # noqa: ARG001 - the signature of `Demand.applies`
    return True


class Demand(Struct, frozen=True, kw_only=True):
    """One setting's demand, made when the effective setting is not empty or false."""

    setting: str
    phrase: str
    """What will be looked for, as it is printed."""
    applies: Callable[[Request], bool] = _always


UNCHECKED = "nothing: the harness has no check for this setting yet"
"""The demand of an experimental setting without one of its own."""

IMPLIED = frozenset({"profiler.experimental.verbose"})
"""Settings that others stand for: stacks show whether torch was verbose."""

DEMANDS = (
    Demand(
        setting="profiler.activities",
        phrase="operators for host, kernels for device",
    ),
    Demand(
        setting="profiler.schedule",
        phrase="every step of every cycle is recorded, with operators or kernels in it",
    ),
    Demand(
        setting="profiler.record_shapes",
        phrase="operators have input shapes and dtypes",
    ),
    Demand(
        setting="profiler.with_stack",
        phrase="operators have Python stacks",
    ),
    Demand(
        setting="profiler.profile_memory",
        phrase="allocations are recorded",
    ),
    Demand(
        setting="profiler.with_modules",
        phrase="operators have a module hierarchy",
    ),
    Demand(
        setting="profiler.with_flops",
        phrase="operators that torch has a formula for have flops",
    ),
    Demand(
        setting="profiler.memory_timeline",
        phrase="raw/memory_timeline*.json.gz has content",
    ),
    Demand(
        setting="profiler.experimental.performance_events",
        phrase="operators are there at all; the counters are in the trace",
    ),
)
