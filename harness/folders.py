"""Folders of results: made and writable, of one sweep at a time; or refused."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.errors import Problem, RefusedError

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
        problem = Problem(setting=setting, given=str(folder), allowed=why, fix=fix)
        raise RefusedError([problem]) from error


@contextmanager
def held(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep other harnesses out of a sweep's folder; the kernel lets go when this process ends.

    `tell` is told where the file system has no locks. Raises `RefusedError` if a sweep runs there.
    """
    with (folder / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError([_taken(folder)]) from error
        except OSError as error:
            tell(f"{folder}: nothing keeps a second sweep out of it: {error.strerror}")
        yield


def _taken(folder: Path) -> Problem:
    return Problem(
        setting="hydra.sweep.dir",
        given=str(folder),
        allowed="another harness is running this sweep, and both would write over each other",
        fix="wait until it has ended, or choose another folder with hydra.sweep.dir=FOLDER",
    )
