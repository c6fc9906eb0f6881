"""Folders of results: make them, lock them, clear them, find them again."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from harness import files
from harness.capture.run_record import record_of
from harness.errors import Problem, RefusedError, WriteError
from harness.paths import RunFolder, SweepFolder
from harness.text import is_text


def make(folder: Path, setting: str) -> list[Path]:
    """Make a folder that results can be written into; `setting` is what chooses it.

    Returns:
        The folders that were not there before, to be removed if nothing is written into them.

    Raises:
        RefusedError: It cannot be made, or not be written into.
        WriteError: The disk is full.
    """
    made: list[Path] = []
    why = "" if is_text(str(folder.absolute())) else "its name is no UTF-8, and records are"
    try:
        made = [] if why else files.make_root(folder)
    except WriteError as error:
        if error.full:
            raise
        why = error.reason
    if not why and not os.access(folder, os.W_OK | os.X_OK):
        why = os.strerror(errno.EACCES)
    if why:
        fix = f"choose another folder with {setting}, or mend this one"
        reason = f"results cannot be written there: {why}"
        raise RefusedError([Problem(setting=setting, given=str(folder), reason=reason, fix=fix)])
    return made


@contextmanager
def held(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Keep other harnesses out of a sweep's folder; the kernel unlocks it when this process ends.

    `report` is called with a warning where the file system has no locks.

    Raises:
        RefusedError: A sweep is running there.
        WriteError: The disk is full, or the like.
    """
    path = SweepFolder(folder).lock
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with files.failing_at(path):
        lock = os.fdopen(os.open(path, flags, 0o666), "rb+")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError([_sweep_is_running(folder)]) from error
        except OSError as error:
            report(f"{folder}: a second sweep could write here, too: {error.strerror}")
        yield


def _sweep_is_running(folder: Path) -> Problem:
    return Problem(
        setting="hydra.sweep.dir",
        given=str(folder),
        reason="another harness is running this sweep, and both would write over each other",
        fix="wait until it has ended, or choose another folder with hydra.sweep.dir=FOLDER",
    )


@contextmanager
def held_run(folder: Path) -> Iterator[None]:
    """Keep other harnesses out of a run folder; the kernel unlocks it when this process ends.

    Raises:
        RefusedError: A run is going on there, or is being read; or the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        why, fix = f"it cannot be opened: {error.strerror}", "choose another folder"
        problem = Problem(setting=str(folder), given="", reason=why, fix=fix)
        raise RefusedError([problem]) from error
    process = os.getpid()
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError([_run_is_going_on(folder)]) from error
        except OSError:
            pass  # Some file systems cannot lock a folder; there, nothing keeps others out.
        yield
    finally:
        # Copies of the process, which a program forked, hold the folder open, too.
        if os.getpid() == process:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _run_is_going_on(folder: Path) -> Problem:
    record = record_of(folder)
    named = ""
    # A reader of an ended run leaves no number.
    if record is not None and record.writer is not None and record.life == "alive":
        named = f" (process {record.writer.pid})"
    return Problem(
        setting=str(folder),
        given="",
        reason=f"another harness{named} is writing into this run folder",
        fix="wait until it has ended",
    )


def is_run(folder: Path) -> bool:
    """Tell whether a folder is one of the harness's own runs, whole or not."""
    run = RunFolder(folder)
    return any(path.exists() for path in (run.record, run.plan, run.capture))


def clear(folder: Path) -> None:
    """Make a run's folder, and remove what an earlier run left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in RunFolder(folder).replaced:
        remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def files_of(folder: Path) -> tuple[str, ...]:
    """Return what there is to read in a run folder: files, and folders with a slash."""
    run = RunFolder(folder)
    log = (run.log.name,) if run.log.exists() else ()
    folders = (path for path in (run.tables, run.analyses, run.raw) if path.exists())
    return (run.summary.name, run.report.name, *log, *(f"{path.name}/" for path in folders))


def shown(folder: Path) -> Path:
    """Return the folder as a person would type it from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


OUTPUTS = Path("outputs")


def new_folder() -> Path:
    """Return the folder of a run that starts now, as conf/config.yaml has it."""
    now = datetime.now().astimezone()
    return OUTPUTS / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S-%f}"


def link_latest(folder: Path) -> None:
    """Let ``outputs/latest`` lead to a folder below outputs/; ignore others."""
    target, outputs = folder.absolute(), OUTPUTS.absolute()
    if not target.is_relative_to(outputs):
        return
    latest = outputs / "latest"
    if latest.exists() and not latest.is_symlink():
        # The user made it.
        return
    unfinished = outputs / f".latest.{os.urandom(8).hex()}"
    with files.failing_at(latest):
        outputs.mkdir(exist_ok=True)
        try:
            unfinished.symlink_to(target.relative_to(outputs), target_is_directory=True)
            unfinished.replace(latest)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
