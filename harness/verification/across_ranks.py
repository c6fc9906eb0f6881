"""Do the ranks of a job contradict each other?"""

from __future__ import annotations

from harness.analyses.collectives import Collectives
from harness.capture.run_record import Consistency

NAME = "collectives of the ranks"
_SHOWN = 3


def same_collectives(collectives: Collectives) -> Consistency:
    """Check that all ranks of a group have as many collectives of each type."""
    unequal = collectives.unequal
    if unequal.is_empty():
        if collectives.table.is_empty():
            why = "no collective of several ranks was recorded whose group is known"
            return Consistency(name=NAME, status="does_not_apply", reason=why)
        return Consistency(name=NAME, status="holds")
    kinds = [
        f"{type_}{f' of group {group}' if group else ''} ({counts})"
        for group, type_, counts in unequal.head(_SHOWN).rows()
    ]
    more = f"; and {unequal.height - _SHOWN} more" if unequal.height > _SHOWN else ""
    reason = (
        f"the ranks have unequal numbers of {'; '.join(kinds)}{more}: a part is missing, or the"
        " ranks recorded other steps"
    )
    return Consistency(name=NAME, status="broken", reason=reason)
