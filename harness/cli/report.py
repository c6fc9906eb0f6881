"""``harness report``: write the page of a run, a sweep or merged runs again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import files
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.out_file import file_problems
from harness.cli.progress import ConsoleProgress
from harness.errors import ExitCode, Problem, refuse
from harness.paths import RunFolder
from harness.ranks.saved import saved_page, without_links
from harness.report.html.render import html


def report(command: Command) -> ExitCode:
    """Write ``report.html`` into the folder, or the file that ``--out`` names."""
    named = {} if command.out is None else {"--out": command.out}
    refuse([*_settings(command.overrides), *_path_problems(command.paths), *file_problems(named)])
    folder, redact = Path(command.paths[0]), "--redact" in command.flags
    signals.raise_instead()
    with ConsoleProgress(ERR):
        page = saved_page(folder, redact=redact)
    run = RunFolder(folder)
    path = Path(command.out) if command.out else run.redacted_report if redact else run.report
    if path.parent.resolve() != folder.resolve():
        page = without_links(page)
    content = html(page)
    files.make_root(path.parent)
    files.write(path.parent, path, content)
    OUT.print(f"{path}: {len(content) / 1000:,.0f} kB", soft_wrap=True)
    return ExitCode.OK


def _settings(overrides: Sequence[str]) -> list[Problem]:
    return [
        Problem(
            setting=text.partition("=")[0],
            given=text.partition("=")[2],
            reason="report takes no settings, and no folder has this name",
            fix="leave it out",
        )
        for text in overrides
    ]


def _path_problems(paths: Sequence[str]) -> list[Problem]:
    if len(paths) == 1:
        return []
    why = "report takes one folder: of a run, of a sweep, or of merged runs"
    given, fix = " ".join(paths), "python -m harness report RUN"
    return [Problem(setting="report", given=given, reason=why, fix=fix)]
