"""The process that writes a run: how another one tells whether it is still there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

Life = Literal["alive", "dead", "unknown"]

_PROC: Final = Path("/proc")
_BOOT: Final = _PROC / "sys/kernel/random/boot_id"
_NAMESPACE: Final = _PROC / "self/ns/pid"
_START: Final = 19
"""The place of the start time in /proc/PID/stat, after the name of the program."""


class Writer(Struct, frozen=True, kw_only=True):
    """A process, told from a later one with the same number by when it started."""

    pid: int
    started: int | None
    """In clock ticks since the machine started; null where there is no /proc."""
    boot: str = ""
    """The kernel's own id of the start of the machine."""
    namespace: str = ""
    """Where the number is valid: a container has its own."""


def this_process() -> Writer:
    """Return the process that calls this."""
    return _process(os.getpid())


def life_of(writer: Writer | None, *, here: bool) -> Life:
    """Tell whether a process is still there; None stands for one that left no number.

    Args:
        writer: The process.
        here: Whether it ran on this machine, by the name of its host.
    """
    if writer is None:
        return "dead"
    now = _process(writer.pid)
    if writer.boot != now.boot:
        # This machine was started anew since; of another machine, nothing is known.
        return "dead" if here else "unknown"
    if writer.namespace != now.namespace:
        return "unknown"
    if writer.started is not None:
        return "alive" if writer.started == now.started else "dead"
    return "alive" if _signalled(writer.pid) else "dead"


def _process(pid: int) -> Writer:
    return Writer(pid=pid, started=_start(pid), boot=_boot(), namespace=_namespace())


def _start(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name of the program may contain spaces and brackets.
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in {b"Z", b"X"} else int(fields[_START - 1])


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(_NAMESPACE.readlink())
    except OSError:
        return ""


def _signalled(pid: int) -> bool:
    """Tell whether there is a process with this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It is someone else's.
    return True
