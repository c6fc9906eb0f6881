"""slurm.json: how the jobs of a sweep were given to Slurm; each reads there which one it is."""

from __future__ import annotations

from msgspec import Struct

from harness.execution.protocol import SCHEMA_VERSION


class Submission(Struct, frozen=True, kw_only=True):
    """An array of Slurm's jobs."""

    array: str = ""
    """The number that Slurm gave it; "" until it did."""
    jobs: tuple[int, ...]
    """For each task of the array, from 0, the number of the job in sweep.json, from 0."""

    def name(self, task: int) -> str:
        """Return what Slurm calls the job."""
        return f"{self.array}_{task}"


class SlurmRecord(Struct, frozen=True, kw_only=True):
    """slurm.json: how the jobs of a sweep were given to Slurm."""

    schema_version: int = SCHEMA_VERSION
    submissions: tuple[Submission, ...]
    config_dir: str | None
    """The user's own folder of configuration, if one was named."""
    config_name: str
    overrides: tuple[str, ...]
    """The settings of Hydra's own that all jobs share."""

    @property
    def arrays(self) -> tuple[str, ...]:
        """The numbers that Slurm has given."""
        return tuple(item.array for item in self.submissions if item.array)
