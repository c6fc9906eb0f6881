"""Where the captures at a path are, which reader reads each, and of which rank it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from harness.errors import Problem, RefusedError
from harness.readers import READERS
from harness.readers.ascend import folder as ascend
from harness.readers.ascend import unread
from harness.readers.base import CaptureError, Reader
from harness.readers.chrome.origin import broken, not_read, unrecognised
from harness.readers.gzip_stream import opened

_RANK: Final = re.compile(r"rank[-_]?(\d{1,6})(?!\d)")
_STATED: Final = re.compile(rb'"distributedInfo"\s*:\s*\{[^{}]*?"rank"\s*:\s*(\d{1,9})\b')
_HEAD: Final = 1 << 16


class Source(Struct, frozen=True):
    """One capture, and its reader."""

    path: Path
    reader: Reader


class RankFolder(Struct, frozen=True, kw_only=True):
    """A folder with the captures of several ranks."""

    path: Path
    ranks: tuple[int, ...]
    lost: tuple[str, ...]
    """What cannot be read, and is of none of these ranks."""


def rank_folder(path: Path) -> RankFolder | None:
    """Return the ranks of a folder, by the heads of its captures; None if it has not several.

    Each capture has to state its rank, or to have it in its name.
    """
    path = path.resolve()
    if not path.is_dir():
        return None
    lost: list[str] = []
    found = {rank_of(source.path, path) for source in sources(path, lost, [])}
    ranks = sorted(rank for rank in found if rank is not None)
    if None in found or len(ranks) < 2:  # noqa: PLR2004 (two ranks)
        return None
    return RankFolder(path=path, ranks=tuple(ranks), lost=tuple(lost))


def rank_of(capture: Path, path: Path) -> int | None:
    """Return the rank that a capture states, else that in a name at or below `path`."""
    stated = _stated_rank(capture)
    return _named_rank(capture, path) if stated is None else stated


def _stated_rank(capture: Path) -> int | None:
    if capture.is_dir():
        return ascend.info(capture).rank
    try:
        with opened(capture, []) as file:
            match = _STATED.search(file.read(_HEAD))
    except (CaptureError, OSError):
        return None
    return int(match[1]) if match else None


def sources(
    path: Path, lost: list[str], beside: list[str], rank: int | None = None
) -> Iterator[Source]:
    """Yield the captures at or below a path, in the order of their time or name.

    What cannot be read is added to `lost`; known files of other kinds to `beside`. With a rank,
    only the captures of that rank are looked at.
    """
    try:
        if not path.exists():
            raise RefusedError([no_capture(path, "there is no such file or folder")])
        candidates = _candidates(path, rank)
    except OSError as error:
        raise RefusedError([no_capture(path, f"cannot be read: {error.strerror}")]) from error
    for candidate in candidates:
        try:
            reader = next((reader for reader in READERS if reader.recognises(candidate)), None)
        except OSError as error:
            lost.append(f"{candidate.name}: cannot be read: {error.strerror}")
            continue
        if reader is not None:
            yield Source(candidate, reader)
        elif candidate.is_dir():
            lost.append(f"{candidate.name}: {unread.why(candidate)}")
        elif why := not_read(candidate):
            beside.append(why)
        elif candidate == path:
            lost.append(f"{candidate.name}: {unread.of_file(candidate) or unrecognised(candidate)}")
        elif why := broken(candidate):
            lost.append(why)


def _candidates(path: Path, rank: int | None) -> list[Path]:
    if path.is_file():
        return [path]
    found = ascend.captures(path) or traces(path)
    return found if rank is None else [each for each in found if rank_of(each, path) == rank]


def _named_rank(capture: Path, path: Path) -> int | None:
    """Return the rank in a capture's name, or in that of a folder around it at or below `path`."""
    folders = [folder for folder in capture.parents if folder.is_relative_to(path)]
    names = (_RANK.search(place.name) for place in (capture, *folders))
    return next((int(name[1]) for name in names if name), None)


def traces(path: Path) -> list[Path]:
    """Return the files below a folder that may be traces, by their names."""
    return sorted(trace for ending in ("json", "json.gz") for trace in path.rglob(f"*.{ending}"))


def no_capture(path: Path, why: str, fix: str = "") -> Problem:
    """Return the problem of a path that there is nothing to read at."""
    fix = fix or (
        "python -m harness read PATH: a chrome trace of torch (.json, .json.gz), a folder"
        " *_ascend_pt or PROF_*, a file of one, a folder of these, or a run folder"
    )
    return Problem(setting="read", given=str(path), reason=why, fix=fix)
