"""Where people read the answers: standard output and standard error."""

from __future__ import annotations

import sys

from harness.report.console import Console

_PIPE_WIDTH = 120

OUT = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)

ERR = Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH)
