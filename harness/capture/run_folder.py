"""Folders of results: made and writable, of one sweep at a time; or refused."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from harness.capture.run_record import RUN_FILE
from harness.errors import Problem, RefusedError
from harness.execution.protocol import CALLS_FILE, OUTCOME_FILES, PLAN_FILE

LOCK_FILE: Final = ".lock"


def make(folder: Path, setting: str) -> None:
    """Make a folder that results can be written into; `setting` is what chooses it.

    Raises:
        RefusedError: It cannot be made, or not be written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        why = f"results cannot be written there: {error.strerror}"
        fix = f"choose another folder with {setting}, or mend this one"
        problem = Problem(setting=setting, given=str(folder), reason=why, fix=fix)
        raise RefusedError([problem]) from error


@contextmanager
def held(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Keep other harnesses out of a sweep's folder; the kernel lets go when this process ends.

    `report` is called with a warning where the file system has no locks. Raises `RefusedError` if
    a sweep runs there.
    """
    with (folder / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError([_taken(folder)]) from error
        except OSError as error:
            report(f"{folder}: nothing keeps a second sweep out of it: {error.strerror}")
        yield


def _taken(folder: Path) -> Problem:
    return Problem(
        setting="hydra.sweep.dir",
        given=str(folder),
        reason="another harness is running this sweep, and both would write over each other",
        fix="wait until it has ended, or choose another folder with hydra.sweep.dir=FOLDER",
    )


_OURS = (
    RUN_FILE,
    PLAN_FILE,
    CALLS_FILE,
    *OUTCOME_FILES.values(),
    "steps.jsonl",
    "summary.md",
    "cycles",
    "tables",
    "analyses",
    "raw",
)
"""What a run leaves in its folder, and what a new run in the same folder replaces."""


def is_run(folder: Path) -> bool:
    """Tell whether a folder is one of the harness's own runs, whole or not."""
    return any((folder / name).exists() for name in (RUN_FILE, PLAN_FILE))


def clear(folder: Path) -> None:
    """Make a run's folder, and remove what an earlier run left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _OURS:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def files_of(folder: Path) -> tuple[str, ...]:
    """Return what there is to read in a run folder: files, and folders with a slash."""
    left = ("harness.log", "tables/", "analyses/", "raw/")
    return ("summary.md", *(name for name in left if (folder / name).exists()))


def shown(folder: Path) -> Path:
    """Return the folder as a person would type it from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


OUTPUTS = Path("outputs")


def new_folder() -> Path:
    """Return where a run of now goes, as conf/config.yaml says for all others."""
    now = datetime.now().astimezone()
    return OUTPUTS / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S-%f}"


def link_latest(folder: Path) -> None:
    """Let ``outputs/latest`` lead to a folder below outputs/; others are left alone."""
    target, outputs = folder.absolute(), OUTPUTS.absolute()
    if not target.is_relative_to(outputs):
        return
    outputs.mkdir(exist_ok=True)
    latest = outputs / "latest"
    if latest.is_dir() and not latest.is_symlink():
        # Someone's own.
        return
    unfinished = outputs / f".latest.{os.getpid()}"
    unfinished.symlink_to(target.relative_to(outputs), target_is_directory=True)
    unfinished.replace(latest)
