"""Keep run.json true: it says "running" first and then, whatever happens, how the run ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from harness import files
from harness.capture.run_record import RunRecord, record_of
from harness.capture.writer import this_process
from harness.errors import ExitCode, WriteError
from harness.execution.protocol import json_of, write_json
from harness.paths import RunFolder
from harness.stopping import Held

NOT_READ_BACK: Final = "the harness ended before it had read the run; what was recorded is kept"
_INTERRUPTED_LAST: Final = "interrupted while its record was written; everything else is there"
_KILLED: Final = "interrupted twice, and so ended at once; what was recorded by then is kept"
_KEPT: Final = "what was recorded by then is kept"
_ROOM: Final = 1 << 16
"""Bytes that are reserved for a record, beyond its size at the start."""


class Ending:
    """How a run ends: to be set once everything else of it is on the disk."""

    record: RunRecord | None = None


@contextmanager
def kept(record: RunRecord, folder: Path) -> Iterator[Ending]:
    """Write run.json before and after a block; `record` is its first state.

    A record that says how the run ended is an earlier one, of a run that is read again. It stays
    until the block has set another.

    Raises:
        WriteError: There is no room for the record, and nothing was written; or the block could not
            write its files, which the record says.
    """
    path = RunFolder(folder).record
    files.remove_unfinished(folder)
    begun = replace(record, writer=this_process()) if record.status == "running" else record
    ending, process = Ending(), os.getpid()
    with files.Reserve(folder, path, len(json_of(begun)) + _ROOM) as reserve:
        last = None
        try:
            if begun.status == "running":
                write_json(begun, path)
            with files.full_disk_named(folder):
                yield ending
            last = ending.record
        except KeyboardInterrupt:
            last = _stopped(begun, ExitCode.INTERRUPTED, NOT_READ_BACK)
            raise
        except WriteError as error:
            last = _stopped(begun, ExitCode.FAILED, f"{error.fact}; {_KEPT}")
            raise
        finally:
            # Without `last`, the harness itself failed; the exception is passed on. A copy of the
            # process, which a program forked, has no say.
            if os.getpid() == process:
                _save(last or _stopped(begun, ExitCode.FAILED, NOT_READ_BACK), begun, reserve)


def close_killed(folder: Path) -> None:
    """Let the record of a run say so that a second interrupt killed, in a process of this one's."""
    record, here = record_of(folder), this_process()
    if record is None or record.writer is None or record.life != "dead":
        return
    # One that is older died in an earlier sweep.
    if (record.writer.started or 0) >= (here.started or 0):
        # On a full disk, its readers see that its process died.
        with suppress(WriteError):
            last = _stopped(record, ExitCode.INTERRUPTED, _KILLED)
            write_json(last, RunFolder(folder).record)


def close_ended(folder: Path, why: str) -> None:
    """Let the record of a run say so whose process is known to have ended, on whatever machine."""
    record = record_of(folder)
    if record is not None and record.status == "running":
        with suppress(WriteError):
            last = _stopped(record, ExitCode.FAILED, f"{why}; {_KEPT}")
            write_json(last, RunFolder(folder).record)


def _stopped(record: RunRecord, code: ExitCode, reason: str) -> RunRecord:
    """Return the record of a run that was cut short; an earlier one stays as it is."""
    if record.status != "running":
        return record
    status = "interrupted" if code == ExitCode.INTERRUPTED else "failed"
    return replace(record, status=status, exit_code=code, reason=reason, writer=None)


def _save(record: RunRecord, begun: RunRecord, reserve: files.Reserve) -> None:
    """Write the last record, also if an interrupt arrives meanwhile."""
    if record is begun:
        return
    try:
        with Held():
            _write(record, begun, reserve)
    except KeyboardInterrupt:
        with Held():
            code = ExitCode.INTERRUPTED
            late = replace(record, status="interrupted", exit_code=code, reason=_INTERRUPTED_LAST)
            _write(late if record.status == "ok" else record, begun, reserve)
        raise


def _write(record: RunRecord, begun: RunRecord, reserve: files.Reserve) -> None:
    try:
        reserve.write(json_of(record))
    except WriteError as error:
        # This one fits: it is as long as the first, and a line.
        short = replace(begun, status="running")
        reserve.write(json_of(_stopped(short, ExitCode.FAILED, f"{error.fact}; {_KEPT}")))
        raise
