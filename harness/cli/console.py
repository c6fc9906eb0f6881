"""Where people read the answers: standard output and standard error."""

from __future__ import annotations

import sys
from typing import TextIO

from harness.report.console import Console

_PIPE_WIDTH = 120


def _width(stream: TextIO | None) -> int | None:
    """Return how wide the text may be; None where rich asks the terminal."""
    return None if stream is not None and stream.isatty() else _PIPE_WIDTH


OUT = Console(width=_width(sys.stdout))

ERR = Console(stderr=True, width=_width(sys.stderr))
