"""The order of the stages of a run; nothing else knows it.

Request ─ validate ─ plan ─ run ─ collect ─ verify ─ analyse ─ report. One value goes in, one
comes out; whatever happens in between, run.json is true.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from harness import __version__, files, tables
from harness.analyses.operators import linked
from harness.analyses.registry import run_analyses
from harness.analyses.steps import step_times
from harness.capture import external
from harness.capture.capture import Capture
from harness.capture.capture_record import CaptureRecord
from harness.capture.external import keep, missing_originals
from harness.capture.foreign import check_run
from harness.capture.kept_record import kept
from harness.capture.load import collect_capture, left_by_the_emulator, load_capture
from harness.capture.provenance import RanProgram, ran_program, this_program
from harness.capture.run_folder import clear, files_of, held_run, make, shown
from harness.capture.run_record import Consistency, Delivery, RunRecord, record_of, request_hash
from harness.configuration.validate import problems
from harness.doctor.preflight import check_analysis, check_machine
from harness.errors import ExitCode, MachineError, Problem, RefusedError, WriteError
from harness.execution.plan import plan, requested, trusted
from harness.execution.process import ProgressListener, analyse, run
from harness.execution.protocol import Outcome, Plan, read_json, write_json
from harness.paths import RunFolder
from harness.report.markdown import markdown
from harness.report.run import sections
from harness.report.section import Section
from harness.settings.request import Request
from harness.verification.completeness import completeness
from harness.verification.consistency import consistency
from harness.verification.delivery import verify
from harness.workloads.program import Program


class Finished(Struct, frozen=True, kw_only=True):
    """A run that is over, and the sections that show it."""

    record: RunRecord
    summary: tuple[Section, ...]
    traceback: str
    """The workload's, if it raised."""
    analyses: Mapping[str, pl.DataFrame]
    """The tables of its analyses, by name; empty ones included."""


def _nothing(_folder: Path) -> None:
    """Do nothing when a run begins."""


def run_job(
    request: Request,
    folder: Path,
    *,
    overrides: Sequence[str],
    listener: ProgressListener,
    begun: Callable[[Path], None] = _nothing,
) -> Finished:
    """Carry out one request in `folder`, where its record is written as run.json.

    A run that this machine cannot do is recorded there, too, with exit code 4. `begun` is called
    with the folder once the record is there.

    Raises:
        RefusedError: The request is not valid, or a run is going on there; nothing is written.
        WriteError: The disk is full, or the like. The record says so; if there is no room even for
            that, nothing is left.
    """
    if invalid := problems(request):
        raise RefusedError(invalid)
    planned = plan(request, folder)
    return run_process(request, planned, overrides=overrides, listener=listener, begun=begun)


def run_process(
    request: Request,
    planned: Plan,
    *,
    overrides: Sequence[str],
    listener: ProgressListener,
    begun: Callable[[Path], None] = _nothing,
) -> Finished:
    """Carry out the plan of a valid request for one process, perhaps one rank of a job of several.

    Raises:
        RefusedError: A run is going on there; nothing is written.
        WriteError: As for `run_job`.
    """
    folder = Path(planned.folder)
    run_folder = RunFolder(folder)
    record = started(request, planned, overrides, program_of(request))

    def captured() -> Capture:
        begun(folder)
        write_json(planned, run_folder.plan)
        write_json(CaptureRecord(expected=planned.recording.expected), run_folder.capture)
        return _recorded(request, planned, run_folder, listener)

    with made(folder, "hydra.run.dir"), held_run(folder):
        refuse_unended(record_of(folder), folder)
        clear(folder)
        return _concluded(record, folder, captured)


class OpenRun:
    """A run that the calling process records itself. It ends by an outcome."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcome: Outcome | None = None
        """To be set before the run is left."""


@contextmanager
def open_run(request: Request, planned: Plan, *, overrides: Sequence[str]) -> Iterator[OpenRun]:
    """Begin a run that this process records, and leave it recorded: `read_run` completes it.

    Where the block leaves no outcome, the record says that the harness has ended too soon.

    Raises:
        RefusedError: A run is going on in the folder; nothing is written.
        WriteError: The disk is full, or the like.
    """
    folder = Path(planned.folder)
    run_folder, run = RunFolder(folder), OpenRun(planned)
    record = started(request, planned, overrides, this_program())
    with made(folder, "out"), held_run(folder):
        refuse_unended(record_of(folder), folder)
        clear(folder)
        with kept(record, folder) as ending:
            write_json(planned, run_folder.plan)
            write_json(CaptureRecord(expected=planned.recording.expected), run_folder.capture)
            yield run
            outcome = run.outcome
            if outcome is not None:
                files.remove_unfinished(folder)
                write_json(outcome, run_folder.outcome)
                ending.record = _left(record, outcome)


@contextmanager
def made(folder: Path, setting: str) -> Iterator[None]:
    """Make a folder for a block; if that leaves nothing, the folder goes again."""
    new = make(folder, setting)
    try:
        yield
    except WriteError:
        files.remove_empty(new)
        raise


def program_of(request: Request) -> RanProgram | None:
    """Return the user's program that a request runs, if it runs one."""
    return ran_program(request.workload) if isinstance(request.workload, Program) else None


