"""The standard streams: whatever becomes of what is printed, the process goes on."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final, TextIO

from harness.errors import WriteError
from harness.files import FULL

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_SIGNS: Final = {
    "│": "|", "─": "-", "–": "-", "…": "...", "·": ".", "×": "x", "µ": "u", "✓": "ok",
    "✗": "x", "≥": ">=", "≤": "<=", "→": "->", "■": "#", "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip
_READABLE: Final = "harness-readable"
"""The name of `_readable` among Python's error handlers."""


class _Unbreakable(io.RawIOBase):
    """A stream that drops what cannot be written: its reader is gone, or its disk is full.

    A run whose text nobody can read goes on: what it found is in its folder.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_full = False
        """Whether something was dropped as the disk is full."""

    def writable(self) -> bool:
        """Return True: that is all it does."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, by which a terminal is known."""
        return self._descriptor

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of the data, or as much as can be written."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[self._written(rest) :]
        except OSError as error:
            self.is_full |= error.errno in FULL
        return size

    def _written(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # A program that shares the terminal has set it so.
            select.select([], [self._descriptor], [])
            return 0


def keep_going() -> None:
    """Let no output stop the process: one that is closed, full, broken, or of another encoding."""
    _open_standard_streams()
    codecs.register_error(_READABLE, _readable)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream: TextIO | None = getattr(sys, name)
        # One that someone else put in its place is theirs to keep going.
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _unbreakable(stream, number))


def refuse_full_output() -> None:
    """Raise where the disk was full that standard output goes to: for output that is the result.

    Raises:
        WriteError: It was.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Unbreakable) and raw.is_full:
        why, fix = os.strerror(errno.ENOSPC), "free space on that disk, or write to another one"
        raise WriteError("standard output", why, fix, full=True)


def _open_standard_streams() -> None:
    """Let closed ones lead nowhere: else, the next file that is opened gets what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)  # noqa: FBT003 - it takes no name


def _unbreakable(stream: TextIO | None, number: int) -> TextIO:
    encoding = "utf-8" if stream is None else stream.encoding
    raw = _Unbreakable(number)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors=_READABLE,
        line_buffering=number != 1 or raw.isatty(),
    )


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Replace signs that an encoding lacks by what resembles them, or by their numbers."""
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    text = "".join(
        _SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs
    )
    return text, error.end
