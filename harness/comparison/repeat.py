"""Run both requests again, in turn: base, candidate, base, candidate, each in a process of its own.

What drifts on the machine meanwhile is then the same for both sides.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct

from harness import files
from harness.capture.provenance import ran_program
from harness.capture.run_folder import OUTPUTS, make
from harness.capture.run_record import request_hash
from harness.comparison.differences import varied
from harness.comparison.sides import SideRun, Sides, sides
from harness.configuration.composition import compose_jobs
from harness.errors import ExitCode, Problem, RepetitionError, refuse
from harness.estimate import Pace, about
from harness.execution.plan import requested
from harness.paths import ComparisonFolder
from harness.settings.marks import mark_of
from harness.settings.request import Request
from harness.text import command
from harness.waits import waiting
from harness.workloads.program import Program

MOST: Final = 1000
"""Repetitions of a side."""
_LARGEST: Final = 1 << 20
"""Bytes of hydra.yaml that are read."""
_SHOWN: Final = 3
_ENDED_WELL: Final = (ExitCode.OK, ExitCode.NOT_DELIVERED)


class Repeatable(Struct, frozen=True, kw_only=True):
    """How a run is run again."""

    words: tuple[str, ...]
    """What follows ``python -m harness``, without --out."""
    folder: Path
    """The working directory."""


def new_folder() -> Path:
    """Return the folder of a comparison that starts now."""
    now = datetime.now().astimezone()
    return OUTPUTS / "comparisons" / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S-%f}"


def repeated(found: Sides, count: int, out: Path | None, report: Callable[[str], object]) -> Sides:
    """Run the request of each side `count` times, in turn, and return these runs.

    `report` is called with a line before each run.

    Raises:
        RefusedError: A run cannot be repeated; nothing was run.
        RepetitionError: A run failed; those before it are kept.
    """
    problems = [*_no_repetitions(found)]
    again: dict[str, Repeatable] = {}
    for side, runs in (("base", found.base), ("candidate", found.candidate)):
        answer = repeatable(runs[0])
        if isinstance(answer, Repeatable):
            again[side] = answer
        else:
            problems += answer
    refuse(problems)
    folder = ComparisonFolder((out or new_folder()).absolute())
    make(folder.path, "--out")
    refuse(list(_occupied(folder)))
    total = len(again) * count
    made: dict[str, list[Path]] = {side: [] for side in again}
    pace = Pace(time.monotonic(), 0)
    with waiting("running both sides, in turn", total, "runs") as more:
        for number in range(1, count + 1):
            for side, run in again.items():
                place = folder.run(side, number).path
                done = sum(map(len, made.values()))
                words = command(("python", "-m", "harness", *run.words))
                left_s = pace.left_s(total, time.monotonic())
                left = f", {about(left_s)}" if left_s is not None else ""
                report(f"run {done + 1} of {total}{left}: {side}, {number} of {count}: {words}")
                _run(run, place)
                made[side].append(place)
                more(1)
                pace.take(done + 1, time.monotonic())
    return sides(made["candidate"], made["base"])


def _run(run: Repeatable, place: Path) -> None:
    words = (sys.executable, "-m", "harness", *run.words, "--out", str(place))
    process = subprocess.Popen(  # noqa: S603 - our own command, with the words of a record
        words, cwd=run.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        _, errors = process.communicate()
    finally:
        if process.poll() is None:
            # It closes its run; whoever interrupts again kills it.
            process.terminate()
            process.wait()
    if process.returncode not in _ENDED_WELL:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        why = f": {last[0]}" if last else ""
        raise RepetitionError(
            f"{place} ended with exit code {process.returncode}{why}; nothing is compared"
        )


def _no_repetitions(found: Sides) -> Iterator[Problem]:
    for side, runs in (("candidate", found.candidate), ("base", found.base)):
        if names := varied([run.record for run in runs]):
            yield _problem(
                runs[0],
                f"the runs of the {side} differ in {', '.join(names[:_SHOWN])}, so they have no"
                " one request",
                fix="name one run for each side",
            )


def _occupied(folder: ComparisonFolder) -> Iterator[Problem]:
    for side in ("base", "candidate"):
        if folder.run(side, 1).record.exists():
            why = "there are runs of a comparison in this folder already"
            fix = "choose another folder, or remove this one"
            yield Problem(setting="--out", given=str(folder.path), reason=why, fix=fix)
            return


def repeatable(run: SideRun) -> Repeatable | list[Problem]:
    """Return how a run is run again, or why it cannot be."""
    record = run.record
    if record.source:
        why = "an imported capture cannot be repeated: its request is not known"
        return [_problem(run, why, fix="run both sides yourself, and compare their folders")]
    if record.host != socket.gethostname():
        why = f"it was recorded on {record.host}, and commands of other machines are not run here"
        return [_problem(run, why, fix="run its command yourself, if you trust it")]
    if record.world_size > 1 and record.requested.get("execution.kind") != "torchrun":
        why = f"a launcher of yours started its {record.world_size} ranks, and it alone could again"
        return [_problem(run, why, fix="run both sides yourself, in turn")]
    config, problem = _configuration(run)
    if problem is not None:
        return [problem]
    folder = Path(record.program.folder) if record.program else Path.cwd()
    if not folder.is_dir():
        return [_problem(run, f"its working directory is gone: {folder}")]
    composition = compose_jobs(list(record.overrides), **config)
    request = composition.jobs[0].request if len(composition.jobs) == 1 else None
    mistakes = [*composition.problems, *(item for job in composition.jobs for item in job.problems)]
    if request is None or mistakes:
        why = f"its settings cannot be composed any more: {mistakes[0].reason if mistakes else ''}"
        return [_problem(run, why.rstrip(": "))]
    if changed := list(_changed(run, request, folder)):
        return changed
    flags = [("--config-dir", config["config_dir"]), ("--config-name", config["config_name"])]
    words = [word for flag, value in flags if value for word in (flag, str(value))]
    return Repeatable(words=(*record.overrides, *words), folder=folder)


def _changed(run: SideRun, request: Request, folder: Path) -> Iterator[Problem]:
    """Yield what is not any more what it was: the settings, or the program."""
    record = run.record
    if record.request_hash != request_hash(request):
        now = requested(request)
        names = [
            name
            for name, value in now.items()
            if mark_of(name).measured and record.requested.get(name, value) != value
        ]
        what = ", ".join(names[:_SHOWN]) or "settings that this version has and that one had not"
        yield _problem(run, f"the same words mean something else by now: {what}")
    if record.program is None:
        return
    if not isinstance(request.workload, Program):
        yield _problem(run, "it was recorded within a program that calls harness.profile()")
        return
    then, now_ran = record.program, ran_program(request.workload, folder)
    words = "it would be the new one on both sides"
    if then.sha256 != now_ran.sha256:
        yield _problem(run, f"{then.source} has changed since (its file): {words}")
    elif then.commit != now_ran.commit:
        yield _problem(run, f"{then.source} has changed since (its commit): {words}")


def _configuration(run: SideRun) -> tuple[dict[str, Any], Problem | None]:
    """Return the folder and the name of the configuration of a run, as .hydra/hydra.yaml has it."""
    path = run.folder / ".hydra" / "hydra.yaml"
    try:
        with files.regular(path, follow=False) as file:
            settings = yaml.safe_load(file.read(_LARGEST).decode())
        hydra = settings["hydra"]
        sources, name = hydra["runtime"]["config_sources"], hydra["job"]["config_name"]
        own = [item["path"] for item in sources if item["provider"] == "command-line"]
    except OSError as error:
        return {}, _problem(run, f"{path.name} cannot be read: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        return {}, _problem(run, f"{path.name} is broken: {type(error).__name__}")
    return {"config_dir": own[0] if own else None, "config_name": name or "config"}, None


def _problem(run: SideRun, reason: str, fix: str = "") -> Problem:
    return Problem(
        setting="--repeat",
        given=str(run.folder),
        reason=reason,
        fix=fix or "run both sides yourself, in turn, and compare their folders",
    )
