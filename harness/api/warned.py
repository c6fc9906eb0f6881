"""Warnings of a profile, which name the program's line, and are seen each time.

Python shows a warning once for each line and text: of a notebook's cell that is run again, the
second would be lost.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Final

import harness
from harness.errors import HarnessWarning

_OURS: Final = str(Path(harness.__file__).parent)


def warn(text: str) -> None:
    """Issue a `HarnessWarning` at the line of the program that has called the harness.

    Raises:
        HarnessWarning: Where the program's filters make warnings errors.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - as warnings.warn does
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    warnings.warn_explicit(
        text,
        HarnessWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
    )
