"""Compressed files as streams, a block at a time, even if the rest of the file is broken."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from harness.files import regular
from harness.readers.base import CaptureError
from harness.readers.json_stream import Source

_MAGIC: Final = b"\x1f\x8b"
_GZIP: Final = 16 + zlib.MAX_WBITS
_BLOCK: Final = 1 << 20


class Inflating:
    """The bytes of a gzip file, up to the first broken block, which is noted."""

    def __init__(self, file: BinaryIO, name: str, notes: list[str]) -> None:
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


@contextmanager
def opened(path: Path, notes: list[str]) -> Iterator[Source]:
    """Open a file; its first bytes say whether it is compressed. Raises CaptureError on failure."""
    try:
        with regular(path) as file:
            compressed = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            yield Inflating(file, path.name, notes) if compressed else file
    except OSError as error:
        raise CaptureError(f"{path.name}: {error.strerror or error}") from error
