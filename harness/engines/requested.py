"""What an engine was asked for, as a capture of it is judged: with what it is known to drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from harness.capture.requested import Requested
from harness.capture.run_record import EngineWindow
from harness.devices import TARGETS as DEVICES
from harness.engines import TARGETS
from harness.engines.base import EXPERIMENTAL, SCHEDULE, Form, Release, Target, meaning
from harness.engines.exporting import Export, asked, is_judged
from harness.engines.importing import Reading
from harness.engines.sglang import SECOND_PATH, SGLANG
from harness.engines.versions import release_of
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


class _Asked(Struct, frozen=True, kw_only=True):
    """Who was asked, in which words."""

    target: Target | None
    release: Release | None
    forms: Sequence[Form]
    version: str = ""
    """Of the server that was asked; empty for that of the release."""

    @property
    def name(self) -> str:
        """The program and its version; empty if it is not known."""
        if self.target is None or self.release is None:
            return ""
        return f"{self.target.name} {self.version or self.release.version}"


def of_request(request: Request, target: Target | None, version: str = "") -> Requested:
    """Return what a valid request asks for, as a capture by another program is judged.

    Args:
        request: The settings.
        target: Who was asked for them; null if that is not known.
        version: Of the target; empty for the newest that is known.

    Raises:
        RefusedError: The version is none, or older than any that was looked at.
    """
    release = release_of(target, version, "--target") if target else None
    device = request.device.name
    forms = [form for form in release.forms if form.device == device] if release else []
    who = _Asked(target=target, release=release, forms=forms, version=version)
    return _requested(device, asked(request), who)


def of_file(found: Reading) -> Requested:
    """Return what a file of a target asks for, as a capture by that target is judged."""
    meant = meaning(found.form, found.values)
    unmatched = [
        Beyond(setting=name, requested=show(value), reason=why)
        for name, value, why in meant.unmatched
    ]
    who = _Asked(target=found.target, release=found.release, forms=[found.form])
    return _requested(found.form.device, meant.asked, who, unmatched)


def of_export(
    request: Request,
    done: Export,
    window: EngineWindow,
    more: Sequence[Beyond] = (),
    trouble: str = "",
) -> Requested:
    """Return what a window in a live engine is judged by.

    What the export left out is known not to be delivered; for all else, the engine was asked.

    Args:
        request: The settings.
        done: Their export, as it was sent.
        window: Who was asked, and for what.
        more: What else is known of the window.
        trouble: Why it did not end well, one line; empty if it did.
    """
    target = TARGETS[window.engine]
    left_out = {problem.setting for problem in done.lost}
    wanted = asked(request)
    meant = meaning(done.form, done.values)
    judged = {
        name: meant.done.get(name, value) if name in left_out else value
        for name, value in wanted.items()
    }
    beyond = [*map(_left_out, done.lost), *more]
    release = release_of(target, window.version, "--engine")
    who = _Asked(target=target, release=release, forms=[done.form], version=window.version)
    made = _requested(done.form.device, judged, who, beyond)
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
    device: str, wanted: Mapping[str, Any], who: _Asked, more: Sequence[Beyond] = ()
) -> Requested:
    settings = _plain(wanted)
    facts = DEVICES[device]
    activities = tuple(settings["profiler.activities"])
    effective = {name: value for name, value in settings.items() if not name.startswith(SCHEDULE)}
    experimental = {
        name.removeprefix(EXPERIMENTAL): value
        for name, value in settings.items()
        if name.startswith(EXPERIMENTAL)
    }
    untold = facts.experimental.untold().lowered()
    changed = [
        f"{EXPERIMENTAL}{name}"
        for name, value in experimental.items()
        if value != untold.get(name) and f"{EXPERIMENTAL}{name}" in UNCHECKABLE
    ]
    recording = Recording(activities=activities, reports_overflow=facts.reports_overflow)
    settled = {item.setting for item in more}
    return Requested(
        settings=settings,
        expected=ExpectedSettings(
            device=device,
            activities=activities,
            effective=effective,
            experimental=untold | experimental,
            expectations=tuple(expected_of(recording, effective, recorded=None, changed=changed)),
            asked=Asked(
                of=who.name,
                drops=_drops(who),
                untold=_untold(who),
                beyond=(
                    *(item for item in _unchecked(settings) if item.setting not in settled),
                    *more,
                ),
            ),
        ),
    )


def _unchecked(settings: Mapping[str, Any]) -> Iterator[Beyond]:
    """Yield what no capture shows."""
    steps = settings.get(f"{SCHEDULE}active")
    if steps:
        yield Beyond(
            setting="profiler.schedule", requested=f"{steps} recorded steps", reason=_COUNTED
        )
    ranks = settings.get("profiler.ranks")
    if ranks is not None:
        yield Beyond(setting="profiler.ranks", requested=show(ranks), reason=_RANKS)


def _drops(who: _Asked) -> dict[str, str]:
    """Return what the target is known not to do, by our settings."""
    return {
        field.setting: f"{who.name} takes {field.name}, but {field.ignored}"
        for form in who.forms
        for field in form.fields
        if field.ignored and field.setting
    }


def _untold(who: _Asked) -> str:
    """Return why sglang may give torch_npu nothing, where its first path gives it something."""
    has_fixed = any(form.fixed for form in who.forms)
    is_sglang = who.target is not None and who.target.name == SGLANG.name
    return SECOND_PATH if is_sglang and has_fixed else ""


def _plain(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if is_judged(name)}
