"""Compressed files as streams, a block at a time, even if the rest of the file is broken."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from harness.files import regular
from harness.readers.base import CaptureError
from harness.readers.json_stream import Source
from harness.waits import More, waiting

_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS
_BLOCK: Final = 1 << 20


class Inflating:
    """The bytes of a gzip file, up to the first broken block, which is noted."""

    def __init__(self, file: BinaryIO | Counted, name: str, notes: list[str]) -> None:
        """Take an open file, its name in notes, and the list that notes are added to."""
        self._file, self._name, self._notes = file, name, notes
        self._inflater = zlib.decompressobj(_GZIP)
        self._packed = b""
        self._ended = False

    def read(self, count: int, /) -> bytes:
        """Return at most `count` bytes; none at the end."""
        blocks: list[bytes] = []
        while count > 0 and not self._ended and (block := self._block(count)):
            blocks.append(block)
            count -= len(block)
        return b"".join(blocks)

    def _block(self, count: int) -> bytes:
        while not self._ended:
            if not self._packed:
                self._packed = self._file.read(_BLOCK)
            if not self._packed:
                self._end("" if self._inflater.eof else "the compressed file is cut off")
                break
            if self._inflater.eof:
                if not self._packed.strip(b"\0"):  # padding
                    self._packed = b""
                    continue
                self._inflater = zlib.decompressobj(_GZIP)
            try:
                block = self._inflater.decompress(self._packed, count)
            except zlib.error as error:
                self._end(f"the compressed file is broken: {error}")
                break
            self._packed = self._inflater.unconsumed_tail or self._inflater.unused_data
            if block:
                return block
        return b""

    def _end(self, reason: str) -> None:
        self._ended = True
        if reason:
            self._notes.append(f"{self._name}: {reason} before byte {self._file.tell()}")


class Counted:
    """A file that tells how much of it is read."""

    def __init__(self, file: BinaryIO, more: More) -> None:
        self._file, self._more = file, more

    def read(self, count: int, /) -> bytes:
        """Return at most `count` bytes; none at the end."""
        data = self._file.read(count)
        self._more(len(data))
        return data

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()


@contextmanager
def counted(file: BinaryIO, what: str) -> Iterator[Counted]:
    """Say what is done with an open file while it is read, and how far that is."""
    with waiting(what, os.fstat(file.fileno()).st_size, "bytes") as more:
        yield Counted(file, more)


@contextmanager
def opened(path: Path, notes: list[str], what: str = "reading") -> Iterator[Source]:
    """Open a file; its first bytes say whether it is compressed.

    Args:
        path: The file.
        notes: What is added to, if it turns out to be broken.
        what: What is done with it, in words, for who waits for that.

    Raises:
        CaptureError: It cannot be read.
    """
    try:
        with regular(path) as file:
            compressed = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            with counted(file, f"{what} {path.name}") as told:
                yield Inflating(told, path.name, notes) if compressed else told
    except OSError as error:
        raise CaptureError(f"{path.name}: {error.strerror or error}") from error
