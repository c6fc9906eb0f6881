"""``harness compare``: what differs between runs, whether a step is slower, and what made it so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.capture.comparison_record import ComparisonRecord
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.out_file import folder_problems
from harness.cli.prepare import prepared
from harness.cli.progress import ConsoleProgress
from harness.comparison.kept import keep
from harness.comparison.pipeline import compare as compare_sides
from harness.comparison.repeat import MOST, Repeatable, repeatable, repeated
from harness.comparison.sides import Sides, sides
from harness.errors import ExitCode, Problem, refuse
from harness.execution.protocol import json_of
from harness.report.comparison import sections
from harness.report.section import Command as Proposal
from harness.report.section import Section
from harness.report.terminal import show
from harness.settings.request import Compare
from harness.text import command as command_line

USAGE: Final = "python -m harness compare RUN ... --against BASE ..."


def compare(command: Command) -> ExitCode:
    """Compare the runs of two sides; 0 whatever the answer."""
    candidate, base = _paths(command.paths), _paths(command.several.get("--against", ()))
    count, problems = _repeat(command.flags)
    problems += [*foreign_settings(command.overrides, "compare"), *_sides(candidate, base)]
    refuse([*problems, *folder_problems(command.out)])
    settings = compare_settings(command)
    signals.raise_instead()
    found = sides(candidate, base)
    with ConsoleProgress(ERR):
        if count:
            folder = Path(command.out) if command.out else None
            found = repeated(found, count, folder, ERR.print)
        record = compare_sides(found, settings)
    parts = sections(record)
    if command.out or count:
        target = Path(command.out) if command.out else found.candidate[0].folder.parent
        parts.append(keep(record, parts, target))
    elif record.times is not None and record.times.answer in {"cannot tell", "not testable"}:
        parts += _next(found)
    return shown(record, parts, as_json="--json" in command.flags)


def shown(record: ComparisonRecord, parts: Sequence[Section], *, as_json: bool) -> ExitCode:
    """Print a comparison."""
    if as_json:
        print(json_of(record).decode(), end="")
    else:
        show(parts, OUT)
    return ExitCode.OK


def compare_settings(command: Command) -> Compare:
    """Compose the settings ``compare.…``.

    Raises:
        RefusedError: One of them is wrong, or there are several values.
    """
    composition = prepared(command)
    if composition.multirun:
        why = "a comparison takes one value of each setting, and this configuration has a sweep"
        refuse([Problem(setting="compare", given="", reason=why, fix="leave the sweep out")])
    request = composition.jobs[0].request
    assert request is not None
    return request.compare


def foreign_settings(overrides: Sequence[str], subcommand: str) -> list[Problem]:
    """Return the settings that do not belong to a comparison; one may be a folder that is not."""
    return [
        Problem(
            setting=text.partition("=")[0],
            given=text.partition("=")[2],
            reason=f"{subcommand} takes the settings compare.… alone, and no folder has this name",
            fix=f"leave it out, or ./{text} if it is a folder",
        )
        for text in overrides
        if not re.match(r"[+~]*compare\b", text)
    ]


def _paths(words: Sequence[str]) -> list[Path]:
    return [Path(word) for word in words]


def _sides(candidate: Sequence[Path], base: Sequence[Path]) -> list[Problem]:
    problems = []
    if not candidate:
        why = "no run is named that is to be compared"
        problems.append(Problem(setting="compare", given="", reason=why, fix=USAGE))
    if not base:
        why = "compare needs the runs to compare with"
        problems.append(Problem(setting="--against", given="", reason=why, fix=USAGE))
    return problems


def _repeat(flags: Mapping[str, str]) -> tuple[int, list[Problem]]:
    text = flags.get("--repeat")
    if text is None:
        return 0, []
    if re.fullmatch(r"[0-9]{1,6}", text) and 1 <= int(text) <= MOST:
        return int(text), []
    why = f"it must be a number of runs, from 1 to {MOST}"
    return 0, [Problem(setting="--repeat", given=text, reason=why, fix="--repeat 5")]


def _next(found: Sides) -> list[Section]:
    """Propose to repeat the runs, if they can be."""
    firsts = (found.candidate[0], found.base[0])
    if not all(isinstance(repeatable(run), Repeatable) for run in firsts):
        return []
    candidate, base = (str(run.folder) for run in firsts)
    words = ("python", "-m", "harness", "compare", candidate, "--against", base, "--repeat", "5")
    proposal = Proposal("run both requests five times, in turn", command_line(words))
    return [Section(title="Next", notes=(proposal,))]
