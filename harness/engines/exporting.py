"""Export: settings become what a target takes, in full, or it is said what would be lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins

from harness.engines.base import (
    Field,
    Form,
    Meaning,
    Release,
    Target,
    lower,
    meaning,
    plain,
)
from harness.errors import Problem
from harness.execution.plan import plan
from harness.settings.changes import Changes
from harness.settings.expectations import IMPLIED
from harness.settings.marks import mark_of
from harness.settings.request import Request
from harness.settings.schema import show


class Export(Struct, frozen=True, kw_only=True):
    """What a target takes for settings of ours, and what of them it does not do."""

    target: str
    version: str
    """The version that was looked at."""
    form: Form
    values: dict[str, Any]
    """The form's fields."""
    lost: tuple[Problem, ...]
    """A problem for each setting that the target would not do as requested."""

    @property
    def text(self) -> str:
        """The form as it is written down."""
        return self.form.notation.text(self.values)


def asked(request: Request) -> dict[str, Any]:
    """Return what a request asks a profiler for: each setting as the profiler gets it."""
    recording = plan(request, Path("unused")).recording
    wanted = plain(recording.effective)
    ranks = request.profiler.ranks
    wanted["profiler.ranks"] = None if ranks is None else list(ranks)
    wanted["profiler.analyse"] = request.profiler.analyse
    wanted["name"] = request.name
    return wanted


def export(request: Request, target: Target, release: Release, form: Form, folder: str) -> Export:
    """Lower a valid request to one form of a target; `folder` is where the target is to write.

    Nothing is left out in silence: what the target would not do is in the export's `lost`.
    """
    wanted = asked(request)
    values = lower(form, wanted)
    if form.folder:
        values[form.folder] = folder
    done = meaning(form, values)
    lost = tuple(_lost(wanted, done, target, release, form))
    return Export(target=target.name, version=release.version, form=form, values=values, lost=lost)


def unheard(request: Request, done: Export, typed: Collection[str]) -> Iterator[Problem]:
    """Yield what a user typed of names, places and limits, and the target would not take.

    What nobody typed of these is a default of the harness's own, which concerns no target.
    """
    wanted = plain(to_builtins(request))
    does = meaning(done.form, done.values).done
    for setting in dict.fromkeys(typed):
        if setting not in wanted or mark_of(setting) is not Changes.PLACED:
            continue
        value = wanted[setting]
        if setting in does and does[setting] == value:
            continue
        names = [field.name for field in done.form.fields if field.setting == setting]
        has = f"has {names[0]} for it, which cannot say this" if names else "has no field for it"
        reason = f"{done.target} {done.version} {has}"
        fix = "leave it out, or --partial exports the rest"
        yield Problem(setting=setting, given=show(value), reason=reason, fix=fix)


def _lost(
    wanted: dict[str, Any], done: Meaning, target: Target, release: Release, form: Form
) -> list[Problem]:
    engine = f"{target.name} {release.version}"
    problems = []
    for setting, value in wanted.items():
        if not is_judged(setting) or same(value, done.done.get(setting)):
            continue
        instead = done.done.get(setting)
        problems.append(
            Problem(
                setting=setting,
                given=show(value),
                reason=_why(setting, instead, engine, form),
                fix=f"{setting}={show(instead)}, or --partial exports the rest",
            )
        )
    return problems


def is_judged(setting: str) -> bool:
    """Tell whether a setting changes what is recorded: only such a one can be lost."""
    return (
        setting not in IMPLIED
        and mark_of(setting).measured
        and (mark_of(setting) is Changes.RECORDED or setting == "profiler.ranks")
    )


def same(first: Any, second: Any) -> bool:
    """Tell whether two values of a setting are the same; the order of a list does not matter."""
    if isinstance(first, list) and isinstance(second, list):
        return sorted(map(str, first)) == sorted(map(str, second))
    return bool(first == second)


def _why(setting: str, instead: Any, engine: str, form: Form) -> str:
    fields = [field for field in form.fields if field.setting == setting]
    ignoring = next((field for field in fields if field.ignored), None)
    if ignoring is not None:
        return _ignored(ignoring, engine, instead)
    if setting in form.fixed:
        how = f" ({form.why_fixed})" if form.why_fixed else ""
        return f"{engine} has {show(instead)} in any case{how}"
    if fields:
        names = " and ".join(dict.fromkeys(field.name for field in fields))
        return f"{engine} has {names} for it, which cannot say this; it would do {show(instead)}"
    return f"{engine} has no field for it; without one, it does {show(instead)}"


def _ignored(field: Field, engine: str, instead: Any) -> str:
    return f"{engine} takes {field.name}, but {field.ignored}; it does {show(instead)}"
