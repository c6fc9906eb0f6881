"""merge.json: which runs were joined, how, and what was left over."""

from __future__ import annotations

from msgspec import Struct

from harness.execution.protocol import SCHEMA_VERSION
from harness.settings.request import Peaks


class LeftOut(Struct, frozen=True, kw_only=True):
    """A run that was not merged."""

    folder: str
    reason: str


class MergedRun(Struct, frozen=True, kw_only=True):
    """A run that was merged, and how its rows were joined."""

    label: str
    """What its columns have behind the @ in their names."""
    folder: str
    exit_code: int | None
    rows: int
    outside: int
    """Rows outside all steps, which are left out."""
    unmatched: int
    """Rows that some other run lacks."""
    missing: int
    """Rows of other runs that this run lacks."""
    duration_ns: int
    """The sum over its rows in steps; of operators, of their self time."""
    streams: dict[str, str]
    """Its streams that have another number in the merged table, and that number."""


class MergeRecord(Struct, frozen=True, kw_only=True):
    """merge.json: which runs were joined, how, and what was left over."""

    schema_version: int = SCHEMA_VERSION
    match: str
    """aligned or strict."""
    table: str
    """kernels or operators."""
    device: str
    device_name: str
    emulated: bool
    rows: int
    """Rows of the merged table."""
    in_all: int
    """Rows that every run has."""
    ambiguous: int
    """Rows that another minimal alignment pairs differently."""
    runs: tuple[MergedRun, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    peaks: Peaks = Peaks()
    """Those of the chip that the roofline was made with."""
