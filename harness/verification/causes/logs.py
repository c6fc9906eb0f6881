"""Lines of logs that show a cause: of a run's harness.log, and of torch_npu's own logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from harness.capture.capture import Capture
from harness.files import regular
from harness.paths import RunFolder
from harness.text import visible
from harness.verification.causes.base import Look

_LARGEST: Final = 65 << 20
"""Bytes that are read of a log; the harness's own are no longer."""
_FILES: Final = 100
"""Logs of torch_npu that are read of a capture; each of its processes writes one."""
_SHOWN: Final = 160
"""Characters of a line."""


def line(pattern: str) -> Look:
    """Return a look for the first line of the capture's logs that matches."""
    search = re.compile(pattern.encode()).search

    def look(capture: Capture) -> str:
        for path in _logs(capture):
            with regular(path) as file:
                content = file.read(_LARGEST)
            if match := search(content):
                start = content.rfind(b"\n", 0, match.start()) + 1
                end = content.find(b"\n", match.end())
                text = content[start : end if end >= 0 else None].decode(errors="replace")
                number = content.count(b"\n", 0, start) + 1
                shown = visible(text.strip())
                shown = shown if len(shown) <= _SHOWN else f"…{shown[-_SHOWN:]}"
                return f"{path.name}, line {number}: {shown}"
        return ""

    return look


def _logs(capture: Capture) -> Iterator[Path]:
    """Yield the logs that are there: an imported capture has no harness.log."""
    log = RunFolder(capture.folder).log
    if log.is_file():
        yield log
    for folder in capture.cycle_folders:
        logs = (path for path in sorted((folder / "logs").glob("*.log")) if path.is_file())
        yield from islice(logs, _FILES)
