"""What an engine was asked for, as a capture of it is judged: with what it is known to drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from harness.capture.requested import Requested
from harness.capture.run_record import EngineWindow
from harness.devices import TARGETS as DEVICES
from harness.engines.base import EXPERIMENTAL, SCHEDULE, Form, Release, Target, meaning
from harness.engines.exporting import Export, asked, is_judged
from harness.engines.importing import Reading
from harness.engines.sglang import SECOND_PATH, SGLANG
from harness.errors import Problem
from harness.settings.expectations import (
    UNCHECKABLE,
    Asked,
    Beyond,
    ExpectedSettings,
    Recording,
    expected_of,
)
from harness.settings.request import Request
from harness.settings.schema import show

_COUNTED: Final = "the program counts its steps itself, and a capture does not show how many it was"
_RANKS: Final = "a capture does not show which ranks were to be left out"


def of_request(request: Request, target: Target | None) -> Requested:
    """Return what a valid request asks for, as a capture by another program is judged.

    Args:
        request: The settings.
        target: Who was asked for them; null if that is not known.
    """
    release = target.releases[0] if target else None
    forms = _forms(release, request.device.name)
    return _requested(request.device.name, asked(request), _name(target, release), target, forms)


def of_file(found: Reading) -> Requested:
    """Return what a file of a target asks for, as a capture by that target is judged."""
    meant = meaning(found.form, found.values)
    unmatched = [
        Beyond(setting=name, requested=show(value), reason=why)
        for name, value, why in meant.unmatched
    ]
    name, form = _name(found.target, found.release), found.form
    return _requested(form.device, meant.asked, name, found.target, [form], unmatched)


def of_export(
    request: Request,
    done: Export,
    target: Target,
    window: EngineWindow,
    more: Sequence[Beyond] = (),
    trouble: str = "",
) -> Requested:
    """Return what a window in a live engine is judged by.

    What the export left out is known not to be delivered; for all else, the engine was asked.

    Args:
        request: The settings.
        done: Their export, as it was sent.
        target: The engine.
        window: Who was asked, and for what.
        more: What else is known of the window.
        trouble: Why it did not end well, one line; empty if it did.
    """
    left_out = {problem.setting: problem for problem in done.lost}
    wanted = asked(request)
    meant = meaning(done.form, done.values)
    judged = {
        name: meant.done.get(name, value) if name in left_out else value
        for name, value in wanted.items()
    }
    beyond = [*map(_left_out, done.lost), *more]
    name = f"{window.engine} {window.version}"
    made = _requested(done.form.device, judged, name, target, [done.form], beyond, left_out)
    assert made.expected.asked is not None
    expected = replace(made.expected, asked=replace(made.expected.asked, trouble=trouble))
    return Requested(settings=_plain(wanted), expected=expected, engine=window)


def _left_out(problem: Problem) -> Beyond:
    return Beyond(
        setting=problem.setting,
        requested=problem.given,
        arrived="left out of what was asked",
        reason=problem.reason,
        fails=True,
    )


def _requested(
    device: str,
    wanted: Mapping[str, Any],
    name: str,
    target: Target | None,
    forms: Sequence[Form],
    more: Sequence[Beyond] = (),
    left_out: Mapping[str, Problem] = {},
) -> Requested:
    settings = _plain(wanted)
    target_of_device = DEVICES[device]
    activities = tuple(settings["profiler.activities"])
    effective = {name: value for name, value in settings.items() if not name.startswith(SCHEDULE)}
    recording = Recording(activities=activities, reports_overflow=target_of_device.reports_overflow)
    experimental = {
        name.removeprefix(EXPERIMENTAL): value
        for name, value in settings.items()
        if name.startswith(EXPERIMENTAL)
    }
    untold = target_of_device.experimental.untold().lowered()
    changed = [
        f"{EXPERIMENTAL}{name}"
        for name, value in experimental.items()
        if value != untold.get(name) and f"{EXPERIMENTAL}{name}" in UNCHECKABLE
    ]
    is_of_second_path = target is SGLANG and any(
        form.device == device and form.fixed for form in forms
    )
    return Requested(
        settings=settings,
        expected=ExpectedSettings(
            device=device,
            activities=activities,
            effective=effective,
            experimental=untold | experimental,
            expectations=tuple(expected_of(recording, effective, recorded=None, changed=changed)),
            asked=Asked(
                of=name,
                drops=_drops(forms, name),
                untold=SECOND_PATH if is_of_second_path else "",
                beyond=(*_unchecked(settings, left_out), *more),
            ),
        ),
    )


def _unchecked(settings: Mapping[str, Any], left_out: Mapping[str, Problem]) -> Iterator[Beyond]:
    steps = settings.get(f"{SCHEDULE}active")
    if steps and f"{SCHEDULE}active" not in left_out:
        yield Beyond(
            setting="profiler.schedule", requested=f"{steps} recorded steps", reason=_COUNTED
        )
    ranks = settings.get("profiler.ranks")
    if ranks is not None and "profiler.ranks" not in left_out:
        yield Beyond(setting="profiler.ranks", requested=show(ranks), reason=_RANKS)


def _drops(forms: Sequence[Form], name: str) -> dict[str, str]:
    """Return what the target is known not to do, by our settings."""
    return {
        field.setting: f"{name} takes {field.name}, but {field.ignored}"
        for form in forms
        for field in form.fields
        if field.ignored and field.setting
    }


def _forms(release: Release | None, device: str) -> list[Form]:
    return [form for form in release.forms if form.device == device] if release else []


def _name(target: Target | None, release: Release | None) -> str:
    return f"{target.name} {release.version}" if target and release else ""


def _plain(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if is_judged(name)}
