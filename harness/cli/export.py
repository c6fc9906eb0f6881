"""``harness export``: settings as an engine or a tool takes them, in full or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from harness.cli.arguments import Command
from harness.cli.console import ERR
from harness.cli.prepare import prepared
from harness.cli.streams import refuse_full_output
from harness.engines import TARGETS
from harness.engines.base import Form, Release, Target
from harness.engines.exporting import Export, unheard
from harness.engines.exporting import export as exported
from harness.engines.versions import named, numbers, release_of
from harness.errors import ExitCode, Problem, RefusedError, refuse
from harness.settings.nearest import nearest
from harness.settings.request import Request

_OURS: Final = re.compile(
    r"[+~]*(profiler\b|name=|device(@[^=]*)?=|device\.(name|activities|with_flops|with_modules)\b)"
)
"""What decides what a profiler is asked for, and what it is called."""
_FOLDER: Final = "captures"
"""Where a target writes unless ``--out`` says otherwise: a folder below its current one."""


def export(command: Command) -> ExitCode:
    """Print one form of the settings to stdout, and what there is to know of it to stderr."""
    refuse([*_target_problems(command.paths), *foreign_settings(command.overrides)])
    name, version = named(command.paths[0])
    target = TARGETS[name]
    release = release_of(target, version, "export")
    request = _request(command, target)
    forms = [form for form in release.forms if form.device == request.device.name]
    refuse([*_device_problems(target, request, forms), *_form_problems(command, target, forms)])
    chosen = command.flags.get("--form", forms[0].name if forms else "")
    folder = command.out or _FOLDER
    made = {
        form.name: _whole(command, request, exported(request, target, release, form, folder))
        for form in forms
    }
    done = made[chosen]
    if done.lost and "--partial" not in command.flags:
        raise RefusedError(_with_other_forms(done, made))
    print(done.text, end="")
    _tell(done, release, version, list(made))
    refuse_full_output()
    return ExitCode.NOT_DELIVERED if done.lost else ExitCode.OK


def _whole(command: Command, request: Request, done: Export) -> Export:
    """Return the export with what was typed, and a target has no word for, among what is lost."""
    typed = [text.lstrip("+~").partition("=")[0] for text in command.overrides]
    return replace(done, lost=(*done.lost, *unheard(request, done, typed)))


def _request(command: Command, target: Target) -> Request:
    devices = target.devices()
    given = any(re.match(r"[+~]*device\b", text) for text in command.overrides)
    if len(devices) == 1 and not given:
        command = replace(command, overrides=(f"device={devices[0]}", *command.overrides))
    # --out is the target's folder here, and none of ours.
    flags = {name: value for name, value in command.flags.items() if name != "--out"}
    composition = prepared(replace(command, flags=flags), runs_here=False)
    if composition.multirun:
        why = "one set of settings is exported at a time, and this is a sweep"
        refuse([Problem(setting="export", given="", reason=why, fix="leave the sweep out")])
    request = composition.jobs[0].request
    assert request is not None
    return request


def _tell(done: Export, release: Release, version: str, forms: Sequence[str]) -> None:
    """Say on stderr what was printed, what it needs, and what is left out."""

    def say(text: str, style: str = "") -> None:
        ERR.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say(f"{done.target} {done.version}, device={done.form.device}: {done.form.title}")
    for note in done.form.notes:
        say(f"  {note}")
    if version and numbers(version) > numbers(release.version):
        say(f"  {version} was not looked at; this is what {release.version} takes")
    others = [name for name in forms if name != done.form.name]
    if others:
        say(f"  other forms: --form {', --form '.join(others)}")
    if done.lost:
        say("left out, since it would be lost:", style="bold red")
        for problem in done.lost:
            say(f"  {problem.setting}={problem.given}: {problem.reason}")


def _with_other_forms(done: Export, made: dict[str, Export]) -> Sequence[Problem]:
    """Return what would be lost; where another form loses nothing, name it."""
    whole = [name for name, other in made.items() if not other.lost]
    if not whole:
        return done.lost
    return [
        Problem(
            setting=problem.setting,
            given=problem.given,
            reason=problem.reason,
            fix=f"--form {whole[0]} exports all of it",
        )
        for problem in done.lost
    ]


def _target_problems(paths: Sequence[str]) -> Iterator[Problem]:
    known = ", ".join(TARGETS)
    name = named(paths[0])[0] if paths else ""
    if len(paths) != 1:
        why = f"export takes one target: {known}"
        yield Problem(setting="export", given=" ".join(paths), reason=why, fix="export TARGET")
    elif name not in TARGETS:
        near = nearest(name, TARGETS)
        fix = f"export {near or next(iter(TARGETS))}"
        why = f"settings are exported to {known}"
        yield Problem(setting="export", given=name, reason=why, fix=fix)


def foreign_settings(overrides: Sequence[str]) -> Iterator[Problem]:
    """Yield the settings that another program cannot be asked for."""
    for text in overrides:
        if not _OURS.match(text):
            setting, _, given = text.partition("=")
            why = "an export is of device, profiler and name; the rest is the target's own"
            yield Problem(setting=setting, given=given, reason=why, fix="leave it out")


def _device_problems(target: Target, request: Request, forms: Sequence[Form]) -> Iterator[Problem]:
    if not forms:
        devices = target.devices()
        yield Problem(
            setting="device",
            given=request.device.name,
            reason=f"{target.name} profiles {' and '.join(devices)}",
            fix=f"device={devices[0]}",
        )


def _form_problems(command: Command, target: Target, forms: Sequence[Form]) -> Iterator[Problem]:
    names = [form.name for form in forms]
    given = command.flags.get("--form")
    if forms and given is not None and given not in names:
        why = f"{target.name} takes {', '.join(names)}"
        yield Problem(setting="--form", given=given, reason=why, fix=f"--form {names[0]}")
