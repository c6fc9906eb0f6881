"""A run as a value: how it ended, what was delivered, its tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.capture.foreign import check_run
from harness.capture.run_record import Delivery, RunRecord
from harness.errors import Problem, RefusedError
from harness.execution.protocol import read_json
from harness.paths import RunFolder

if TYPE_CHECKING:
    import polars as pl


class Run:
    """A run folder, read when it is looked at; what is there is as it was when `load` returned."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder = folder
        """Absolute."""
        self.record = record
        """run.json, whole."""

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {self.status}, {self.verdict}>"

    @property
    def status(self) -> Literal["running", "ok", "failed", "interrupted"]:
        """How the run ended."""
        return self.record.status

    @property
    def verdict(self) -> Literal["delivered", "not_delivered", "pending"]:
        """Whether everything that was asked for is there; pending until it was read."""
        return self.record.verdict

    @property
    def delivery(self) -> tuple[Delivery, ...]:
        """What was asked for, setting by setting, and what arrived."""
        return self.record.delivery

    @property
    def missing(self) -> tuple[str, ...]:
        """What makes the verdict ``not_delivered``, a line each."""
        lacking = [
            f"{item.setting}={item.requested}: {item.status}, {item.reason or item.arrived}"
            for item in self.delivery
            if item.fails
        ]
        broken = [f"{item.name}: {item.reason}" for item in self.record.consistency if item.fails]
        return (*lacking, *broken)

    @property
    def reason(self) -> str:
        """Why it did not end well, in one line; empty if it did."""
        return self.record.reason

    @property
    def exit_code(self) -> int | None:
        """What a command would have ended with; None while it runs."""
        return self.record.exit_code

    @property
    def tables(self) -> Mapping[str, pl.DataFrame]:
        """Operators, kernels and the like, by name, as polars frames that are read when used."""
        return _Frames(RunFolder(self.folder).tables)

    @property
    def analyses(self) -> Mapping[str, pl.DataFrame]:
        """What was computed from the tables; an analysis that found nothing is left out."""
        return _Frames(RunFolder(self.folder).analyses)

    @property
    def summary(self) -> str:
        """summary.md; empty where the run was not read."""
        path = RunFolder(self.folder).summary
        return path.read_text(encoding="utf-8") if path.exists() else ""


def load(run: str | os.PathLike[str]) -> Run:
    """Return a run of an earlier command, program or window, from its folder. Changes nothing.

    Raises:
        RefusedError: It is no run folder that this version can read.
    """
    folder = Path(run).absolute()
    check_run(folder)
    return Run(folder, read_json(RunFolder(folder).record, RunRecord))


class _Frames(Mapping[str, "pl.DataFrame"]):
    """The tables in a folder, each read when it is first used."""

    def __init__(self, folder: Path) -> None:
        self._paths = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
        self._frames: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._frames:
            self._frames[name] = _frame(self._paths[name])
        return self._frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _frame(path: Path) -> pl.DataFrame:
    import polars as pl

    from harness import tables

    try:
        return tables.read(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        why, fix = (
            f"this table cannot be read: {error}",
            f"python -m harness read {path.parents[1]}",
        )
        raise RefusedError([Problem(setting=str(path), given="", reason=why, fix=fix)]) from error
