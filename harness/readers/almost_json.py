"""Mend text that is almost JSON, as C++ and Windows write it, so that it becomes JSON.

C++ prints numbers that are none as ``inf``, ``nan``, ``-nan(ind)`` (Kineto's bandwidths and
occupancies): they become null. Names that were written as they are may hold control characters,
paths with single backslashes, and bytes that are no UTF-8: they are kept, bytes as U+FFFD.
"""

from __future__ import annotations

import json
import re
from typing import Final

_TOKEN: Final = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"'
    rb"|(?<![\w.+-])[+-]?(?:nan(?:\(\w*\))?|inf(?:inity)?|1\.#[a-z]+\d*)(?![\w.])",
    re.DOTALL | re.IGNORECASE,
)
_ESCAPE: Final = re.compile(r'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])')
_LONE: Final = re.compile(r'(?<!\\)((?:\\\\)*)\\(?!["\\])')
_CONTROL: Final = re.compile(r"[\x00-\x1f]")
_LETTERS: Final = {"\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_PYTHON_FILE: Final = re.compile(r"\.py\(\d+\)")


def mended(text: bytes) -> bytes:
    """Return the text with what is no JSON replaced; structure and quotes stay as they are."""
    return _TOKEN.sub(_token, text)


def with_backslashes(name: str) -> str:
    r"""Return a Python function's name with the backslashes that JSON took for escapes.

    ``torch\nn\functional.py(1): relu``, written as it is, is JSON: of a line feed and a form feed.
    """
    if not (_CONTROL.search(name) and _PYTHON_FILE.search(name)):
        return name
    return _CONTROL.sub(lambda character: _LETTERS.get(character[0], character[0]), name)


def _token(token: re.Match[bytes]) -> bytes:
    text = token[0]
    return _string(text) if text.startswith(b'"') else b"null"


def _string(quoted: bytes) -> bytes:
    if b"\\" not in quoted and quoted.isascii() and quoted.decode().isprintable():
        return quoted
    text = quoted[1:-1].decode(errors="replace")
    if "\\" in _ESCAPE.sub("", text):
        # Whoever writes one backslash as it is, writes all of them so.
        text = _LONE.sub(r"\1\\\\", text)
    text = _CONTROL.sub(lambda character: json.dumps(character[0])[1:-1], text)
    return b'"%b"' % text.encode(errors="replace")
