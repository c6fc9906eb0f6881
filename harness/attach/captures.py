"""The captures that appear in a folder while a window goes on, and whether each is whole."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from harness import files
from harness.errors import Problem, RefusedError

_SUFFIXES: Final = (".json", ".json.gz")
_FOLDER: Final = "_ascend_pt"
_SETTLED_S: Final = 1.0
"""Seconds without a change before a capture is looked at."""
_RAW_S: Final = 10.0
"""The same of a folder that has not been analysed: its analysis may begin yet."""
_CHUNK: Final = 1 << 20
_EDGE: Final = 64
_MOST: Final = 100_000


class Found(Struct, frozen=True, kw_only=True):
    """A capture, as far as it is written."""

    path: Path
    size: int
    """Bytes."""
    changed_ns: int
    """The newest change of a file in it."""

    @property
    def name(self) -> str:
        """Its file's or folder's name."""
        return self.path.name


class Watch:
    """Looks at a folder again and again; what was there at first is none of ours."""

    def __init__(self, folder: Path) -> None:
        """Note what is there already.

        Raises:
            RefusedError: There is no such folder, or it cannot be read.
        """
        self.folder = folder
        self._before = {each.path: each for each in self._listed()}
        self._since: dict[Found, float] = {}
        self._judged: dict[Found, bool] = {}
        """Whether a file has its end. It is read once, until it changes: it may be large."""

    def new(self) -> list[Found]:
        """Return the captures that are new or have changed, by their names."""
        return [each for each in self._listed() if self._before.get(each.path) != each]

    def whole(self) -> list[Found]:
        """Return those of them that are written to the end."""
        now = time.monotonic()
        found = self.new()
        self._since = {each: self._since.get(each, now) for each in found}
        return [each for each in found if self._is_whole(each, now - self._since[each])]

    def _is_whole(self, found: Found, age_s: float) -> bool:
        """Tell whether a capture that has not changed for a time is written to its end."""
        if age_s < _SETTLED_S:
            return False
        if found.path.is_dir():
            return _is_recorded(found.path, age_s)
        if found not in self._judged:
            self._judged[found] = _has_end(found.path)
        return self._judged[found]

    def _listed(self) -> list[Found]:
        try:
            with os.scandir(self.folder) as entries:
                named = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            why = f"it cannot be read: {error.strerror}"
            fix = "name the folder that the server writes captures into, as this machine sees it"
            problem = Problem(setting="--captures", given=str(self.folder), reason=why, fix=fix)
            raise RefusedError([problem]) from error
        found = (_found(Path(entry.path), entry) for entry in named)
        return [each for each in found if each is not None]


def _found(path: Path, entry: os.DirEntry[str]) -> Found | None:
    try:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and path.name.endswith(_SUFFIXES):
            return Found(path=path, size=status.st_size, changed_ns=status.st_mtime_ns)
        if stat.S_ISDIR(status.st_mode) and path.name.endswith(_FOLDER):
            parts = [file.stat(follow_symlinks=False) for file in _files(path)]
            return Found(
                path=path,
                size=sum(part.st_size for part in parts),
                changed_ns=max((part.st_mtime_ns for part in parts), default=0),
            )
    except OSError:
        # It is gone again, as what a writer renames.
        return None
    return None


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for place, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count > _MOST:
                return
            yield Path(place, name)


def _is_recorded(folder: Path, age_s: float) -> bool:
    """Tell whether a folder of torch_npu has its record, and no analysis of it may begin yet."""
    if not any(folder.glob("profiler_info*.json")):
        return False
    return (folder / "ASCEND_PROFILER_OUTPUT").is_dir() or age_s >= _RAW_S


def _has_end(path: Path) -> bool:
    try:
        first, last = _ends(path)
    except (OSError, EOFError, zlib.error):
        return False
    return (first, last) in ((b"{", b"}"), (b"[", b"]"))


def _ends(path: Path) -> tuple[bytes, bytes]:
    """Return the first and the last sign of a JSON file; a packed one that is cut raises."""
    packed = path.name.endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as file:
        start = end = file.read(_EDGE)
        if packed:
            while chunk := file.read(_CHUNK):
                end = (end + chunk)[-_EDGE:]
        else:
            file.seek(max(0, path.stat().st_size - _EDGE))
            end = file.read()
    return start.lstrip()[:1], end.rstrip()[-1:]


def taken_over(found: list[Found], folder: Path, root: Path) -> None:
    """Put captures into a folder of the run: by hard links where that works, else as copies.

    Links within a capture are left out: they may lead anywhere.

    Raises:
        WriteError: The disk is full, or the like.
    """
    files.make_folder(root, folder)
    for each in found:
        target = folder / each.name
        with files.failing_at(target):
            if not each.path.is_dir():
                _link(str(each.path), str(target))
                continue
            for file in _files(each.path):
                if stat.S_ISREG(file.lstat().st_mode):
                    place = target / file.relative_to(each.path)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _link(str(file), str(place))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)
