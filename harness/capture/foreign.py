"""Folders from elsewhere: data alone. What leads out of one, or is no file, is refused by name.

Nothing that is read needs trust: see docs/security.md.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from harness.errors import Problem, RefusedError
from harness.files import regular
from harness.paths import RunFolder
from harness.text import is_text

MOST_FILES: Final = 100_000
"""Files and folders below one that is read; the largest capture that we know has some thousands."""
_SHOWN: Final = 5
_RECORD: Final = 64 << 20
"""Bytes; a longer record is refused where it is read."""
_KINDS: Final = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class _Source(msgspec.Struct):
    source: str = ""


def check_run(folder: Path) -> None:
    """Refuse a run folder that leads out of itself.

    Its own files may be no links at all. In ``raw/``, links may lead to the capture that was
    imported, which the record names; others must stay inside.

    Raises:
        RefusedError: Names the first of the links, FIFOs and devices that are not allowed.
    """
    run = RunFolder(folder)
    # That of the record decides whether what raw/ leads to is analysed: no other may allow links.
    source = _source_of(run.record if os.path.lexists(run.record) else run.capture)
    _refuse(_run_problems(run, folder.resolve(), source))


def check_capture(path: Path) -> None:
    """Refuse a capture that leads out of its folder, whose file is none, or whose name is no text.

    Raises:
        RefusedError: Names the first of the links, FIFOs and devices that are not allowed.
    """
    root = path.resolve()
    if not is_text(str(root)):
        why, fix = "its name is no UTF-8, and the record keeps it", "rename it"
        _refuse(iter([Problem(setting=str(root), given="", reason=why, fix=fix)]))
    if root.is_dir():
        _refuse(_problems(root, root))
    elif root.exists() and (kind := _kind(root.stat().st_mode)):
        _refuse(iter([_no_file(path, kind)]))


def _run_problems(run: RunFolder, root: Path, source: Path | None) -> Iterator[Problem]:
    ours = {path.name for path in run.replaced}
    for entry in _entries(root):
        path = Path(entry.path)
        first, *rest = path.relative_to(root).parts
        if not entry.is_symlink():
            yield from _problem(entry, root)
        elif first in ours and not (first == run.raw.name and rest):
            yield _link(path, "the harness follows none to a file of its own")
        elif not (first == run.raw.name and _within(path.resolve(), source)):
            yield from _problem(entry, root)


def _within(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.is_relative_to(folder)


def _problems(folder: Path, root: Path) -> Iterator[Problem]:
    for entry in _entries(folder):
        yield from _problem(entry, root)


def _problem(entry: os.DirEntry[str], root: Path) -> Iterator[Problem]:
    path = Path(entry.path)
    if entry.is_symlink():
        if not path.resolve().is_relative_to(root):
            yield _link(path, "it leads out of the folder, and is not followed")
    elif kind := _kind(entry.stat(follow_symlinks=False).st_mode):
        yield _no_file(path, kind)


def _entries(root: Path) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder; links are not followed."""
    folders, count = [str(root)], 0
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    count += 1
                    if count > MOST_FILES:
                        raise RefusedError([_too_many(root)])
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    yield entry
        except OSError:
            # What cannot be listed is not read either; the reader names it.
            continue


def _kind(mode: int) -> str:
    return next((kind for test, kind in _KINDS if test(mode)), "")


def _source_of(record: Path) -> Path | None:
    """Return the capture that a run was imported from, by a record of it; None if it says none."""
    try:
        with regular(record, follow=False) as file:
            source = msgspec.json.decode(file.read(_RECORD), type=_Source).source
    except (OSError, ValueError, RecursionError):
        return None  # whoever reads the record says so
    return Path(source).resolve() if source else None


def _refuse(problems: Iterator[Problem]) -> None:
    if refused := [problem for _, problem in zip(range(_SHOWN), problems, strict=False)]:
        raise RefusedError(refused)


def _link(path: Path, why: str) -> Problem:
    reason = f"this is a symbolic link to {path.readlink()}: {why}"
    fix = "put a copy of what it leads to in its place, or remove it"
    return Problem(setting=str(path), given="", reason=reason, fix=fix)


def _no_file(path: Path, kind: str) -> Problem:
    return Problem(
        setting=str(path),
        given="",
        reason=f"this is {kind}, which is not opened",
        fix="remove it, or name the file that was meant",
    )


def _too_many(root: Path) -> Problem:
    reason = f"there are more than {MOST_FILES:,} files and folders in it"
    fix = "name the folder of one capture or run in it"
    return Problem(setting=str(root), given="", reason=reason, fix=fix)
