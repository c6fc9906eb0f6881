"""The verbs of the command line: what a bare word does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from harness.capture.run_folder import is_run, link_latest, new_folder
from harness.capture.run_record import REHEARSED
from harness.cli.arguments import Command, Subcommand, all_problems, composed, refuse
from harness.cli.check import check
from harness.cli.console import ERR, OUT
from harness.cli.hydra_app import carry_out
from harness.cli.progress import ConsoleProgress, headline
from harness.doctor.diagnose import doctor
from harness.errors import ExitCode, Problem, RefusedError
from harness.merge.pipeline import merge_runs
from harness.pipeline import read_capture, read_run
from harness.report.terminal import show
from harness.sweep import jobs


def _check(command: Command) -> ExitCode:
    """Show what would be done, job by job, and do nothing."""
    composition = composed(command)
    refuse(all_problems(composition))
    for number, job in enumerate(composition.jobs):
        assert job.request is not None
        if composition.multirun:
            headline(OUT, number, len(composition.jobs), jobs.typed(job))
        check(job.request, OUT)
    return ExitCode.OK


def _doctor(command: Command) -> ExitCode:
    """Say whether this machine is able to."""
    return doctor(command.overrides, OUT, as_json=command.flags.json)


def _rehearse(command: Command) -> ExitCode:
    """Run as if there were an NPU."""
    devices = [text for text in command.overrides if text.startswith("device=")]
    refuse(
        [
            Problem(
                setting="device",
                given=text.partition("=")[2],
                reason="a rehearsal stands in for an NPU; other devices are run",
                fix="leave it out, or run without rehearse",
            )
            for text in devices
            if text != REHEARSED[0]
        ]
    )
    added = [text for text in REHEARSED if text not in command.overrides]
    return carry_out(replace(command, overrides=(*added, *command.overrides)))


def _read(command: Command) -> ExitCode:
    """Take in a capture from elsewhere; of a run, complete the verdict, or judge it again."""
    limit_s = _analysis_limit(command.overrides)
    if len(command.paths) != 1:
        raise RefusedError(
            [
                Problem(
                    setting="read",
                    given=" ".join(command.paths),
                    reason="it takes one capture, or the folder of one run",
                    fix="python -m harness read PATH",
                )
            ]
        )
    path, out = Path(command.paths[0]), command.flags.out
    if is_run(path):
        refuse(_run_stays(out))
        with ConsoleProgress(ERR) as screen:
            done = read_run(path, listener=screen, limit_s=limit_s)
    else:
        refuse(_nothing_to_analyse(command.overrides))
        folder = Path(out) if out else new_folder()
        done = read_capture(path, folder)
        link_latest(folder)
    show(done.summary, OUT)
    return ExitCode(done.record.exit_code or ExitCode.OK)


def _merge(command: Command) -> ExitCode:
    """Join the runs of a sweep over counters, or the runs given."""
    paths, out = [Path(path) for path in command.paths], command.flags.out
    refuse(
        [
            Problem(
                setting=text.partition("=")[0],
                given=text.partition("=")[2],
                reason="merge joins what was measured; it takes merge.… and analysis.… alone, and"
                " there is no such folder",
                fix=f"leave it out, or ./{text} if it is a folder",
            )
            for text in command.overrides
            if not re.match(r"[+~]*(merge|analysis)\b", text)
        ]
    )
    refuse(_nothing_to_merge(paths, out))
    composition = composed(command)
    refuse(all_problems(composition))
    if composition.multirun:
        why = "a merge is one, and takes one value of each setting"
        refuse([Problem(setting="-m", given="", reason=why, fix="leave it out")])
    request = composition.jobs[0].request
    assert request is not None
    folder = Path(out) if out else paths[0]
    done = merge_runs(paths, folder, request.merge, request.analysis)
    show(done.summary, OUT)
    return done.exit_code


def _nothing_to_merge(paths: Sequence[Path], out: str | None) -> list[Problem]:
    fix = "python -m harness merge SWEEP_DIR, or RUN RUN … --out DIR"
    given = " ".join(map(str, paths))
    if not paths:
        why = "it takes the folder of a sweep, or several runs"
    elif len(paths) > 1 and not out:
        why = "of several runs, it must be told where the merged tables go"
    else:
        return []
    return [Problem(setting="merge", given=given, reason=why, fix=fix)]


def _run_stays(out: str | None) -> list[Problem]:
    if out is None:
        return []
    why = "a run is read where it is; --out is for captures from elsewhere"
    return [Problem(setting="--out", given=out, reason=why, fix="leave it out")]


def _nothing_to_analyse(overrides: Sequence[str]) -> list[Problem]:
    why = "of a capture from elsewhere, only what is there is read"
    return [
        Problem(setting=text.partition("=")[0], given="", reason=why, fix="leave it out")
        for text in overrides
    ]


def _analysis_limit(overrides: Sequence[str]) -> float | None:
    """Return the one setting that a run read again can be given: seconds, or none."""
    limit_s: float | None = None
    for text in overrides:
        setting, _, given = text.partition("=")
        known = setting == "profiler.analyse_timeout_s"
        if not known or not re.fullmatch(r"null|\d+(\.\d*)?", given):
            raise RefusedError(
                [
                    Problem(
                        setting=setting,
                        given=given,
                        reason="it must be seconds, or null"
                        if known
                        else "read takes a run as it was, with its settings, and there is no such"
                        " path",
                        fix="leave it out, or profiler.analyse_timeout_s=SECONDS",
                    )
                ]
            )
        limit_s = None if given == "null" else float(given)
    return limit_s


SUBCOMMANDS: dict[str, Subcommand] = {
    "check": Subcommand(run=_check),
    "doctor": Subcommand(run=_doctor, flags=("--json",)),
    "merge": Subcommand(run=_merge, paths=True, flags=("--out",)),
    "read": Subcommand(run=_read, paths=True, flags=("--out",)),
    "rehearse": Subcommand(run=_rehearse),
}
"""The verbs; a new one is a line here, and a line in conf/hydra/help/harness.yaml."""
