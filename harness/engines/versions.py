"""Which tables hold for a version of a target."""

from __future__ import annotations

import re
from typing import Final

from harness.engines.base import Release, Target
from harness.errors import Problem, RefusedError

_VERSION: Final = re.compile(
    r"v?([0-9]{1,9}(?:\.[0-9]{1,9})*)(?:(?:[.+-]?[A-Za-z]|[+-][0-9])[A-Za-z0-9.+_-]*)?"
)
"""What Python's packages call themselves, as 0.5.23.post1 and 0.32.0rc1+cu128."""


def named(given: str) -> tuple[str, str]:
    """Return a target's name and the version behind the @; of an @ with nothing behind it, that."""
    name, at, version = given.partition("@")
    return name, version or at


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version without the zeros at its end: 0.33 is 0.33.0; () of none."""
    match = _VERSION.fullmatch(version)
    found = [int(number) for number in match[1].split(".")] if match else []
    while found[1:] and not found[-1]:
        found.pop()
    return tuple(found)


def holding(target: Target, version: str) -> Release | None:
    """Return the newest release whose forms hold for a version; None if none is known to."""
    wanted = numbers(version)
    for release in target.releases:
        since = numbers(release.since)
        if since and wanted >= since:
            return release
    return None


def release_of(target: Target, version: str, setting: str) -> Release:
    """Return the release whose forms hold for a version; the newest without one.

    Raises:
        RefusedError: It is no version, or an older one than was looked at; names the setting.
    """
    if not version:
        return target.releases[0]
    release = holding(target, version)
    if release is not None:
        return release
    name, given = target.name, f"{target.name}@{version}"
    if not numbers(target.releases[0].since):
        why, fix = (
            f"of {name}, {target.releases[0].source} alone was looked at",
            f"{setting} {name}",
        )
    elif numbers(version):
        oldest = target.releases[-1].since
        why = f"of {name}, nothing before {oldest} was looked at, so what it takes is not known"
        fix = f"{setting} {name}@{oldest}, and compare what your version takes"
    else:
        why, given = "a version is numbers with dots, as 0.5.23", version
        fix = f"{setting} {name}, or {setting} {name}@{target.releases[0].version}"
    raise RefusedError([Problem(setting=setting, given=given, reason=why, fix=fix)])
