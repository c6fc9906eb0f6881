"""``harness merge``: join runs that measured different counters into one table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.prepare import prepared
from harness.cli.progress import ConsoleProgress
from harness.errors import ExitCode, Problem, refuse
from harness.merge.pipeline import merge_runs
from harness.paths import MergedFolder
from harness.report.brief import in_detail
from harness.report.terminal import show


def merge(command: Command) -> ExitCode:
    """Join the runs of a sweep over counters, or the runs given."""
    paths, out = [Path(path) for path in command.paths], command.out
    refuse([*_foreign_settings(command.overrides), *_path_problems(paths, out)])
    composition = prepared(command)
    if composition.multirun:
        why = "a merge takes one value of each setting, and this configuration has a sweep"
        refuse([Problem(setting="merge", given="", reason=why, fix="leave the sweep out")])
    request = composition.jobs[0].request
    assert request is not None
    signals.raise_instead()
    folder = Path(out) if out else paths[0]
    with ConsoleProgress(ERR):
        done = merge_runs(paths, folder, request.merge, request.analysis)
    show(in_detail(done.summary, request.report.detail, str(MergedFolder(folder).summary)), OUT)
    return done.exit_code


def _foreign_settings(overrides: Sequence[str]) -> list[Problem]:
    """Return the settings that do not belong to a merge; one may be a folder that is not there."""
    return [
        Problem(
            setting=text.partition("=")[0],
            given=text.partition("=")[2],
            reason="merge takes the settings merge.…, analysis.… and report.… alone, and no folder"
            " has this name",
            fix=f"leave it out, or ./{text} if it is a folder",
        )
        for text in overrides
        if not re.match(r"[+~]*(merge|analysis|report)\b", text)
    ]


def _path_problems(paths: Sequence[Path], out: str | None) -> list[Problem]:
    if not paths:
        why = "merge takes the folder of a sweep, or several runs"
    elif len(paths) > 1 and not out:
        why = "several runs need a folder for the merged tables"
    else:
        return []
    given, fix = (
        " ".join(map(str, paths)),
        "python -m harness merge SWEEP_DIR, or RUN RUN … --out DIR",
    )
    return [Problem(setting="merge", given=given, reason=why, fix=fix)]
