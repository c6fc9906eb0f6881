"""``harness gate``: hold runs against limits, and against other runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from harness import files
from harness.capture.gate_record import GateRecord
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.progress import ConsoleProgress
from harness.comparison.gate import gate as hold
from harness.comparison.limits import DEFAULT, need_a_base, read_limits
from harness.comparison.sides import sides
from harness.errors import ExitCode, Problem, refuse
from harness.execution.protocol import json_of
from harness.report.gate import junit, sections
from harness.report.markdown import markdown
from harness.report.section import Section
from harness.report.terminal import show

USAGE: Final = "python -m harness gate RUN ... --against BASE ... --limits gate.yaml"


def gate(command: Command) -> ExitCode:
    """Hold the candidate against the limits; exit code 5 if one is broken."""
    candidate = [Path(word) for word in command.paths]
    base = [Path(word) for word in command.several.get("--against", ())]
    file = command.flags.get("--limits", "")
    refuse([*_no_settings(command.overrides), *_sides(candidate, base, file)])
    limits = read_limits(Path(file)) if file else DEFAULT
    if not base and (rules := need_a_base(limits)):
        why = f"there is nothing to compare with, and these limits need it: {', '.join(rules)}"
        fix = "name runs after --against, or limits with max alone"
        refuse([Problem(setting="--against", given="", reason=why, fix=fix)])
    signals.raise_instead()
    with ConsoleProgress(ERR):
        record = hold(sides(candidate, base), limits, file)
    parts = sections(record)
    _write(command, record, parts)
    if "--json" in command.flags:
        print(json_of(record).decode(), end="")
    else:
        show(parts, OUT)
    return ExitCode.OK if record.passed else ExitCode.REGRESSED


def _write(command: Command, record: GateRecord, parts: Sequence[Section]) -> None:
    contents: dict[str, Callable[[], bytes]] = {
        "--json-file": lambda: json_of(record),
        "--junit": lambda: junit(record),
        "--markdown": lambda: markdown(parts).encode(errors="backslashreplace"),
    }
    for flag, content in contents.items():
        if flag in command.flags:
            path = Path(command.flags[flag])
            files.write(path.parent, path, content())


def _no_settings(overrides: Sequence[str]) -> list[Problem]:
    return [
        Problem(
            setting=text.partition("=")[0],
            given=text.partition("=")[2],
            reason="gate takes its limits from a file, and no folder has this name",
            fix=f"--limits gate.yaml, or ./{text} if it is a folder",
        )
        for text in overrides
    ]


def _sides(candidate: Sequence[Path], base: Sequence[Path], file: str) -> list[Problem]:
    problems = []
    if not candidate:
        why = "no run is named that is to be held against the limits"
        problems.append(Problem(setting="gate", given="", reason=why, fix=USAGE))
    if not base and not file:
        why = "gate needs runs to compare with, or a file of limits"
        problems.append(Problem(setting="--against", given="", reason=why, fix=USAGE))
    return problems