def started(
    request: Request, planned: Plan, overrides: Sequence[str], program: RanProgram | None
) -> RunRecord:
    """Return the record of a run that begins."""
    return RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        records=planned.recording.records,
        overrides=tuple(overrides),
        request_hash=request_hash(request),
        versions={"harness": __version__},
        host=socket.gethostname(),
        device=request.device.name,
        program=program,
        requested=requested(request),
        effective=planned.recording.effective,
        recorded_steps=len(planned.recording.recorded),
        rank=planned.recording.rank,
        world_size=planned.recording.world_size,
    )


def _recorded(
    request: Request, planned: Plan, run_folder: RunFolder, listener: ProgressListener
) -> Capture:
    """Carry out a plan, let the device analyse what it recorded, and return the capture."""
    profiler = request.profiler
    outcome = _run(request, planned, listener)
    # A child that died could not say what it ran on.
    outcome = replace(outcome, emulated=outcome.emulated or left_by_the_emulator(run_folder))
    files.remove_unfinished(run_folder.path)
    write_json(outcome, run_folder.outcome)
    if profiler.analyse == "now" and outcome.status in {"ok", "failed"}:
        analysis = analyse(planned, listener, profiler.analyse_timeout_s)
        if analysis is not None:
            write_json(analysis, run_folder.analysis)
    return collect_capture(run_folder.path)


def read_run(folder: Path, *, listener: ProgressListener, limit_s: float | None) -> Finished:
    """Read a run folder again, and complete its verdict; also that of an imported capture.

    The device analyses the captures of its own profiler anew; otherwise, the tables that were kept
    are checked. `limit_s` is for the analysis, null for none.

    Raises:
        RefusedError: It is no run folder that this version can read; or it is in use, or lacks
            files that the check needs. Nothing is changed.
        MachineError: The captures cannot be analysed on this machine. The run stays what it was.
        WriteError: The disk is full, or the like. The run stays what it was.
    """
    run_folder = RunFolder(folder)
    check_run(folder)
    with held_run(folder):
        record = read_json(run_folder.record, RunRecord)
        refuse_unended(record, folder)
        if record.source:
            if missing := missing_originals(folder):
                raise RefusedError([_original_is_gone(folder, missing[0])])
            capture = load_capture(folder)
            more = _not_requested(capture.expected.effective)
            return _concluded(record, folder, lambda: capture, more)
        if not run_folder.cycle_folders():
            capture = load_capture(folder)
            return _concluded(record, folder, lambda: capture)
        # The folder may have been moved since, or be another's.
        planned = trusted(read_json(run_folder.plan, Plan), folder)
        return _concluded(record, folder, lambda: _analysed(planned, run_folder, listener, limit_s))


def _analysed(
    planned: Plan, run_folder: RunFolder, listener: ProgressListener, limit_s: float | None
) -> Capture:
    """Let the device analyse its captures anew, and return the capture."""
    check_analysis(planned, listener.output)
    before = files.read_all(run_folder.analysis) if run_folder.analysis.exists() else None
    analysis = analyse(planned, listener, limit_s)
    assert analysis is not None  # There are captures.
    if analysis.status == "unavailable":
        run_folder.analysis.unlink(missing_ok=True)
        if before is not None:
            files.write(run_folder.path, run_folder.analysis, before)
        raise MachineError(analysis.reason)
    write_json(analysis, run_folder.analysis)
    return collect_capture(run_folder.path)


