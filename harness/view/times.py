"""Times of traces: text of microseconds, exactly, as whole nanoseconds, and back."""

from __future__ import annotations

from typing import Final

_NS: Final = 1000
LARGEST_NS: Final = 1 << 62
"""Times and durations beyond are taken for broken; it is the year 2116."""


def nanoseconds(raw: bytes) -> int | None:
    """Return the nanoseconds of microseconds, which are a JSON number or a text; None if neither.

    All digits count: no float is in between. What is below a nanosecond is cut off.
    """
    text = raw.strip(b'" ')
    whole, _, part = text.partition(b".")
    try:
        ns = abs(int(whole)) * _NS + int(part[:3].ljust(3, b"0"))
    except ValueError:
        try:
            ns = round(float(text) * _NS)
        except (ValueError, OverflowError):
            return None
    else:
        ns = -ns if whole.startswith(b"-") else ns
    return ns if abs(ns) < LARGEST_NS else None


def microseconds(ns: int) -> bytes:
    """Return nanoseconds as microseconds, a JSON number with all digits."""
    whole, part = divmod(abs(ns), _NS)
    return b"%b%d.%03d" % (b"-" if ns < 0 else b"", whole, part)
