"""How a run begins, and what its record says when its process is over."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from harness import __version__, files
from harness.capture.provenance import RanProgram, ran_program
from harness.capture.run_folder import make
from harness.capture.run_record import RunRecord, request_hash
from harness.errors import ExitCode, Problem, RefusedError, WriteError
from harness.execution.plan import requested
from harness.execution.protocol import Outcome, Plan
from harness.settings.request import Request
from harness.workloads.program import Program


def nothing(_folder: Path) -> None:
    """Do nothing when a run begins."""


def started(
    request: Request, planned: Plan, overrides: Sequence[str], program: RanProgram | None
) -> RunRecord:
    """Return the record of a run that begins."""
    return RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        records=planned.recording.records,
        overrides=tuple(overrides),
        request_hash=request_hash(request),
        versions={"harness": __version__},
        host=socket.gethostname(),
        device=request.device.name,
        program=program,
        requested=requested(request),
        effective=planned.recording.effective,
        recorded_steps=len(planned.recording.recorded),
        rank=planned.recording.rank,
        world_size=planned.recording.world_size,
    )


def program_of(request: Request) -> RanProgram | None:
    """Return the user's program that a request runs, if it runs one."""
    return ran_program(request.workload) if isinstance(request.workload, Program) else None


@contextmanager
def made(folder: Path, setting: str) -> Iterator[None]:
    """Make a folder for a block; if that leaves nothing, the folder goes again."""
    new = make(folder, setting)
    try:
        yield
    except WriteError:
        files.remove_empty(new)
        raise


def refuse_unended(record: RunRecord | None, folder: Path) -> None:
    """Refuse a run that goes on, also where the file system has no locks."""
    if record is not None and record.life == "alive":
        fix = "wait until it has ended"
        raise RefusedError([Problem(setting=str(folder), given="", reason=record.unended, fix=fix)])


def no_place(folder: Path, why: str) -> Problem:
    """Return the problem of a folder that results cannot be put into."""
    fix = "choose another folder, or remove what is there"
    return Problem(setting="--out", given=str(folder), reason=why, fix=fix)


def left(record: RunRecord, outcome: Outcome) -> RunRecord:
    """Return the record of a run that is over and not read yet."""
    return replace(
        record,
        writer=None,
        status="failed" if outcome.status == "unavailable" else outcome.status,
        verdict="pending",
        exit_code=exit_code(outcome, delivered=True),
        reason=outcome.reason,
        notes=outcome.notes,
        versions=record.versions | outcome.versions,
        device_name=outcome.device_name,
        program=ended_program(record, outcome),
        emulated=outcome.emulated,
        event_counts=outcome.event_counts,
    )


def ended_program(record: RunRecord, outcome: Outcome) -> RanProgram | None:
    """Return the record of the user's program with how it ended."""
    if record.program is None or outcome.program is None:
        return record.program
    end = outcome.program
    return replace(record.program, exit_code=end.exit_code, steps=end.steps)


def exit_code(outcome: Outcome, *, delivered: bool) -> ExitCode:
    """Return the exit code of a run that is over."""
    if outcome.status == "ok":
        return ExitCode.OK if delivered else ExitCode.NOT_DELIVERED
    return {
        "failed": ExitCode.FAILED,
        "interrupted": ExitCode.INTERRUPTED,
        "unavailable": ExitCode.UNAVAILABLE,
    }[outcome.status]