def read_capture(
    path: Path,
    folder: Path,
    *,
    rank: int | None = None,
    begun: Callable[[Path], None] = _nothing,
) -> Finished:
    """Import a capture that another program recorded, as a run in `folder`.

    The capture is linked to, and never changed. `begun` is called with the folder once the record
    is there. With a rank, only the captures of that rank at `path` are imported.

    Raises:
        RefusedError: There is something in the folder already, or nothing that can be read; nothing
            is written.
        WriteError: The disk is full, or the like. The record says so, if there is room for it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError([no_place(folder, "there is something in its place already")])
    imported = external.read(path, rank)
    info = imported.info
    record = RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        versions={"harness": __version__},
        host=info.host,
        device=info.device,
        source=str(imported.source),
        rank=rank or 0,
        requested=info.settings,
        effective=info.settings,
    )

    def captured() -> Capture:
        begun(folder)
        keep(imported, folder)
        return load_capture(folder)

    with made(folder, "--out"), held_run(folder):
        return _concluded(record, folder, captured, _not_requested(info.settings))


def no_place(folder: Path, why: str) -> Problem:
    """Return the problem of a folder that results cannot be put into."""
    fix = "choose another folder, or remove what is there"
    return Problem(setting="--out", given=str(folder), reason=why, fix=fix)


def refuse_unended(record: RunRecord | None, folder: Path) -> None:
    """Refuse a run that goes on, also where the file system has no locks."""
    if record is not None and record.life == "alive":
        fix = "wait until it has ended"
        raise RefusedError([Problem(setting=str(folder), given="", reason=record.unended, fix=fix)])


def _original_is_gone(folder: Path, original: Path) -> Problem:
    reason = f"{original}, which was read, is no longer there, and the checks look at its files"
    fix = "put it back; the tables and the report of the first reading are still here"
    return Problem(setting="read", given=str(folder), reason=reason, fix=fix)


def _not_requested(settings: Mapping[str, Any]) -> tuple[Delivery, ...]:
    """Return the deliveries of the settings that an imported capture was recorded without."""
    return tuple(
        Delivery(
            setting=expectation.setting,
            requested=expectation.requested,
            arrived="",
            status="not_requested",
            expectation=expectation.description,
        )
        for expectation in external.not_requested(settings)
    )


def _concluded(
    record: RunRecord,
    folder: Path,
    captured: Callable[[], Capture],
    more: tuple[Delivery, ...] = (),
) -> Finished:
    """Get the capture, check it, and write the results; run.json is true meanwhile, and after.

    `record` is its first state. `more` is added to the delivery that the checks find.
    """
    run_folder = RunFolder(folder)
    with kept(record, folder) as ending:
        capture = captured()
        outcome = capture.outcome
        nothing = _pending(capture) or outcome.status == "unavailable"
        delivery = () if nothing else verify(capture)
        consistent = () if nothing else consistency(capture)
        if not nothing and capture.analysis is not None:
            delivery += completeness(capture, consistent)
        analyses = run_analyses(capture)
        filled = {name: table for name, table in analyses.items() if not table.is_empty()}
        tables.keep(filled, run_folder.analyses, folder)
        ended = _ended(record, capture, delivery + more, consistent)
        parts = sections(ended, analyses, str(shown(folder)))
        files.write(folder, run_folder.summary, markdown(parts).encode(errors="backslashreplace"))
        shutil.rmtree(run_folder.cycles, ignore_errors=True)
        ending.record = ended
    return Finished(
        record=ended, summary=tuple(parts), traceback=outcome.traceback, analyses=analyses
    )


def _run(request: Request, planned: Plan, listener: ProgressListener) -> Outcome:
    try:
        check_machine(request, listener.output)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error))
    return run(planned, listener)


def _pending(capture: Capture) -> bool:
    """Tell whether there are captures that are not analysed yet."""
    return bool(capture.cycle_folders) and capture.analysis is None


def _left(record: RunRecord, outcome: Outcome) -> RunRecord:
    """Return the record of a run that is over and not read yet."""
    return replace(
        record,
        writer=None,
        status="failed" if outcome.status == "unavailable" else outcome.status,
        verdict="pending",
        exit_code=_exit_code(outcome, delivered=True),
        reason=outcome.reason,
        notes=outcome.notes,
        versions=record.versions | outcome.versions,
        device_name=outcome.device_name,
        program=_ended_program(record, outcome),
        emulated=outcome.emulated,
        event_counts=outcome.event_counts,
    )


def _ended(
    record: RunRecord,
    capture: Capture,
    delivery: tuple[Delivery, ...],
    consistent: tuple[Consistency, ...],
) -> RunRecord:
    """Return the record of a run that is over."""
    outcome, analysis = capture.outcome, capture.analysis
    pending = _pending(capture)
    # The metadata of an imported capture may report no settings at all.
    # Nothing is requested of a rank that does not record.
    checked = bool(delivery or record.source or not record.records)
    failing = any(item.fails for item in delivery) or any(item.fails for item in consistent)
    delivered = checked and not failing
    return replace(
        record,
        writer=None,
        status="failed" if outcome.status == "unavailable" else outcome.status,
        verdict="pending" if pending else "delivered" if delivered else "not_delivered",
        exit_code=_exit_code(outcome, delivered=delivered or pending),
        reason=outcome.reason,
        analysis=analysis.reason if analysis else "",
        notes=capture.notes,
        versions=record.versions | outcome.versions,
        device_name=outcome.device_name,
        program=_ended_program(record, outcome),
        emulated=outcome.emulated,
        emulation=capture.emulation,
        delivery=delivery,
        consistency=consistent,
        timing=step_times(capture),
        event_counts=capture.event_counts,
        linked=linked(capture),
        files=files_of(capture.folder),
    )


def _ended_program(record: RunRecord, outcome: Outcome) -> RanProgram | None:
    if record.program is None or outcome.program is None:
        return record.program
    end = outcome.program
    return replace(record.program, exit_code=end.exit_code, steps=end.steps)


def _exit_code(outcome: Outcome, *, delivered: bool) -> ExitCode:
    if outcome.status == "ok":
        return ExitCode.OK if delivered else ExitCode.NOT_DELIVERED
    return {
        "failed": ExitCode.FAILED,
        "interrupted": ExitCode.INTERRUPTED,
        "unavailable": ExitCode.UNAVAILABLE,
    }[outcome.status]
