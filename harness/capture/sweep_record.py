"""sweep.json: which jobs a sweep has, and what became of each."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from harness.execution.protocol import SCHEMA_VERSION


class SweepJob(Struct, frozen=True, kw_only=True):
    """One expected job of a sweep, and what became of it."""

    folder: str
    """The name of its run folder, beside sweep.json."""
    overrides: tuple[str, ...]
    """Its settings."""
    values: dict[str, str]
    """The values of the settings that the sweep varies, as they are typed."""
    exit_code: int | None = None
    """Null if the job was not run, or the harness died before it ended."""
    reason: str = ""
    """One line, if the job did not deliver everything."""


class SweepRecord(Struct, frozen=True, kw_only=True):
    """sweep.json: which jobs are expected, and what became of each. Written at start and end."""

    schema_version: int = SCHEMA_VERSION
    swept: tuple[str, ...]
    """The varied settings, by their dotted names; or groups, such as ``profiler``."""
    jobs: tuple[SweepJob, ...]
    """The jobs in the order in which they run."""

    @property
    def outside(self) -> tuple[str, ...]:
        """Folders of jobs that are not beside sweep.json; a record of ours has none."""
        names = (job.folder for job in self.jobs)
        return tuple(name for name in names if Path(name).name != name or name in {"", ".."})
