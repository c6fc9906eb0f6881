"""Import: what a target's file asks for becomes settings, and what has no counterpart is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from harness.configuration.composition import choices, compose_jobs
from harness.configuration.overrides import quoted
from harness.configuration.validate import problems
from harness.engines import SOURCES, TARGETS
from harness.engines.base import Form, Meaning, Release, Target, bare, meaning
from harness.engines.exporting import asked, is_judged, same
from harness.engines.notations import (
    DEEPEST,
    YAML,
    Part,
    UnknownValueError,
    UnreadableError,
    deepest,
)
from harness.engines.python_code import PythonCode
from harness.engines.versions import named, release_of
from harness.errors import Problem, RefusedError
from harness.files import read_all
from harness.settings.request import Request
from harness.settings.schema import show
from harness.text import is_text

_LARGEST: Final = 1 << 20
"""Bytes of a file; a profiler's settings have some thousands."""
_SHOWN: Final = 4


class Reading(Struct, frozen=True, kw_only=True):
    """A file, as one form of one target reads it."""

    target: Target
    release: Release
    form: Form
    values: dict[str, Any]

    @property
    def known(self) -> int:
        """How many of its fields the form has."""
        return sum(self.form.field(name) is not None for name in self.values)


class Imported(Struct, frozen=True, kw_only=True):
    """What a file asks for, in our words."""

    reading: Reading
    meaning: Meaning
    words: tuple[str, ...]
    """Settings for the command line."""
    request: Request | None
    """What they compose; None if that is refused."""
    problems: tuple[Problem, ...]
    """Why it is refused."""


def read_file(path: Path) -> str:
    """Return the text of a file with a target's settings.

    Raises:
        RefusedError: There is no such file, or it is no text of a size that settings have.
    """
    try:
        text = read_all(path, _LARGEST).decode()
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    if deepest(text) > DEEPEST:
        raise _unreadable(path, f"its brackets are nested more than {DEEPEST} deep")
    return text


def _unreadable(path: Path, reason: str) -> RefusedError:
    why = f"it cannot be read: {reason}"
    fix = "name a file with the settings of an engine, UTF-8, at most 1 MiB"
    shown = str(path) if is_text(str(path)) else repr(path)
    return RefusedError([Problem(setting=shown, given="", reason=why, fix=fix)])


def reading(text: str, name: str, target: str = "", device: str = "") -> Reading:
    """Return how a text is to be read: by a target that is named, or by its own field names.

    Args:
        text: What the file has.
        name: What errors call the file.
        target: One of `TARGETS` or `SOURCES`, perhaps with its version, as vllm@0.32; empty: the
            one whose fields it has.
        device: cpu, cuda or npu; empty: the first for which the target has a form.

    Raises:
        RefusedError: No target reads it, or several do.
    """
    known = {**TARGETS, **SOURCES}
    target, version = named(target)
    candidates = list(known.values())
    if target:
        held = release_of(known[target], version, "--target")
        candidates = [replace(known[target], releases=(held,)) if version else known[target]]
    errors: dict[str, UnreadableError] = {}
    readings = list(_readings(text, candidates, device, errors))
    best = max((found.known for found in readings), default=0)
    fitting = [found for found in readings if found.known == best and best]
    names = list(dict.fromkeys(found.target.name for found in fitting))
    if len(names) > 1:
        why = f"its fields are those of {', '.join(names)}"
        fix = f"--target {names[0]}, or --target {names[1]}"
        raise RefusedError([Problem(setting=name, given="", reason=why, fix=fix)])
    if not fitting:
        raise RefusedError([_unread(name, target, candidates, errors)])
    return min(fitting, key=_distance)


def _distance(found: Reading) -> tuple[int, bool]:
    """Return how badly a form fits: fields that it cannot mean; activities unlike its device's."""
    meant = meaning(found.form, found.values)
    usual = bare(found.form.device)["profiler.activities"]
    return len(meant.unmatched), meant.asked["profiler.activities"] != usual


