"""The standard streams of a child process: kept from the terminal, or lent to a program."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import IO, Final, Self

from harness.execution.output import TRACER, Printed

_STDOUT: Final = 1
_STDERR: Final = 2
_SIZE_PERIOD_S: Final = 0.2
_CHATTER: Final = re.compile(rb"(?m)^USDT:\d{4}-[^\n]*profiler_st(?:art|op)\n")
"""What Kineto prints for its own tracers whenever it starts and stops; the log keeps it."""
_LONGEST_CHATTER: Final = 200


class Streams(ABC):
    """What a child process gets as its streams, and what its parent reads of them."""

    stdin: int | None = subprocess.DEVNULL
    """As `subprocess.Popen` takes it."""
    stdout: int
    stderr: int

    def __init__(self, printed: Printed) -> None:
        self.printed = printed
        self.outputs: dict[IO[bytes], Callable[[bytes], None]] = {}
        """What is to be read, and what takes it."""
        self._ours = ExitStack()
        self._theirs = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._open()
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._theirs.close()
        self._ours.close()

    def close_theirs(self) -> None:
        """Close the child's ends, once it has them."""
        self._theirs.close()

    @abstractmethod
    def _open(self) -> None:
        """Open both ends of each stream."""

    def _keep(self, reading: int, writing: int, take: Callable[[bytes], None]) -> int:
        self._theirs.callback(os.close, writing)
        reader = self._ours.enter_context(os.fdopen(reading, "rb", buffering=0))
        self.outputs[reader] = take
        return writing


class KeptStreams(Streams):
    """One pipe for all that is printed, and nothing to read."""

    def _open(self) -> None:
        self.stdout = self.stderr = self._keep(*os.pipe(), self.printed.feed)


class LentStreams(Streams):
    """The command's own streams: what is a terminal stays one, and the log gets a copy."""

    stdin = None

    def _open(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                # What we have printed comes first.
                stream.flush()
        self.stdout = self._lent(_STDOUT)
        same = _is_terminal(_STDOUT) and _is_terminal(_STDERR)
        self.stderr = self.stdout if same else self._lent(_STDERR)

    def _lent(self, descriptor: int) -> int:
        passed_on = _PassedOn(descriptor, self.printed)
        if not _is_terminal(descriptor):
            return self._keep(*os.pipe(), passed_on.feed)
        reading, writing = os.openpty()
        attributes = termios.tcgetattr(writing)
        # The real terminal adds the carriage returns.
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(writing, termios.TCSANOW, attributes)
        passed_on.terminal = reading
        passed_on.follow_size()
        return self._keep(reading, writing, passed_on.feed)


class _PassedOn:
    """Passes on what a program writes, byte by byte, and keeps a copy in the log."""

    terminal: int | None = None
    """Of the program, if it has one."""

    def __init__(self, descriptor: int, printed: Printed) -> None:
        self._descriptor = descriptor
        self._printed = printed
        self._is_open = True
        self._size_known_until = 0.0
        self._held = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.follow_size()
        rest = memoryview(self._without_chatter(data))
        while rest and self._is_open:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                # Nobody reads any more; the log has all of it.
                self._is_open = False
        self._printed.feed(data)

    def _without_chatter(self, data: bytes) -> bytes:
        """Leave out Kineto's lines, which come in pieces."""
        data = _CHATTER.sub(b"", self._held + data)
        start = data.rfind(b"\n") + 1
        is_chatter = (
            data.startswith(TRACER.encode(), start) and len(data) - start < _LONGEST_CHATTER
        )
        self._held = data[start:] if is_chatter else b""
        return data[:start] if is_chatter else data

    def follow_size(self) -> None:
        """Let the program's terminal be as large as the real one."""
        now = time.monotonic()
        if self.terminal is not None and now > self._size_known_until:
            self._size_known_until = now + _SIZE_PERIOD_S
            with suppress(OSError, termios.error):
                termios.tcsetwinsize(self.terminal, termios.tcgetwinsize(self._descriptor))


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
