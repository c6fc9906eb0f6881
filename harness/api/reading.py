"""Read a run that this process has recorded: in a process of its own, as ``harness read`` does.

Analysis and verification take memory, time and the interpreter's lock, which are the program's; and
torch_npu's analysis may fail in ways that end a process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import harness
from harness.errors import ExitCode
from harness.paths import RunFolder

_READ: Final = (
    # The program may have found the harness by a path that it has set itself.
    "import sys; sys.path.append(sys.argv.pop(1));"
    " sys.argv[0] = 'harness'; from harness.__main__ import main; main()"
)
_WORDS: Final = 300
_NICE: Final = 10
_ENDED: Final = (ExitCode.OK, ExitCode.FAILED, ExitCode.NOT_DELIVERED, ExitCode.UNAVAILABLE)


def read_apart(folder: Path, limit_s: float | None, *, aside: bool = False) -> str:
    """Let a process complete the verdict of a run; return why it could not, else nothing.

    `limit_s` is for the device's own analysis, null for none. `aside`: at a low priority.
    """
    root = Path(harness.__file__).parents[1]
    limit = f"profiler.analyse_timeout_s={'null' if limit_s is None else f'{limit_s:f}'}"
    code = f"import os; os.nice({_NICE}); {_READ}" if aside else _READ
    words = [sys.executable, "-P", "-c", code, str(root), "read", str(folder), limit]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            words, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError as error:
        return f"{sys.executable} could not be started: {error.strerror}"
    if done.returncode in _ENDED and RunFolder(folder).summary.exists():
        return ""
    said = " ".join(done.stderr.decode(errors="replace").split())
    return f"harness read ended with exit code {done.returncode}: {said[-_WORDS:]}"
