"""``harness read``: analyse and check a run again, or import a capture of another program."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from harness.across.reading import rank_runs, read_again, read_rank_folder
from harness.across.trace import merged_trace
from harness.capture.foreign import check_capture
from harness.capture.run_folder import is_run, link_latest, new_folder
from harness.capture.run_record import RunRecord
from harness.capture.sources import rank_folder
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.progress import ConsoleProgress
from harness.cli.requested import FLAG, requested
from harness.errors import ExitCode, Problem, refuse
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished
from harness.pipeline.reading import read_capture, read_run
from harness.ranks.pipeline import read_ranks
from harness.report.brief import SETTING, in_detail
from harness.report.terminal import show
from harness.settings.request import Detail


def read(command: Command) -> ExitCode:
    """Complete the verdict of a run, or judge it again; or import a capture as a run."""
    asked = FLAG in command.flags
    given, problems = _settings(_of_reading(command.overrides) if asked else command.overrides)
    refuse([*problems, *_path_problems(command.paths)])
    path, out = Path(command.paths[0]), command.out
    folder = path
    if is_run(path):
        refuse([*_run_stays(out), *_run_has_its_own(command)])
        signals.raise_instead()
        done = _read_again(path, given.limit_s)
    else:
        refuse(_nothing_to_analyse(() if asked else command.overrides))
        judged = requested(command)
        signals.raise_instead()
        folder = Path(out) if out else new_folder()
        check_capture(path)
        with ConsoleProgress(ERR):
            if ranks := rank_folder(path):
                done = read_rank_folder(ranks, folder, requested=judged, begun=link_latest)
            else:
                done = read_capture(path, folder, requested=judged, begun=link_latest)
    summary = RunFolder(folder).summary.name
    show(in_detail(done.summary, _detail(given, done.record), summary), OUT)
    if "--merged-trace" in command.flags:
        with ConsoleProgress(ERR):
            section = merged_trace(RunFolder(folder))
        show([section], OUT)
    return ExitCode(done.record.exit_code or ExitCode.OK)


def _read_again(path: Path, limit_s: float | None) -> Finished:
    run = RunFolder(path)
    again = read_run
    if rank_runs(run):
        again = read_ranks if run.job.exists() else read_again
    with ConsoleProgress(ERR) as screen:
        return again(path, listener=screen, limit_s=limit_s)


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


class _Given(NamedTuple):
    """The settings that are given to be read with."""

    limit_s: float | None = None
    detail: Detail | None = None
    """Null: not given."""


_DETAILS: Final[Mapping[str, Detail]] = {"brief": "brief", "full": "full"}
_LIMIT: Final = "profiler.analyse_timeout_s"


def _settings(overrides: Sequence[str]) -> tuple[_Given, list[Problem]]:
    """Return the settings that something can be read with, and what is wrong with others."""
    given, problems = _Given(), []
    for text in overrides:
        setting, _, value = text.partition("=")
        fix = f"leave it out, or {_LIMIT}=SECONDS"
        if setting == SETTING and value in _DETAILS:
            given = given._replace(detail=_DETAILS[value])
            continue
        if setting == SETTING:
            reason, fix = f"it must be {' or '.join(_DETAILS)}", f"{SETTING}=full"
        elif setting != _LIMIT:
            reason = "a run is read with its own settings, and no path has this name"
            fix += f", {SETTING}=full"
        elif not re.fullmatch(r"null|\d+(\.\d*)?", value):
            reason = "it must be seconds, or null"
        else:
            given = given._replace(limit_s=None if value == "null" else float(value))
            continue
        problems.append(Problem(setting=setting, given=value, reason=reason, fix=fix))
    return given, problems


def _of_reading(overrides: Sequence[str]) -> list[str]:
    """Return the settings of how something is read, among those that a capture is judged by."""
    return [text for text in overrides if text.startswith(f"{SETTING}=")]


def _run_has_its_own(command: Command) -> list[Problem]:
    given = command.flags.get(FLAG)
    if given is None:
        return []
    why = "a run is judged by its own request; this flag is for captures of other programs"
    return [Problem(setting=FLAG, given=given, reason=why, fix="leave it out")]


def _nothing_to_analyse(overrides: Sequence[str]) -> list[Problem]:
    why = f"an imported capture is read as it is, and takes no setting but {SETTING}"
    fix = "leave it out, or --requested and the settings to judge the capture by them"
    return [
        Problem(setting=_LIMIT, given=text.partition("=")[2], reason=why, fix=fix)
        for text in overrides
        if text.startswith(f"{_LIMIT}=")
    ]


def _detail(given: _Given, record: RunRecord) -> Detail:
    """Return how much is shown: what was asked for now, or else when the run was made."""
    own: Detail = record.requested.get(SETTING, "brief")
    return given.detail or own
