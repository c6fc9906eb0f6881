"""The columns of every table, and helpers for their rows: what all tables of all captures share.

polars is imported when one of them is first used: the paths without a table start faster.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.tables.schemas import (
        ADDED,
        SCHEMAS,
        empty,
        frame,
        into,
        join_cycles,
        keep,
        read,
        scan,
        write,
        write_together,
    )
    from harness.tables.stored import read_stored, scan_stored

__all__ = [
    "ADDED",
    "SCHEMAS",
    "empty",
    "frame",
    "into",
    "join_cycles",
    "keep",
    "read",
    "read_stored",
    "scan",
    "scan_stored",
    "write",
    "write_together",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness.tables import schemas, stored

    globals()[name] = getattr(stored if name.endswith("_stored") else schemas, name)
    return globals()[name]
