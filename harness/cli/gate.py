"""``harness gate``: hold runs against limits, and against other runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from harness import files
from harness.capture.gate_record import GateRecord
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.out_file import file_problems
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
    written = {flag: command.flags[flag] for flag in _WRITTEN if flag in command.flags}
    refuse(
        [
            *_no_settings(command.overrides),
            *_sides(candidate, base, file),
            *file_problems(written, [Path(file)] if file else []),
        ]
    )
    limits = read_limits(Path(file)) if file else DEFAULT
    if not base and (rules := need_a_base(limits)):
        why = f"there is nothing to compare with, and these limits need it: {', '.join(rules)}"
        fix = "name runs after --against, or limits with max alone"
        refuse([Problem(setting="--against", given="", reason=why, fix=fix)])
    signals.raise_instead()
    with ConsoleProgress(ERR):
        record = hold(sides(candidate, base), limits, file)
    parts = sections(record)
    if "--json" in command.flags:
        print(json_of(record).decode(), end="")
    else:
        show(parts, OUT)
    _write(written, record, parts)
    return ExitCode.OK if record.passed else ExitCode.REGRESSED


def _write(written: Mapping[str, str], record: GateRecord, parts: Sequence[Section]) -> None:
    for flag, name in written.items():
        path = Path(name)
        files.make_root(path.parent)
        files.write(path.parent, path, _WRITTEN[flag](record, parts))


_WRITTEN: Final[Mapping[str, Callable[[GateRecord, Sequence[Section]], bytes]]] = {
    "--json-file": lambda record, _: json_of(record),
    "--junit": lambda record, _: junit(record),
    "--markdown": lambda _, parts: markdown(parts).encode(errors="backslashreplace"),
}
"""The files that may be written, by the flag that names one."""


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
