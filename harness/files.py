"""How the harness writes every file of its own: beside, then renamed, and through no link.

A reader sees the old file or the new one, never half of one. A writer gives the folder of results
that it writes into, its root; from there to the file, no symbolic link is followed, so that a
folder from elsewhere leads to no place outside of it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Self

from harness.errors import WriteError

UNFINISHED: Final = ".unfinished"
"""How the name of a file ends that is not renamed yet; only a killed harness leaves one."""

RESERVE: Final = ".reserve"
"""The same of a `Reserve`."""
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MODE: Final = 0o666
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The errors of a disk that is full."""


def write(root: Path, path: Path, content: bytes) -> None:
    """Write a whole file at `path`, which is below the folder `root`. Folders between are made.

    Raises:
        WriteError: It cannot be written, or a folder between is a link. What was there stays.
    """
    with replacing(root, path) as file:
        file.write(content)


@contextmanager
def replacing(root: Path, path: Path) -> Iterator[BinaryIO]:
    """Open a new file for a block; at its end, the file takes its place at `path` below `root`.

    Folders between are made. If the block raises, the file is removed. A link at `path` itself is
    replaced. For writers that want a path, such as polars: they take this file, too.

    Raises:
        WriteError: The file cannot be written; or the block raised an OSError, which is taken for
            that. What was there stays.
    """
    name = _unfinished_name()
    with failing_at(path), _folder(root, path.parent) as folder:
        try:
            descriptor = os.open(name, os.O_RDWR | _NEW, _MODE, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                yield file
            os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            # Once it has taken its place, there is no file of this name.
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)


def make_folder(root: Path, path: Path) -> None:
    """Make the folder `path` below `root`, and those between.

    Raises:
        WriteError: It cannot be made, or one of them is a link.
    """
    with failing_at(path), _folder(root, path):
        pass


def make_root(path: Path) -> list[Path]:
    """Make a folder to write into, with those above it; links are followed. Return the new ones.

    Raises:
        WriteError: It cannot be made; no new folder is left.
    """
    made: list[Path] = []
    with failing_at(path), ExitStack() as undo:
        undo.callback(remove_empty, made)
        for folder in reversed([path, *path.parents]):
            if _made(folder):
                made.append(folder)  # noqa: PERF401 - one after the other, to be undone
        undo.pop_all()
    return made


def _made(folder: Path) -> bool:
    """Make a folder, unless it is there."""
    if folder.is_dir():
        return False
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    folder.mkdir(exist_ok=True)
    return True


def remove_empty(folders: list[Path]) -> None:
    """Remove folders that `make_root` made and nothing was written into, the innermost first."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def failing_at(path: Path) -> Iterator[None]:
    """Let an OSError of a block that writes `path` be a WriteError."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Let an OSError of a block be a WriteError if a disk is full; any other is passed on."""
    try:
        yield
    except (OSError, ValueError) as error:
        # logging makes a ValueError of it.
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in FULL:
            raise write_error(folder, cause) from error
        raise


def write_error(path: Path, error: OSError) -> WriteError:
    """Return what to say of a file that cannot be written: why, and what to do."""
    if error.errno in FULL:
        fix = "free space on that disk, or inodes (df -h, df -i), and run the command again"
    else:
        fix = "mend that, or choose another folder, and run the command again"
    # What a library writes in between, such as a temporary file, is named by its error alone.
    elsewhere = isinstance(error.filename, str) and Path(error.filename).is_absolute()
    named = error.filename if elsewhere else str(path)
    full = error.errno in FULL
    return WriteError(named, error.strerror or str(error), fix, full=full)


def remove_unfinished(root: Path) -> None:
    """Remove what a process that was killed left of unfinished files; links are not followed."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(".") and UNFINISHED in name:
                with suppress(OSError):
                    Path(folder, name).unlink()


def regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a file to read it; nothing else is opened, so that no FIFO or device is waited for.

    Raises:
        OSError: It cannot be opened, or is no regular file; a link neither, without `follow`.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


CLOSED: Final = "the workload closed its descriptor, which is not the workload's own"
"""Of a file that only the workload's process has open."""


LARGEST: Final = 1 << 30
"""Bytes of a file that is read as a whole."""


