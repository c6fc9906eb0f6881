"""Durations, sizes and names, short enough to read."""

from __future__ import annotations

import re

_MAX_NAME = 64

_PREFIX = re.compile(r"^void (?:at::native::)?(?:\(anonymous namespace\)::)?")


def duration(nanoseconds: float) -> str:
    """Return a duration with three digits and a fitting unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(nanoseconds) >= size:
            return (
                f"{nanoseconds / size:.3g} {unit}"
                if nanoseconds < 999.5 * size
                else (f"{nanoseconds / size:,.0f} {unit}")
            )
    return f"{nanoseconds:.0f} ns"


def size(count: int) -> str:
    """Return a number of bytes with three digits and a fitting unit."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def shortened(name: str) -> str:
    """Return a kernel's name in at most 64 characters; the tables have the whole.

    What C++ puts before it (``void``, ``at::native::``) says little, nor do the arguments behind
    it; of what is too long still, the middle is left out.
    """
    bare = _PREFIX.sub("", name)
    if len(bare) > _MAX_NAME and bare.endswith(")"):
        bare = f"{bare[: _arguments(bare)]}(…)"
    if len(bare) <= _MAX_NAME:
        return bare
    end = _MAX_NAME // 3
    return f"{bare[: _MAX_NAME - end - 1]}…{bare[-end:]}"


def _arguments(name: str) -> int:
    """Return where the last pair of brackets opens; the end if it never does."""
    depth = 0
    for place in range(len(name) - 1, -1, -1):
        depth += (name[place] == ")") - (name[place] == "(")
        if depth == 0:
            return place
    return len(name)
