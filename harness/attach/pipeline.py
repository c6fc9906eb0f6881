"""The order of a window: asked for, waited for, read as a run, and judged."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from harness import __version__
from harness.across.reading import read_rank_folder
from harness.attach.captures import Watch, taken_over
from harness.attach.engines import Engine, Known
from harness.attach.http import Server
from harness.attach.window import Asking, Listener, Window, hold
from harness.capture.foreign import check_capture
from harness.capture.requested import Requested
from harness.capture.run_folder import shown
from harness.capture.run_record import READ, EngineWindow, RunRecord
from harness.capture.sources import RankFolder, rank_folder
from harness.engines.exporting import Export
from harness.engines.requested import of_export
from harness.errors import ExitCode, HarnessError, NotDeliveredError, RefusedError, WindowError
from harness.execution.protocol import write_json
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished
from harness.pipeline.reading import read_capture
from harness.settings.expectations import Beyond
from harness.settings.request import Request
from harness.text import one_line

_EVERY: Final = f"{READ} (every rank)"
_INTERRUPTED: Final = "interrupted; the server was asked to stop the window"


class Attaching(Struct, frozen=True, kw_only=True):
    """All that a window needs."""

    request: Request
    done: Export
    """The settings, in the engine's words."""
    server: Server
    engine: Engine
    known: Known
    limit_s: float
    folder: Path
    """Of the run."""
    captures: Path
    """Where captures appear, as this machine sees it."""

    @property
    def window(self) -> EngineWindow:
        """Who is asked, and for what, as the record keeps it."""
        return EngineWindow(
            engine=self.engine.name,
            version=self.known.version,
            url=self.server.url,
            body=self.done.values,
            ranks=self.known.ranks,
        )


def attach(job: Attaching, listener: Listener, begun: Callable[[Path], None]) -> Finished | Window:
    """Hold a window and read what it left; return the window itself if it left nothing.

    Raises:
        NotDeliveredError: No step was recorded within the limit; or what it left cannot be read.
        WindowError: The same, of a window that broke off.
        MachineError: The server does not begin a window.
        WriteError: The disk is full, or the like.
    """
    watch = Watch(job.captures)
    asking = Asking(
        server=job.server,
        engine=job.engine,
        body=job.done.text.encode(),
        ranks=job.known.ranks,
        limit_s=job.limit_s,
    )
    run = RunFolder(job.folder)
    try:
        window = hold(asking, watch, listener)
        if not window.found:
            return window
        if job.captures != run.captures.absolute():
            taken_over(list(window.found), run.captures, run.path)
    except KeyboardInterrupt:
        write_json(_interrupted(job), run.record)
        raise
    listener.say(f"{len(window.found)} capture(s); reading them")
    try:
        return _read(job, window, begun)
    except RefusedError as error:
        # Something was run: it is no refusal any more.
        raise _unread(job, window, error) from error


def _unread(job: Attaching, window: Window, error: RefusedError) -> HarnessError:
    """Return what to say of a window whose captures cannot be read."""
    place = shown(RunFolder(job.folder).captures)
    if not window.ended and not window.trouble:
        # A profiler that is stopped before any step writes a trace without events.
        return NotDeliveredError(
            f"no step was recorded within {job.limit_s:g} s: does the server get requests? What it"
            f" wrote is in {place}"
        )
    why = "; ".join(one_line(problem.reason) for problem in error.problems)
    said = f"what the window left in {place} cannot be read: {why}"
    if window.trouble:
        return WindowError(f"{window.trouble}; {said}")
    return NotDeliveredError(said)


def _read(job: Attaching, window: Window, begun: Callable[[Path], None]) -> Finished:
    path = RunFolder(job.folder).captures.resolve()
    check_capture(path)
    ranks = rank_folder(path)
    more = [*_beyond(job, window), *(() if ranks else _lacking(job, window))]
    requested = of_export(job.request, job.done, job.window, more, window.trouble)
    if ranks is None:
        return read_capture(path, job.folder, requested=requested, begun=begun)
    ranks = replace(ranks, lost=(*ranks.lost, *_lost(job, window, ranks)))
    return read_rank_folder(ranks, job.folder, requested=requested, begun=begun)


def _beyond(job: Attaching, window: Window) -> Iterator[Beyond]:
    """Yield what is known of the window beside its captures."""
    if not window.ended:
        steps = job.request.profiler.schedule.active
        why = f"the window did not end within {job.limit_s:g} s: does the server get requests?"
        yield Beyond(
            setting="profiler.schedule",
            requested=f"{steps} recorded steps",
            arrived="the window was cut short",
            reason=window.trouble or why,
            fails=True,
        )
    beside = f"{job.engine.name} leaves no capture of {job.engine.unrecorded}"
    for each in window.beside:
        beside += f"; that of its frontend is not read: {each.path}"
    if job.known.ranks is None:
        beside += "; and it does not say how many ranks it has"
    yield Beyond(setting="other processes", requested="", reason=beside)


def _lacking(job: Attaching, window: Window) -> Iterator[Beyond]:
    """Yield that ranks are missing, where what came is of one rank, or of none that is stated."""
    number = len(window.found)
    if job.known.ranks is not None and number < job.known.ranks:
        reason = f"the server has {job.known.ranks} ranks, and {number} left a capture"
        yield Beyond(
            setting=_EVERY, requested="every rank", arrived="not all", reason=reason, fails=True
        )


def _lost(job: Attaching, window: Window, ranks: RankFolder) -> tuple[str, ...]:
    """Return which ranks are missing, by what the server says."""
    if job.known.ranks is None or len(window.found) >= job.known.ranks:
        return ()
    missing = [number for number in range(job.known.ranks) if number not in ranks.ranks]
    return tuple(f"rank {number} left no capture" for number in missing)


def _interrupted(job: Attaching) -> RunRecord:
    """Return the record of a window that was stopped; what it left is not read."""
    requested: Requested = of_export(job.request, job.done, job.window)
    return RunRecord(
        status="interrupted",
        verdict="pending",
        exit_code=ExitCode.INTERRUPTED,
        reason=_INTERRUPTED,
        versions={"harness": __version__},
        host=socket.gethostname(),
        device=job.request.device.name,
        source=str(RunFolder(job.folder).captures.absolute()),
        engine=job.window,
        requested=requested.settings,
    )
