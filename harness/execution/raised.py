"""An exception of the user's, in words that can be kept, whatever it is."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from harness.stopping import Interrupted
from harness.text import kept_text

_TEXT: Final = 2_000
"""Characters of a message."""
_TRACEBACK: Final = 20_000
"""Characters of a traceback; of a longer one, the beginning and the end."""


def described(error: BaseException) -> str:
    """Return the exception's type and message, in one line."""
    text = " ".join(_message(error).splitlines()).strip()
    return kept_text(f"{_name(error)}: {text}" if text else _name(error))


def traceback_of(error: BaseException, frames: TracebackType | None) -> str:
    """Return the traceback from `frames` on."""
    try:
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Interrupted:
        raise
    except BaseException:  # noqa: BLE001 - the user's class, whose attributes may raise anything
        text = "".join([*traceback.format_tb(frames), described(error), "\n"])
    if len(text) > _TRACEBACK:
        half = _TRACEBACK // 2
        left_out = f"\n… {len(text) - 2 * half:,} characters are left out here …\n"
        text = text[:half] + left_out + text[-half:]
    return kept_text(text)


def _message(error: BaseException) -> str:
    try:
        # It may be of a class that is derived from str, and behave as it likes.
        text = str.__str__(str(error))
    except Interrupted:
        raise
    except BaseException as second:  # noqa: BLE001 - the user's code, which may raise anything
        return f"(its message cannot be made: {_name(second)})"
    if len(text) > _TEXT:
        return f"{text[:_TEXT]} … {len(text) - _TEXT:,} characters more"
    return text


def _name(error: BaseException) -> str:
    """Return the name of the class, also where its metaclass hides it."""
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name
