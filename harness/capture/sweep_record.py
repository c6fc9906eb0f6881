"""sweep.json: which jobs a sweep has, and what became of each."""

from __future__ import annotations

from msgspec import Struct

from harness.execution.protocol import SCHEMA_VERSION


class SweepJob(Struct, frozen=True, kw_only=True):
    """One expected job of a sweep, and what became of it."""

    folder: str
    """The name of its run folder, beside sweep.json."""
    overrides: tuple[str, ...]
    """The settings that make it."""
    values: dict[str, str]
    """Those that the sweep varies, by setting, as they are typed."""
    exit_code: int | None = None
    """Null while it has none: it was not run, or the harness ended before it did."""
    reason: str = ""
    """One line, if it is not what was asked for."""


class SweepRecord(Struct, frozen=True, kw_only=True):
    """sweep.json: which jobs are expected, and what became of each. Written at start and end."""

    schema_version: int = SCHEMA_VERSION
    swept: tuple[str, ...]
    """The settings that are varied, by their dotted names; or a group, as ``profiler``."""
    jobs: tuple[SweepJob, ...]
    """In the order in which they run."""
