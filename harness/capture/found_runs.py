"""Find the runs below a folder, thousands of them in a second: their records alone are read."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from harness import files
from harness.capture.provenance import RanProgram
from harness.capture.run_record import Timing
from harness.capture.writer import Writer, life_of
from harness.execution.protocol import SCHEMA_VERSION
from harness.paths import RunFolder

_LARGEST = 64 << 20
"""Bytes of a record, as where one is read."""


class _Listed(Struct, frozen=True, kw_only=True):
    """What a list needs of run.json; the rest is skipped."""

    schema_version: int
    status: Literal["running", "ok", "failed", "interrupted"]
    verdict: Literal["delivered", "not_delivered", "pending"]
    exit_code: int | None
    overrides: tuple[str, ...] = ()
    host: str
    writer: Writer | None = None
    device: str = ""
    emulated: bool = False
    source: str = ""
    world_size: int = 1
    program: RanProgram | None = None
    requested: msgspec.Raw
    timing: dict[str, Timing] = {}


class FoundRun(Struct, frozen=True, kw_only=True):
    """A run that was found."""

    folder: str
    """As it was found: relative, if the folder that was searched is."""
    modified: float
    """When its record was written last, in Unix seconds."""
    status: str
    """running, ok, failed or interrupted; died: it was running, and its process is gone."""
    verdict: str
    """delivered, not_delivered or pending."""
    exit_code: int | None
    """Null while it runs."""
    device: str
    emulated: bool
    """Whether its times are invented."""
    host: str
    workload: str
    """The workload's name, the user's program, or the path of an imported capture."""
    ranks: int
    """How many processes it has."""
    unprofiled_step_ns: int | None
    """The median of the steps without the profiler."""
    profiled_step_ns: int | None
    """The median of the recorded steps."""
    overrides: tuple[str, ...]
    """The settings of the command."""
    requested: dict[str, Any]
    """Every setting by its dotted name."""


class Unreadable(Struct, frozen=True):
    """A record that cannot be read, and why."""

    path: str
    why: str


def find_runs(root: Path) -> Iterator[FoundRun | Unreadable]:
    """Yield the runs at or below a folder, in no order; links are not followed.

    The ranks of a job are not listed apart from it.
    """
    here = socket.gethostname()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        record = RunFolder(folder).record
        try:
            with os.scandir(folder) as entries:
                inner = [Path(one) for one in entries if one.is_dir(follow_symlinks=False)]
        except OSError as error:
            yield Unreadable(str(folder), error.strerror or str(error))
            continue
        if not os.path.lexists(record):
            waiting += inner
            continue
        yield _read(folder, record, here)


def _read(folder: Path, record: Path, here: str) -> FoundRun | Unreadable:
    try:
        with files.regular(record, follow=False) as file:
            content = file.read(_LARGEST)
            modified = os.fstat(file.fileno()).st_mtime
        listed = msgspec.json.decode(content, type=_Listed)
        requested = msgspec.json.decode(listed.requested, type=dict[str, Any])
    except OSError as error:
        return Unreadable(str(record), error.strerror or str(error))
    except (ValueError, RecursionError) as error:
        return Unreadable(str(record), f"it is no record of a run: {error}")
    if listed.schema_version != SCHEMA_VERSION:
        why = f"its schema_version is {listed.schema_version}, and this harness reads"
        return Unreadable(str(record), f"{why} {SCHEMA_VERSION} only")
    median = {phase: timing.median_ns for phase, timing in listed.timing.items()}
    return FoundRun(
        folder=str(folder),
        modified=modified,
        status=_status(listed, here),
        verdict=listed.verdict,
        exit_code=listed.exit_code,
        device=listed.device,
        emulated=listed.emulated,
        host=listed.host,
        workload=_workload(listed, requested),
        ranks=listed.world_size,
        unprofiled_step_ns=median.get("baseline"),
        profiled_step_ns=median.get("active"),
        overrides=listed.overrides,
        requested=requested,
    )


def _status(listed: _Listed, here: str) -> str:
    if listed.status == "running" and life_of(listed.writer, here=listed.host == here) == "dead":
        return "died"
    return listed.status


def _workload(listed: _Listed, requested: dict[str, Any]) -> str:
    if listed.program is not None:
        return listed.program.source
    return listed.source or str(requested.get("workload.name", ""))