def read_all(path: Path, most: int = LARGEST) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: It cannot be opened, is no regular file, or is larger than `most` bytes.
    """
    with regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most >> 20:,} MiB", str(path))
        return file.read()


class Appended:
    """A file that grows line by line: a log, the times of the steps."""

    def __init__(self, root: Path, path: Path, *, afresh: bool = False) -> None:
        """Open the file at `path` below `root`, or make it; `afresh` empties it.

        Raises:
            WriteError: It cannot be opened, or it is a link or no regular file.
        """
        self._path = path
        # A FIFO would wait for its reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
        flags |= os.O_TRUNC if afresh else 0
        with failing_at(path), _folder(root, path.parent) as folder:
            self._descriptor = _opened(path.name, flags, folder)
        self._status = os.fstat(self._descriptor)
        if not stat.S_ISREG(self._status.st_mode):
            self.close()
            raise write_error(path, OSError(errno.EINVAL, "it is no regular file"))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._descriptor < 0

    def write(self, data: bytes) -> None:
        """Add all of the data, without a buffer.

        Raises:
            WriteError: The disk is full, or the like; a part may be written.
        """
        if not still_open(self._descriptor, self._status):
            raise write_error(self._path, OSError(errno.EBADF, CLOSED))
        with failing_at(self._path):
            write_all(self._descriptor, data)

    def close(self) -> None:
        """Close the file; again, do nothing."""
        if not self.closed:
            descriptor, self._descriptor = self._descriptor, -1
            if still_open(descriptor, self._status):
                with failing_at(self._path):
                    os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def still_open(descriptor: int, status: os.stat_result) -> bool:
    """Tell whether a descriptor is still that of the file with this status.

    A program that closes descriptors which are not its own lets others have their numbers.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), status)
    except OSError:
        return False


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data; a full disk takes a part first, and fails then."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Reserve:
    """The unfinished file of a record that must be written however full the disk becomes.

    It is made, with all its blocks, while there is room: to write the record takes neither a block
    nor an inode then, and the rename that ends it makes no new name.
    """

    def __init__(self, root: Path, path: Path, size: int) -> None:
        """Reserve `size` bytes for the file `path` in the folder `root` itself.

        Raises:
            WriteError: There is no room; nothing is left.
        """
        self._path = path
        self._name = f".{os.urandom(8).hex()}{RESERVE}"
        self._file = -1
        with failing_at(path):
            self._folder = os.open(root, _FOLDER)
        with failing_at(path), ExitStack() as undo:
            undo.callback(self.close)
            self._remove_others()
            self._file = os.open(self._name, os.O_RDWR | _NEW, _MODE, dir_fd=self._folder)
            _allocate(self._file, size)
            undo.pop_all()

    def write(self, content: bytes) -> None:
        """Write the record, and let it take its place.

        Raises:
            WriteError: It cannot be written: it is larger than the reserve, and the disk is full.
                It can be tried again with a shorter one.
        """
        with failing_at(self._path):
            os.lseek(self._file, 0, os.SEEK_SET)
            write_all(self._file, content)
            os.ftruncate(self._file, len(content))
            # Some file systems say only now that the disk is full.
            os.fsync(self._file)
            if self._is_there():
                names = (self._name, self._path.name)
                os.replace(*names, src_dir_fd=self._folder, dst_dir_fd=self._folder)
                return
        # Someone has removed it.
        write(self._path.parent, self._path, content)

    def _remove_others(self) -> None:
        """Remove what harnesses left that were killed: only one writes into a folder."""
        with os.scandir(self._folder) as entries:
            stale = [entry.name for entry in entries if entry.name.endswith(RESERVE)]
        for name in stale:
            os.unlink(name, dir_fd=self._folder)

    def _is_there(self) -> bool:
        try:
            named = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._file))

    def close(self) -> None:
        """Give the room back; what was written stays. Again, do nothing."""
        if self._folder < 0:
            return
        with suppress(OSError):
            # After the record has taken its place, there is no file of this name.
            os.unlink(self._name, dir_fd=self._folder)
        for descriptor in (self._file, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._folder = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        write_all(descriptor, bytes(size))


def _unfinished_name() -> str:
    """Return a name that no file has. It is short: that of the file may be the longest there is."""
    return f".{os.urandom(8).hex()}{UNFINISHED}"


@contextmanager
def _folder(root: Path, path: Path) -> Iterator[int]:
    """Open the folder `path` below `root` for a block, and make what is missing of it."""
    descriptor = os.open(root, _FOLDER)
    try:
        for name in path.relative_to(root).parts:
            inner = _entered(descriptor, name)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(name: str, flags: int, folder: int) -> int:
    """Open something in a folder, and say so if it is a link."""
    try:
        return os.open(name, flags | os.O_NOFOLLOW, _MODE, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            why = f"{name} is a symbolic link, and the harness writes through none"
            raise OSError(errno.ELOOP, why) from error
        raise


def _entered(outer: int, name: str) -> int:
    """Return a descriptor of a folder in a folder, which is made if it is missing."""
    if name == os.pardir:
        raise OSError(errno.EINVAL, "its path leads out of the folder")
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=outer)
    return _opened(name, _FOLDER, outer)
