"""An exception of the user's, in words that can be kept, whatever it is."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

_TEXT: Final = 2_000
"""Characters of a message."""
_TRACEBACK: Final = 20_000
"""Characters of a traceback; of a longer one, the beginning and the end."""


def described(error: BaseException) -> str:
    """Return the exception's type and message, in one line."""
    try:
        text = str(error)
    except Exception as second:  # noqa: BLE001 - the user's code, which may raise anything
        text = f"(its message cannot be made: {type(second).__name__})"
    if len(text) > _TEXT:
        text = f"{text[:_TEXT]} … {len(text) - _TEXT:,} characters more"
    line = " ".join(f"{type(error).__name__}: {text}".split("\n"))
    return kept_text(line).rstrip(": ")


def traceback_of(error: BaseException, frames: TracebackType | None) -> str:
    """Return the traceback from `frames` on."""
    text = "".join(traceback.format_exception(type(error), error, frames))
    if len(text) > _TRACEBACK:
        half = _TRACEBACK // 2
        left_out = f"\n… {len(text) - 2 * half:,} characters are left out here …\n"
        text = text[:half] + left_out + text[-half:]
    return kept_text(text)


def kept_text(text: str) -> str:
    """Return a text that JSON can keep: a lone surrogate becomes its number."""
    return text.encode(errors="backslashreplace").decode()
