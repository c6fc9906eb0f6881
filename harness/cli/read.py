"""``harness read``: analyse and check a run again, or import a capture of another program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.across.reading import rank_runs, read_again, read_rank_folder
from harness.across.trace import merged_trace
from harness.capture.foreign import check_capture
from harness.capture.run_folder import is_run, link_latest, new_folder
from harness.capture.sources import rank_folder
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.progress import ConsoleProgress
from harness.cli.requested import FLAG, requested
from harness.errors import ExitCode, Problem, refuse
from harness.paths import RunFolder
from harness.pipeline.reading import read_capture, read_run
from harness.ranks.pipeline import read_ranks
from harness.report.terminal import show


def read(command: Command) -> ExitCode:
    """Complete the verdict of a run, or judge it again; or import a capture as a run."""
    asked = FLAG in command.flags
    limit_s, problems = _analysis_limit(() if asked else command.overrides)
    refuse([*problems, *_path_problems(command.paths)])
    path, out = Path(command.paths[0]), command.out
    folder = path
    if is_run(path):
        refuse([*_run_stays(out), *_run_has_its_own(command)])
        signals.raise_instead()
        run = RunFolder(path)
        again = read_run
        if rank_runs(run):
            again = read_ranks if run.job.exists() else read_again
        with ConsoleProgress(ERR) as screen:
            done = again(path, listener=screen, limit_s=limit_s)
    else:
        refuse(_nothing_to_analyse(() if asked else command.overrides))
        judged = requested(command)
        signals.raise_instead()
        folder = Path(out) if out else new_folder()
        check_capture(path)
        if ranks := rank_folder(path):
            done = read_rank_folder(ranks, folder, requested=judged, begun=link_latest)
        else:
            done = read_capture(path, folder, requested=judged, begun=link_latest)
    show(done.summary, OUT)
    if "--merged-trace" in command.flags:
        show([merged_trace(RunFolder(folder))], OUT)
    return ExitCode(done.record.exit_code or ExitCode.OK)


def _path_problems(paths: Sequence[str]) -> list[Problem]:
    if len(paths) == 1:
        return []
    why = "read takes one path: a capture, or the folder of one run"
    given, fix = " ".join(paths), "python -m harness read PATH"
    return [Problem(setting="read", given=given, reason=why, fix=fix)]


def _run_stays(out: str | None) -> list[Problem]:
    if out is None:
        return []
    why = "a run is read in its own folder; --out is for imported captures"
    return [Problem(setting="--out", given=out, reason=why, fix="leave it out")]


def _run_has_its_own(command: Command) -> list[Problem]:
    given = command.flags.get(FLAG)
    if given is None:
        return []
    why = "a run is judged by its own request; this flag is for captures of other programs"
    return [Problem(setting=FLAG, given=given, reason=why, fix="leave it out")]


def _nothing_to_analyse(overrides: Sequence[str]) -> list[Problem]:
    why = "an imported capture is read as it is, and takes no settings"
    fix = "leave it out, or --requested and the settings to judge the capture by them"
    return [
        Problem(setting=text.partition("=")[0], given="", reason=why, fix=fix) for text in overrides
    ]


def _analysis_limit(overrides: Sequence[str]) -> tuple[float | None, list[Problem]]:
    """Return the one setting that a run read again can be given: seconds, or none."""
    limit_s, problems = None, []
    for text in overrides:
        setting, _, given = text.partition("=")
        if setting != "profiler.analyse_timeout_s":
            reason = "a run is read with its own settings, and no path has this name"
        elif not re.fullmatch(r"null|\d+(\.\d*)?", given):
            reason = "it must be seconds, or null"
        else:
            limit_s = None if given == "null" else float(given)
            continue
        fix = "leave it out, or profiler.analyse_timeout_s=SECONDS"
        problems.append(Problem(setting=setting, given=given, reason=reason, fix=fix))
    return limit_s, problems
