"""What a child process prints: kept in the log, passed on line by line, both within limits."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

from harness.files import Appended
from harness.text import visible

LOG_BYTES: Final = 64 << 20
"""What the log keeps of the beginning: of what is printed in every step, more helps nobody."""
TAIL_BYTES: Final = 64 << 10
"""What it keeps of the end, where the stack of a crash is."""
SHOWN_LINES: Final = 10_000
"""Lines that are passed on; each costs some 0.1 ms on a terminal."""
SHOWN_BYTES: Final = 4096
"""Of one line."""
TRACER: Final = "USDT:"
"""How Kineto's lines for its own tracers begin; they say that it starts and stops."""


class Lines:
    """Cuts a stream of bytes into lines, in linear time; of a long line, only the beginning."""

    def __init__(self, take: Callable[[bytes, int], None], longest: int) -> None:
        """`take` gets each line of at most `longest` bytes, and how many more it had."""
        self._take = take
        self._longest = longest
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._end()
        self._add(rest)

    def flush(self) -> None:
        """End the last line, if it has begun."""
        if self._size:
            self._end()

    def _add(self, piece: bytes) -> None:
        room = self._longest - self._size
        if room > 0:
            self._pieces.append(piece[:room])
        self._size += len(piece)

    def _end(self) -> None:
        line = b"".join(self._pieces)
        more = self._size - len(line)
        self._pieces, self._size = [], 0
        self._take(line, more)


class Printed:
    """Keeps what a child process prints in its log, and passes it on."""

    last_line = ""
    """The last one with words."""
    notes: tuple[str, ...] = ()
    """What the log lacks."""

    def __init__(self, log: Appended, show: Callable[[str], None]) -> None:
        self._log = log
        self._show = show
        self._lines = Lines(self._line, SHOWN_BYTES)
        self._room = LOG_BYTES
        self._left_out = 0
        self._tail = b""
        self._shown = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        A carriage return ends a line, too: bars of progress are drawn over themselves.

        Raises:
            WriteError: The log cannot be written.
        """
        text = self._decoder.decode(data).replace("\r\n", "\n").replace("\r", "\n")
        data = visible(text).encode()
        head, rest = data[: self._room], data[self._room :]
        self._room -= len(head)
        if head:
            self._log.write(head)
        if rest:
            self._left_out += len(rest)
            self._tail = (self._tail + rest)[-TAIL_BYTES:]
        self._lines.feed(data)

    def flush(self) -> None:
        """End the last line; if the log was cut, say so in it, and add the end."""
        self._lines.flush()
        if self._left_out:
            cut = self._left_out - len(self._tail)
            note = f"\n… {cut:,} bytes are left out here: a log keeps {LOG_BYTES:,}\n"
            self._log.write(note.encode() + self._tail)
            self.notes = (f"harness.log lacks {cut:,} bytes of what was printed, before its end",)
            self._left_out, self._tail = 0, b""

    def _line(self, line: bytes, more: int) -> None:
        text = line.decode(errors="replace")
        if not text.startswith(TRACER):
            self.last_line = text.strip()[:SHOWN_BYTES] or self.last_line
        self._shown += 1
        if self._shown < SHOWN_LINES:
            self._show(f"{text} … {more:,} bytes more" if more else text)
        elif self._shown == SHOWN_LINES:
            self._show(f"… {SHOWN_LINES:,} lines are shown; the others are in harness.log alone")
