"""What a setting changes: the mark on each field of the request, or on the group that it is in.

``Judged[Delivery]`` marks a whole group. A field inside a group takes the group's mark, unless it
has one of its own. `harness.settings.marks` reads them.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar


class Changes(Enum):
    """What becomes different with another value of a setting."""

    EXECUTED = "measured: what runs"
    """The program, or the conditions under which it runs."""
    RECORDED = "measured: what is recorded"
    """What the profiler records of it. Delivery is checked for these settings, and no others."""
    JUDGED = "judged"
    """The verdict on what was recorded, and the tables made from it."""
    PLACED = "placed"
    """Where and when results come: names, limits of time, how a sweep is resumed."""

    @property
    def measured(self) -> bool:
        """Whether a result with another value of the setting is another measurement."""
        return self in {Changes.EXECUTED, Changes.RECORDED}


_T = TypeVar("_T")
Executed = Annotated[_T, Changes.EXECUTED]
Recorded = Annotated[_T, Changes.RECORDED]
Judged = Annotated[_T, Changes.JUDGED]
Placed = Annotated[_T, Changes.PLACED]
