"""What ``--requested`` names: a file with a target's settings, or settings of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from harness.capture.requested import Requested
from harness.cli.arguments import Command
from harness.cli.console import ERR
from harness.cli.import_settings import target_problems
from harness.cli.prepare import prepared
from harness.devices import DEVICES
from harness.engines import SOURCES, TARGETS
from harness.engines.importing import misfits, read_file, reading
from harness.engines.requested import of_file, of_request
from harness.engines.versions import named
from harness.errors import Problem, RefusedError, refuse
from harness.text import one_line

FLAG: Final = "--requested"
_SETTING: Final = re.compile(r"[+~]*[\w.@/-]+=")


def requested(command: Command) -> Requested | None:
    """Return what a capture is to be judged by; None if the flag is not there.

    Raises:
        RefusedError: The file cannot be read, or the settings cannot be honoured.
    """
    given = command.flags.get(FLAG)
    if given is None:
        refuse(list(_without(command)))
        return None
    refuse(list(target_problems(command)))
    if is_setting(given):
        return _of_settings(command, given)
    return _of_file(command, given)


def is_setting(given: str) -> bool:
    """Tell whether a word is a setting, and no file."""
    return bool(_SETTING.match(given)) and not Path(given).exists()


def _of_file(command: Command, given: str) -> Requested:
    devices = tuple(DEVICES)
    device = ""
    for text in command.overrides:
        setting, _, device = text.partition("=")
        if setting != "device" or device not in devices:
            why = f"beside a file, device alone is taken, one of {', '.join(devices)}"
            problem = Problem(setting=setting, given=device, reason=why, fix="leave it out")
            raise RefusedError([problem])
    found = reading(read_file(Path(given)), given, command.flags.get("--target", ""), device)
    refuse(misfits(found))
    name, version = found.target.name, found.release.version
    ERR.print(
        one_line(f"{given}: read as {name} {version}, device={found.form.device}"),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return of_file(found)


def _of_settings(command: Command, first: str) -> Requested:
    name, version = named(command.flags.get("--target", ""))
    if name in SOURCES:
        why = f"{name} is only imported from: its settings are a file's"
        fix = f"{FLAG} FILE --target {name}"
        raise RefusedError([Problem(setting="--target", given=name, reason=why, fix=fix)])
    target = TARGETS.get(name)
    words = (first, *command.overrides)
    devices = target.devices() if target else ()
    if len(devices) == 1 and not any(re.match(r"[+~]*device\b", word) for word in words):
        words = (f"device={devices[0]}", *words)
    composition = prepared(replace(command, flags={}, overrides=words), runs_here=False)
    if composition.multirun:
        why, fix = "a capture is judged by one set of settings", "leave the sweep out"
        raise RefusedError([Problem(setting=FLAG, given=first, reason=why, fix=fix)])
    request = composition.jobs[0].request
    assert request is not None  # those without one were refused
    if target and request.device.name not in devices:
        why, fix = f"{name} profiles {' and '.join(devices)}", f"device={devices[0]}"
        problem = Problem(setting="device", given=request.device.name, reason=why, fix=fix)
        raise RefusedError([problem])
    return of_request(request, target, version)


def _without(command: Command) -> Iterator[Problem]:
    if given := command.flags.get("--target"):
        why = f"it says who was asked for {FLAG}, which is missing"
        yield Problem(setting="--target", given=given, reason=why, fix=f"add {FLAG} FILE")
