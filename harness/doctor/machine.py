"""The interface to a machine's facts: files, programs, disk, counters. Imports no torch."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Protocol

from msgspec import Struct

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_PERF_ATTRIBUTES = 112
_PERF_EVENTS = {
    "cycles": (0, 0),
    "instructions": (0, 1),
    "frontend-stall-cycles": (0, 7),
    "backend-stall-cycles": (0, 8),
    "pagefaults": (1, 2),
}
"""By torch's names: type and config of linux/perf_event.h; type 0 is hardware, 1 software."""
_ONLY_USER_MODE = 0b110_0000  # exclude_kernel and exclude_hv, as torch counts


class CommandResult(Struct, frozen=True, kw_only=True):
    """The result of a command."""

    code: int | None
    """The exit code, or minus the signal that ended it; null: it did not start or finish."""
    out: str = ""
    err: str = ""
    """If there is no code, the reason."""


class DiskSpace(Struct, frozen=True, kw_only=True):
    """The space on the disk of a folder that exists or would be made."""

    free: int
    """Bytes."""
    writable: bool


class Probe(Protocol):
    """A machine, real or fake."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables."""

    @property
    def python(self) -> str:
        """The interpreter's version."""

    @property
    def executable(self) -> str:
        """The interpreter."""

    def read(self, path: str) -> str | None:
        """Return a file's text; None if it is not there or cannot be read."""

    def paths(self, pattern: str) -> tuple[str, ...]:
        """Return the files and folders of a glob pattern, in order."""

    def which(self, name: str) -> str | None:
        """Return the program that PATH leads to, links followed."""

    def version(self, distribution: str) -> str | None:
        """Return the version of an installed Python package, without importing it."""

    def run(self, command: tuple[str, ...], limit_s: float) -> CommandResult:
        """Run a command. The same command is run once; its answer is kept."""

    def room(self, folder: str) -> DiskSpace:
        """Return what is left on the disk where `folder` is or would be made."""

    def count_cycles(self) -> str:
        """Try to count processor cycles; return "" or the system's name for what prevents it."""


class Machine:
    """This machine."""

    def __init__(self) -> None:
        self.environment: Mapping[str, str] = os.environ
        self.python = platform.python_version()
        self.executable = sys.executable
        self._answers: dict[tuple[str, ...], CommandResult] = {}

    def read(self, path: str) -> str | None:
        """Return a file's text; None if it is not there or cannot be read."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def paths(self, pattern: str) -> tuple[str, ...]:
        """Return the files and folders of a glob pattern, in order."""
        return tuple(sorted(glob.glob(pattern)))  # noqa: PTH207 - patterns may be absolute

    def which(self, name: str) -> str | None:
        """Return the program that PATH leads to, links followed."""
        program = shutil.which(name)
        return None if program is None else os.path.realpath(program)

    def version(self, distribution: str) -> str | None:
        """Return the version of an installed Python package, without importing it."""
        try:
            return version_of(distribution)
        except PackageNotFoundError:
            return None

    def run(self, command: tuple[str, ...], limit_s: float) -> CommandResult:
        """Run a command. The same command is run once; its answer is kept."""
        if command not in self._answers:
            self._answers[command] = _run(command, limit_s)
        return self._answers[command]

    def room(self, folder: str) -> DiskSpace:
        """Return what is left on the disk where `folder` is or would be made."""
        path = Path(folder).absolute()
        existing = next(place for place in (path, *path.parents) if place.exists())
        return DiskSpace(
            free=shutil.disk_usage(existing).free,
            writable=existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        )

    def count_cycles(self) -> str:
        """Try to count processor cycles; return "" or the system's name for what prevents it."""
        return self.count("cycles")

    def count(self, event: str) -> str:
        """Try to count a perf event by torch's name; return "" or what prevents it.

        Raises KeyError for an event that torch does not know.
        """
        kind, config = _PERF_EVENTS[event]
        number = _PERF_EVENT_OPEN.get(platform.machine())
        if number is None or sys.platform != "linux":
            return "ENOSYS"
        # perf_event_attr: type, size, config, …, and the flags at byte 40.
        attributes = bytearray(_PERF_ATTRIBUTES)
        struct.pack_into("=IIQ", attributes, 0, kind, _PERF_ATTRIBUTES, config)
        struct.pack_into("=Q", attributes, 40, _ONLY_USER_MODE)
        buffer = (ctypes.c_char * _PERF_ATTRIBUTES).from_buffer(attributes)
        system = ctypes.CDLL(None, use_errno=True)
        this_process, any_cpu, no_group = 0, -1, -1
        descriptor = system.syscall(number, buffer, this_process, any_cpu, no_group, 0)
        if descriptor < 0:
            return errno.errorcode.get(ctypes.get_errno(), "an unknown error")
        os.close(descriptor)
        return ""


def _run(command: tuple[str, ...], limit_s: float) -> CommandResult:
    # Without it, a CPU-only torch loads torch_npu, and fails where CANN is missing.
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    try:
        process = subprocess.Popen(  # noqa: S603 - programs that PATH leads to, and Python
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return CommandResult(code=None, err=f"it cannot be started: {error.strerror}")
    with process:
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return CommandResult(code=None, err=f"no answer within {limit_s:g} s")
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    return CommandResult(code=process.returncode, out=out, err=err)
