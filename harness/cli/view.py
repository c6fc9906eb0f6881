"""``harness view``: a trace of a run that a viewer draws in full, and the viewer."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct

from harness import files
from harness.across.trace import rank_traces
from harness.capture.foreign import check_capture, check_run
from harness.capture.run_folder import is_run, shown
from harness.capture.run_record import record_of
from harness.cli import signals
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.out_file import file_problems
from harness.cli.progress import ConsoleProgress
from harness.errors import ExitCode, Problem, RefusedError, WriteError, refuse
from harness.paths import RunFolder, SweepFolder
from harness.readers.base import CaptureError
from harness.report.section import Section
from harness.report.terminal import show
from harness.text import word
from harness.view.normalise import Normalised, normalise
from harness.view.server import HOST, TraceServer, ui_folder
from harness.view.sources import no_trace_of_run, traces_at, traces_in
from harness.view.survey import TraceFile

_STEPS: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_PORTS: Final = 65_535
_EMULATED: Final = "emulated: "
_SHOWN: Final = 5


class _Subject(Struct, frozen=True, kw_only=True):
    """What is to be seen."""

    traces: Sequence[TraceFile]
    run: RunFolder | None = None
    """Null for what is no run of the harness."""
    emulated: bool = False
    notes: Sequence[str] = ()


def view(command: Command) -> ExitCode:
    """Write the trace of a run, or of what else has one, and serve the viewer until Ctrl-C."""
    steps, port, problems = _numbers(command.flags)
    out = {} if command.out is None else {"--out": _compressed(command.out)}
    read = [Path(path) for path in command.paths]
    refuse([*problems, *_path_problems(command), *file_problems(out, read)])
    serving = "--trace-only" not in command.flags
    ui = ui_folder() if serving else Path()
    signals.raise_instead()
    path = Path(command.paths[0])
    subject = _subject(path)
    label = _EMULATED if subject.emulated else ""
    with ExitStack() as stack:
        root, target = _target(path, subject, command, stack)
        with ConsoleProgress(ERR):
            try:
                made = normalise(subject.traces, root, target, steps=steps, label=label)
            except WriteError:
                if not serving or subject.run is None or os.access(root, os.W_OK):
                    raise
                kept = tempfile.TemporaryDirectory(prefix="harness-view-")
                root = Path(stack.enter_context(kept))
                made = normalise(subject.traces, root, root / target.name, steps=steps, label=label)
            except CaptureError as error:
                fix = "name another run or trace, or record it again"
                problem = Problem(setting="view", given=str(path), reason=str(error), fix=fix)
                raise RefusedError([problem]) from error
        show([_said(made, subject)], OUT)
        if serving:
            _serve(TraceServer(ui, made.path, port), made, open_browser=_opens(command.flags))
    return ExitCode.OK


def _numbers(
    flags: Mapping[str, str],
) -> tuple[tuple[int, int] | None, int, list[Problem]]:
    """Return the steps and the port, and what is wrong with them."""
    steps, port, problems = None, 0, []
    if (given := flags.get("--steps")) is not None:
        match = _STEPS.fullmatch(given)
        if match and int(match[1]) <= int(match[2] or match[1]):
            steps = (int(match[1]), int(match[2] or match[1]))
        else:
            why, fix = "it must be a step, or the first and the last one", "--steps 2-4"
            problems.append(Problem(setting="--steps", given=given, reason=why, fix=fix))
    if (given := flags.get("--port")) is not None:
        if given.isascii() and given.isdecimal() and len(given) <= 5 and int(given) <= _PORTS:  # noqa: PLR2004
            port = int(given)
        else:
            why = f"it must be a number from 1 to {_PORTS}; 0 is any free one"
            problems.append(Problem(setting="--port", given=given, reason=why, fix="--port 9001"))
    return steps, port, problems


def _path_problems(command: Command) -> Iterator[Problem]:
    for text in command.overrides:
        setting, _, given = text.partition("=")
        why = "view takes no settings, and no path has this name"
        yield Problem(setting=setting, given=given, reason=why, fix="leave it out")
    if len(command.paths) != 1:
        why, given = "view takes one path: a run, a trace or a capture", " ".join(command.paths)
        fix = "python -m harness view outputs/latest"
        yield Problem(setting="view", given=given, reason=why, fix=fix)
    only = "--trace-only" in command.flags
    for flag in ("--port", "--no-browser") if only else ("--out",):
        if flag in command.flags:
            why = "nothing is served with --trace-only" if only else "it belongs to --trace-only"
            fix = "leave it out" if only else "add --trace-only, or leave it out"
            yield Problem(setting=flag, given=command.flags[flag], reason=why, fix=fix)


def _subject(path: Path) -> _Subject:
    """Find the traces at a path.

    Raises:
        RefusedError: There are none, or the path is a sweep.
    """
    if SweepFolder(path).record.exists():
        jobs = [str(shown(job.path)) for job in SweepFolder(path).jobs()]
        listed = ", ".join(jobs[:_SHOWN]) + (", …" if len(jobs) > _SHOWN else "")
        why = f"this is a sweep of {len(jobs)} runs, and a run is viewed: {listed}"
        fix = f"python -m harness view {word(jobs[0])}" if jobs else "run the sweep first"
        raise RefusedError([Problem(setting="view", given=str(path), reason=why, fix=fix)])
    if not is_run(path):
        check_capture(path)
        return _Subject(traces=traces_at(path))
    check_run(path)
    run = RunFolder(path)
    notes: list[str] = []
    if run.ranks.is_dir():
        traces, notes = rank_traces(run)
    else:
        traces = [TraceFile(trace) for trace in traces_in(run)]
    if not traces:
        raise no_trace_of_run(run)
    record = record_of(path)
    emulated = record is not None and record.emulated
    return _Subject(traces=traces, run=run, emulated=emulated, notes=notes)


def _target(path: Path, subject: _Subject, command: Command, stack: ExitStack) -> tuple[Path, Path]:
    """Return the folder that the trace is written into, and the file."""
    if command.out is not None:
        name = Path(_compressed(command.out))
        files.make_root(name.parent)
        return name.parent, name
    if subject.run is not None:
        return subject.run.path, subject.run.viewed_trace
    if "--trace-only" in command.flags:
        why, fix = "it is no run, so the new trace has no place", "--out trace.view.json.gz"
        refuse([Problem(setting="view", given=str(path), reason=why, fix=fix)])
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-view-")))
    return folder, folder / "trace.json.gz"


def _compressed(out: str) -> str:
    """Return the name of a compressed trace; that of a folder stays."""
    return out if out.endswith((".gz", "/")) or Path(out).is_dir() else f"{out}.gz"


def _said(made: Normalised, subject: _Subject) -> Section:
    """Say what the trace has, and what it has not."""
    out = made.path
    counts = (
        (made.cut, "are of other steps, and left out"),
        (made.broken, "have no time that can be read, and are left out"),
        (made.far, "are weeks away from the others, and are left out"),
        (made.pointlike, "have no duration, and are drawn as points"),
    )
    notes = [f"{shown(out.absolute())}: {made.written:,} of {made.total:,} events"]
    if subject.emulated:
        notes.append("emulated: the device's times are invented")
    if made.lanes:
        notes.append(
            f"{made.moved:,} events have lanes of their own ({made.lanes:,}): they, or those around"
            " them, overlap others on their thread without nesting"
        )
    notes += [f"{count:,} events {what}" for count, what in counts if count]
    return Section(title="Trace for a viewer", notes=(*notes, *subject.notes, *made.notes))


def _opens(flags: Mapping[str, str]) -> bool:
    return "--no-browser" not in flags


def _serve(server: TraceServer, made: Normalised, *, open_browser: bool) -> None:
    """Serve until Ctrl-C."""
    try:
        with server:
            url = server.url(made.window_ns)
            print(f"\n{url}\n", flush=True)
            print(_how_to_open(server, url, open_browser=open_browser), flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        print("ended", flush=True)


def _how_to_open(server: TraceServer, url: str, *, open_browser: bool) -> str:
    """Open the browser if that is wanted, and say what is left to do."""
    port = server.server_port
    if not open_browser:
        return "open this address in a browser of this machine; Ctrl-C ends it"
    # The page is asked for once the server answers.
    if _has_screen() and webbrowser.open(url):
        return "opened in your browser; Ctrl-C ends it"
    return (
        "no browser can be opened here. On the machine with your browser, forward the port,\n"
        f"and open the address there: ssh -L {port}:{HOST}:{port} THIS_MACHINE\n"
        "Ctrl-C ends it"
    )


def _has_screen() -> bool:
    """Tell whether a browser has a window: one for terminals would take this one over."""
    words = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in words)
