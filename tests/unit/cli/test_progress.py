"""What of a child's lines a person sees."""

from __future__ import annotations

import io

import pytest

from harness.cli.progress import ConsoleProgress
from harness.report.console import Console

INFO = "[2026-11-26 12:43:26] [INFO] [9449] profiler.py: All profiling data parsed"
ERROR = "[2026-11-26 12:43:26] [ERROR] [9449] profiler.py: no data"
STARTS = "USDT:2026-11-26 12:43:26 9:9 SyncActivityProfilerHandler.cpp:52] profiler_start"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (STARTS, ""),
        (f"[rank1]: {STARTS}", ""),
        (f"|[U+0008]{INFO}", ""),
        (f"[rank3]: /[U+0008]{INFO}", ""),
        (f"|[U+0008]{ERROR}", f"│ {ERROR}\n"),
        ("[rank1]: epoch 1", "│ [rank1]: epoch 1\n"),
    ],
)
def test_chatter_is_kept_in_the_log_alone(line: str, shown: str) -> None:
    stream = io.StringIO()
    ConsoleProgress(Console(file=stream, width=200)).output(line)
    assert stream.getvalue() == shown
