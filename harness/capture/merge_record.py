"""merge.json: which runs were joined, how, and what was left over."""

from __future__ import annotations

from msgspec import Struct

from harness.execution.protocol import SCHEMA_VERSION

MERGE_FILE = "merge.json"


class LeftOut(Struct, frozen=True, kw_only=True):
    """A run that was not merged."""

    folder: str
    reason: str


class MergedRun(Struct, frozen=True, kw_only=True):
    """A run that was merged, and what became of its rows."""

    label: str
    """Stands behind the @ in the names of its columns."""
    folder: str
    exit_code: int | None
    rows: int
    outside: int
    """Rows of no step, which are left out."""
    unmatched: int
    """Rows that not every run has."""
    missing: int
    """Rows of others that this run lacks."""
    duration_ns: int
    """Of its rows in steps, added up; of operators, what they spent themselves."""
    streams: dict[str, str]
    """Its numbers of streams that are others in the merged table, and those."""


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
    """Of the merged table."""
    in_all: int
    """Those that every run has."""
    ambiguous: int
    """Those that other minimal alignments would pair otherwise."""
    runs: tuple[MergedRun, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
