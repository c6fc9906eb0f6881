"""``harness attach``: a window in a live engine, asked for by settings, and judged by them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec.structs import replace
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from harness.attach.captures import Found
from harness.attach.engines import ENGINES, Engine, Known, known, release
from harness.attach.http import is_key, server_at
from harness.attach.pipeline import Attaching
from harness.attach.pipeline import attach as attached
from harness.attach.window import Window
from harness.capture.run_folder import link_latest, make, new_folder, shown
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.export import foreign_settings
from harness.cli.prepare import prepared
from harness.engines.base import Form
from harness.engines.exporting import export
from harness.errors import ExitCode, Problem, RefusedError, refuse
from harness.paths import RunFolder
from harness.pipeline.starting import no_place
from harness.report.brief import in_detail
from harness.report.terminal import show
from harness.settings.request import Request
from harness.text import command as shell
from harness.text import one_line

_LIMIT_S: Final = 300.0
_FORM: Final = "body"
_SECONDS: Final = re.compile(r"\d{1,6}(\.\d{1,3})?")
_MIB: Final = 1 << 20


def attach(command: Command) -> ExitCode:
    """Hold one window in a live engine, and show the run that it left."""
    refuse([*_problems(command), *foreign_settings(command.overrides)])
    engine = ENGINES[command.flags["--engine"]]
    key = os.environ.get(command.flags.get("--api-key-env", ""), "")
    server = server_at(command.paths[0], key)
    request = _request(command, engine)
    folder = Path(command.out) if command.out else new_folder()
    _refuse_taken(folder)
    found = known(server, engine)
    form = _form(engine, found, request)
    captures = _captures(command, folder)
    done = export(request, engine.target, release(engine, found.version), form, str(captures))
    if done.lost and "--partial" not in command.flags:
        raise RefusedError(done.lost)
    signals.raise_instead()
    made = make(folder, "--out")
    if not captures.is_dir():
        made += make(captures, "--out")
    job = Attaching(
        request=request,
        done=done,
        server=server,
        engine=engine,
        known=found,
        limit_s=float(command.flags.get("--limit", _LIMIT_S)),
        folder=folder,
        captures=captures,
    )
    _tell(job)
    try:
        with _Waiting(job) as screen:
            finished = attached(job, screen, link_latest)
    finally:
        for each in reversed(made):
            _remove_empty(each)
    if isinstance(finished, Window):
        return _nothing_came(job, finished.trouble)
    summary = RunFolder(folder).summary.name
    show(in_detail(finished.summary, request.report.detail, summary), OUT)
    return ExitCode(finished.record.exit_code or ExitCode.OK)


def _tell(job: Attaching) -> None:
    """Say who is asked, and for what, before anything begins."""
    ranks = job.known.ranks
    told = (
        f", {ranks} rank(s)" if ranks is not None else ", which does not say how many ranks it has"
    )
    _say(f"{job.engine.name} {job.known.version} at {job.server.url}{told}")
    steps = job.request.profiler.schedule.active
    _say(f"asking for {steps} step(s); captures in {shown(job.captures)}")
    if job.known.version != job.done.version:
        _say(f"  the words are those of {job.engine.name} {job.done.version}")
    for problem in job.done.lost:
        _say(f"  left out: {problem.setting}={problem.given}: {problem.reason}")


def _nothing_came(job: Attaching, trouble: str) -> ExitCode:
    """Say that no capture appeared, what that can mean, and how to read it later."""
    steps = job.request.profiler.schedule.active
    words = ["python", "-m", "harness", "read", "CAPTURES", "--requested", "BODY.json"]
    if trouble:
        _say(trouble, "bold red")
        _say(f"  no capture appeared in {shown(job.captures)} by then: none was written yet,")
    else:
        _say(f"no capture appeared in {shown(job.captures)} within {job.limit_s:g} s", "bold red")
        _say(f"  no step was recorded, fewer than {steps} were: does the server get requests?")
    _say("  or it writes to a disk that this machine does not see, or may not write there;")
    _say("  when you have its captures, and the body that was sent, in a file of its own:")
    _say(f"  {shell([*words, '--target', f'{job.engine.name}@{job.known.version}'])}")
    _say(f"  {msgspec.json.format(job.done.text, indent=0)}")
    return ExitCode.FAILED if trouble else ExitCode.NOT_DELIVERED


def _request(command: Command, engine: Engine) -> Request:
    flags = {name: value for name, value in command.flags.items() if name != "--out"}
    composition = prepared(replace(command, flags=flags), runs_here=False)
    if composition.multirun:
        why = "one window is held at a time, and this is a sweep"
        refuse([Problem(setting="attach", given="", reason=why, fix="leave the sweep out")])
    request = composition.jobs[0].request
    assert request is not None  # those without one were refused
    devices = _devices(engine)
    if request.device.name not in devices:
        why = f"a window in {engine.name} is asked for on {' or '.join(devices)}"
        fix = f"device={devices[0]}; what else was recorded: read CAPTURES --requested"
        problem = Problem(setting="device", given=request.device.name, reason=why, fix=fix)
        raise RefusedError([problem])
    return request


def _devices(engine: Engine) -> tuple[str, ...]:
    forms = [form for each in engine.target.releases for form in each.forms]
    return tuple(dict.fromkeys(form.device for form in forms if form.name == _FORM))


def _form(engine: Engine, found: Known, request: Request) -> Form:
    """Return the words of the request; a server that ignores them is refused before it begins."""
    words = release(engine, found.version)
    for form in words.forms:
        if form.name == _FORM and form.device == request.device.name:
            return form
    why = f"{engine.name} {found.version} drops the settings in a request to it without a word"
    fix = f"update the server; or export {engine.name}@{found.version}, and read --requested"
    raise RefusedError([Problem(setting="attach", given="", reason=why, fix=fix)])


def _captures(command: Command, folder: Path) -> Path:
    given = command.flags.get("--captures")
    place = Path(given) if given else RunFolder(folder).captures
    return place.absolute()


def _refuse_taken(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError([no_place(folder, "there is something in its place already")])


def _problems(command: Command) -> Iterator[Problem]:
    if len(command.paths) != 1:
        why = "attach takes the address of one server"
        fix = "attach http://HOST:PORT --engine sglang"
        yield Problem(setting="attach", given="", reason=why, fix=fix)
    name = command.flags.get("--engine")
    if name is None:
        why = "it says what serves there, and is missing"
        yield Problem(setting="--engine", given="", reason=why, fix="--engine sglang, or vllm")
    elif not ENGINES[name].writes_where_told and "--captures" not in command.flags:
        why = f"{name} does not tell where it writes captures"
        fix = "--captures DIR, the server's torch_profiler_dir as this machine sees it"
        yield Problem(setting="--captures", given="", reason=why, fix=fix)
    captures = command.flags.get("--captures")
    if captures is not None and not Path(captures).is_dir():
        why, fix = "there is no such folder", "the folder that the server writes captures into"
        yield Problem(setting="--captures", given=captures, reason=why, fix=fix)
    limit = command.flags.get("--limit")
    if limit is not None and not (_SECONDS.fullmatch(limit) and float(limit) > 0):
        why = "it must be a number of seconds above 0"
        yield Problem(setting="--limit", given=limit, reason=why, fix="--limit 300")
    yield from _key_problems(command.flags.get("--api-key-env"))


def _key_problems(name: str | None) -> Iterator[Problem]:
    if name is None:
        return
    key = os.environ.get(name, "")
    # What was given may be the key itself: it is not shown.
    if not key:
        why = "it takes the name of a variable of the environment, and no variable of this name"
        yield Problem(
            setting="--api-key-env",
            given="",
            reason=f"{why} has a value",
            fix="export SERVER_KEY=…, then --api-key-env SERVER_KEY",
        )
    elif not is_key(key):
        why = "the variable's value has characters that no key has: blanks, line feeds, others"
        yield Problem(setting="--api-key-env", given=name, reason=why, fix="set it anew")


class _Waiting:
    """Shows on stderr how long a window is waited for: a bar on a terminal, lines in a pipe."""

    def __init__(self, job: Attaching) -> None:
        self._job = job
        self._shown: tuple[int, int] | None = None
        self._next_s = 0.0
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("at most"),
            TimeRemainingColumn(),
            console=ERR,
            transient=True,
            disable=not ERR.is_terminal,
        )
        self._task = self._bar.add_task("waiting", total=job.limit_s)
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Show one line."""
        _say(text)

    def waiting(self, waited_s: float, found: Sequence[Found]) -> None:
        """Show the captures so far, and what is left of the time."""
        of = f" of {self._job.known.ranks}" if self._job.known.ranks is not None else ""
        size = sum(each.size for each in found) / _MIB
        text = f"{len(found)}{of} capture(s), {size:.1f} MiB" if found else "no capture yet"
        # The server may answer /start_profile late: the bar is of what is waited for.
        self._bar.update(self._task, description=text, completed=waited_s)
        present = (len(found), sum(each.size for each in found))
        if self._bar.disable and (waited_s >= self._next_s or present != self._shown):
            left = max(0.0, self._job.limit_s - waited_s)
            _say(f"  {text}; at most {left:.0f} s more")
            self._shown, self._next_s = present, waited_s + 10


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _say(text: str, style: str = "") -> None:
    ERR.print(one_line(text), style=style, markup=False, highlight=False, soft_wrap=True)
