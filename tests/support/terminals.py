"""A command on a terminal, and what is left on the screen when it has ended."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path
from typing import NamedTuple

from tests.conftest import environment

COLUMNS = 80
_ROWS = 50
_CONTROL = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])")


class Screen(NamedTuple):
    """What a command has written to its terminal."""

    code: int
    text: str
    """All of it, with what moves the cursor."""
    lines: list[str]
    """What a person sees at the end, as if the terminal had no lower edge."""


def on_terminal(folder: Path, *words: str) -> Screen:
    """Run ``python -m harness`` on a terminal of 80 columns."""
    command = [sys.executable, "-m", "harness", *words]
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, COLUMNS, 0, 0))
        os.chdir(folder)
        own = {name: value for name, value in environment().items() if name != "COLUMNS"}
        os.execve(command[0], command, own | {"TERM": "xterm-256color"})  # noqa: S606 - ours
    written = b""
    while data := _read(terminal):
        written += data
    os.close(terminal)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = written.decode()
    return Screen(code, text, _shown(text))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        # So Linux says that the other end is closed.
        return b""


def _shown(text: str) -> list[str]:
    lines: list[list[str]] = [[]]
    row = column = at = 0
    while at < len(text):
        if control := _CONTROL.match(text, at):
            at = control.end()
            if control[2] == "A":
                row = max(0, row - int(control[1] or 1))
            elif control[2] == "K":
                del lines[row][0 if control[1] == "2" else column :]
            continue
        sign = text[at]
        at += 1
        if sign == "\r":
            column = 0
            continue
        if sign == "\n" or column == COLUMNS:
            row, column = row + 1, 0
            lines += [[] for _ in range(row + 1 - len(lines))]
        if sign != "\n":
            line = lines[row]
            line += " " * (column + 1 - len(line))
            line[column] = sign
            column += 1
    return "\n".join("".join(line).rstrip() for line in lines).rstrip("\n").split("\n")
