"""``harness list``: the runs below a folder, and which of them a filter lets through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from harness.capture.found_runs import FoundRun, Unreadable, find_runs
from harness.capture.run_folder import OUTPUTS
from harness.cli.arguments import Command
from harness.cli.console import OUT
from harness.errors import ExitCode, Problem, refuse
from harness.report.section import Column, Section
from harness.report.terminal import show
from harness.settings.schema import show as shown_value

FIELDS: Final = ("status", "verdict", "exit_code", "device", "emulated", "host")
"""What a filter may name beside settings."""
_SHOWN: Final = 100
"""How many runs a person is shown."""
_UNREADABLE: Final = 5
"""How many records that cannot be read are named."""


def list_runs(command: Command) -> ExitCode:
    """Print the runs below the named folders, the newest last."""
    roots = [Path(path) for path in command.paths] or [OUTPUTS]
    refuse([*_missing(command.paths), *_wrong_filters(command.overrides)])
    found = [entry for root in roots if root.is_dir() for entry in find_runs(root)]
    runs = sorted((run for run in found if isinstance(run, FoundRun)), key=lambda run: run.modified)
    refuse(_unknown(command.overrides, runs))
    fitting = [run for run in runs if all(_fits(run, text) for text in command.overrides)]
    if "--json" in command.flags:
        # Names of folders may be no UTF-8; and nothing here reaches a terminal as it is.
        print(json.dumps(msgspec.to_builtins(fitting), indent=2))
        return ExitCode.OK
    unreadable = [entry for entry in found if isinstance(entry, Unreadable)]
    show([_section(fitting, len(runs), roots, unreadable)], OUT)
    return ExitCode.OK


def _missing(paths: Sequence[str]) -> list[Problem]:
    return [
        Problem(setting=path, given="", reason="there is no such folder", fix="name a folder")
        for path in paths
        if not Path(path).is_dir()
    ]


def _wrong_filters(overrides: Sequence[str]) -> list[Problem]:
    return [
        Problem(
            setting=text,
            given="",
            reason="a filter is a setting and its value",
            fix="device=npu, or profiler=level1, or workload.batch=64",
        )
        for text in overrides
        if not _parts(text)[0] or "=" not in text
    ]


def _unknown(overrides: Sequence[str], runs: Sequence[FoundRun]) -> list[Problem]:
    """Refuse filters that no run could fit, since none has anything of that name."""
    problems = []
    for text in overrides if runs else ():
        name = _parts(text)[0]
        if name in FIELDS or any(_values(run, name) for run in runs):
            continue
        why = "none of the runs has a setting of this name"
        fix = f"a setting as the command takes it, or one of {', '.join(FIELDS)}"
        problems.append(Problem(setting=name, given=text.partition("=")[2], reason=why, fix=fix))
    return problems


def _parts(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.lstrip("+~"), value


def _fits(run: FoundRun, text: str) -> bool:
    name, value = _parts(text)
    return value in _values(run, name)


def _values(run: FoundRun, name: str) -> set[str]:
    """Return the values that a run has under a name, as they may be typed."""
    if name in FIELDS:
        return _typed(getattr(run, name))
    found = {value for key, value in map(_parts, run.overrides) if key == name}
    for key in (name, f"{name}.name", f"{name}.kind"):
        if key in run.requested:
            found |= _typed(run.requested[key])
    return found


def _typed(value: Any) -> set[str]:
    return {shown_value(value), str(value)}


def _section(
    runs: Sequence[FoundRun], count: int, roots: Sequence[Path], unreadable: Sequence[Unreadable]
) -> Section:
    base = roots[0] if len(roots) == 1 else Path()
    columns = (
        Column("when"),
        Column("what"),
        Column("ended"),
        Column("step", "ns"),
        Column("run", "name"),
    )
    notes = [_counted(len(runs), count)]
    runs = runs[-_SHOWN:]
    if any(run.emulated for run in runs):
        notes.append("emulated: an emulator invented the times")
    notes += [f"{entry.path}: not listed: {entry.why}" for entry in unreadable[:_UNREADABLE]]
    if len(unreadable) > _UNREADABLE:
        notes.append(f"{len(unreadable) - _UNREADABLE} more are not listed")
    return Section(
        title=f"Runs below {', '.join(map(str, roots))}",
        columns=columns if runs else (),
        rows=tuple(_row(run, base) for run in runs),
        notes=tuple(notes),
    )


def _counted(fitting: int, count: int) -> str:
    noun = "run" if count == 1 else "runs"
    of = "" if fitting == count else f"{fitting:,} of "
    more = f"; the newest {_SHOWN} are shown, --json prints all" if fitting > _SHOWN else ""
    return f"{of}{count:,} {noun}{more}"


def _row(run: FoundRun, base: Path) -> tuple[str | int | None, ...]:
    when = datetime.fromtimestamp(run.modified).astimezone()
    device = f"{run.device} (emulated)" if run.emulated else run.device
    folder = Path(run.folder)
    ranks = f", {run.ranks} ranks" if run.ranks > 1 else ""
    return (
        f"{when:%m-%d %H:%M}",
        f"{run.workload}, {device}{ranks}",
        _ending(run),
        run.profiled_step_ns if run.unprofiled_step_ns is None else run.unprofiled_step_ns,
        str(folder.relative_to(base)) if folder.is_relative_to(base) else run.folder,
    )


def _ending(run: FoundRun) -> str:
    if run.status != "ok":
        return run.status
    return run.verdict.replace("_", " ")
