"""What torch.compile did in this process, by torch's own counts."""

from __future__ import annotations

import sys
from typing import Any, Final

from harness.execution.protocol import Compilation

_WHOLE: Final = "_compile.compile_inner"
"""torch's name of one compilation from its begin to its end (torch/_dynamo/convert_frame.py)."""
_REASONS: Final = 20
_LENGTH: Final = 200


def compilation() -> Compilation | None:
    """Return what was compiled so far; None if nothing was, or this torch does not tell.

    Read from torch._dynamo.utils, which has no public interface.
    """
    utils: Any = sys.modules.get("torch._dynamo.utils")
    counters = getattr(utils, "counters", None)
    times = getattr(utils, "compilation_time_metrics", None)
    if not isinstance(counters, dict) or not isinstance(times, dict) or not times.get(_WHOLE):
        return None
    breaks = counters.get("graph_break", {})
    first_lines = ((str(reason).partition("\n")[0], count) for reason, count in breaks.items())
    return Compilation(
        compilations=len(times[_WHOLE]),
        graphs=int(counters.get("stats", {}).get("unique_graphs", 0)),
        seconds=round(sum(times[_WHOLE]), 3),
        graph_breaks={
            reason[:_LENGTH]: int(count)
            for reason, count in sorted(first_lines, key=lambda entry: -entry[1])[:_REASONS]
        },
    )