def _readings(
    text: str, targets: list[Target], device: str, errors: dict[str, UnreadableError]
) -> Iterator[Reading]:
    for target in targets:
        for release in target.releases:
            for form in release.forms:
                if device and form.device != device:
                    continue
                try:
                    values = _values(form, text)
                except UnreadableError as error:
                    if not isinstance(errors.get(target.name), UnknownValueError):
                        errors[target.name] = error
                    continue
                yield Reading(target=target, release=release, form=form, values=values)


def _values(form: Form, text: str) -> dict[str, Any]:
    """Return the fields in the form's notation, or in YAML, of which JSON is a part."""
    try:
        return form.notation.values(text)
    except UnreadableError as error:
        if isinstance(form.notation, PythonCode) or isinstance(error, UnknownValueError):
            raise
        part = form.notation
        below = Part(YAML, *part.below, strip=part.strip) if isinstance(part, Part) else YAML
        return below.values(text)


def _unread(
    name: str, target: str, targets: list[Target], errors: Mapping[str, UnreadableError]
) -> Problem:
    nearly = [known for known, error in errors.items() if isinstance(error, UnknownValueError)]
    reader = target if target in errors else next(iter(nearly), "")
    if reader:
        why = f"{reader} cannot read it: {errors[reader]}"
    else:
        why = f"no field in it is one of {', '.join(known.name for known in targets)}"
    fix = "name its target: --target NAME; python -m harness help import lists them"
    if target or nearly:
        fix = f"name a file with the settings of {target or reader}, all of them constants"
    return Problem(setting=name, given="", reason=why, fix=fix)


def imported(found: Reading) -> Imported:
    """Return what a file asks for as settings: the profile that is nearest, and the differences."""
    meant = meaning(found.form, found.values)
    words = min(_by_profile(found.form.device, _wanted(meant)), key=len)
    composition = compose_jobs(words)
    job = composition.jobs[0] if composition.jobs else None
    request = job.request if job else None
    wrong = [
        *composition.problems,
        *(job.problems if job else ()),
        *(problems(request, runs_here=False) if request else ()),
    ]
    return Imported(
        reading=found,
        meaning=meant,
        words=words,
        request=None if wrong else request,
        problems=tuple(wrong),
    )


def misfits(found: Reading) -> list[Problem]:
    """Return what a file asks for that is no value of the setting: nothing can be judged by it.

    What a profiler would reset or ignore is a value all the same.
    """
    wanted = _wanted(meaning(found.form, found.values))
    words = (f"device={found.form.device}", *(_word(name, wanted[name]) for name in wanted))
    composition = compose_jobs(words)
    return [*composition.problems, *(each for job in composition.jobs for each in job.problems)]


def _wanted(meant: Meaning) -> dict[str, Any]:
    return {
        setting: value
        for setting, value in meant.asked.items()
        if is_judged(setting) or setting in ("profiler.analyse", "name")
    }


def _by_profile(device: str, wanted: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the words that make the settings, starting from each profile that the device has."""
    for base, has in _profiles(device):
        yield (*base, *(_word(name, value) for name, value in _differing(wanted, has)))


@cache
def _profiles(device: str) -> tuple[tuple[tuple[str, ...], dict[str, Any]], ...]:
    """Return each profile of a device, the plainest first: its words, and what it asks for."""
    first = ["default"]
    found = []
    for profile in [*first, *(name for name in choices(None)["profiler"] if name not in first)]:
        base = (f"device={device}", f"profiler={profile}")
        jobs = compose_jobs(base).jobs
        if jobs and jobs[0].request is not None:
            found.append((base, asked(jobs[0].request)))
    return tuple(found)


def _differing(wanted: Mapping[str, Any], has: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in wanted.items():
        if name in has and not same(has[name], value):
            yield name, value


def _word(name: str, value: Any) -> str:
    if isinstance(value, str):
        plain = value.replace("_", "").replace(".", "").replace("-", "").isalnum()
        return f"{name}={value if plain and value.isascii() else quoted(value)}"
    if isinstance(value, list):
        items = [_word("", item)[1:] for item in value]
        return f"{name}=[{','.join(items)}]"
    return f"{name}={show(value)}"
