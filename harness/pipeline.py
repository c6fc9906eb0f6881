"""The order of the stages; the one module that knows it.

Request ─ validate ─ plan ─ run ─ collect ─ verify ─ analyse ─ report. One value goes in, one
comes out; whatever happens in between, run.json is true.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from harness import __version__, tables
from harness.analyses.operators import linked
from harness.analyses.steps import step_times
from harness.analyses.views import views
from harness.capture import external
from harness.capture.capture import Capture
from harness.capture.collect import collect
from harness.capture.run_folder import clear, files_of, shown
from harness.capture.run_record import RUN_FILE, Consistency, Delivery, RunRecord, request_hash
from harness.compose.validate import problems
from harness.doctor.preflight import check_machine
from harness.errors import ExitCode, MachineError, Problem, RefusedError
from harness.execution.plan import plan, requested
from harness.execution.process import ProgressListener, analyse, run
from harness.execution.protocol import (
    CYCLE_FOLDERS,
    OUTCOME_FILES,
    PLAN_FILE,
    Outcome,
    Plan,
    write_json,
)
from harness.report.markdown import markdown
from harness.report.run import sections
from harness.report.section import Section
from harness.settings.expectations import Expectation
from harness.settings.request import Request
from harness.verification.completeness import completeness
from harness.verification.consistency import consistency
from harness.verification.delivery import verify

_NOT_READ_BACK = "the harness ended before the run was read back; what there is stays in cycles/"


class Finished(Struct, frozen=True, kw_only=True):
    """A run that is over, and what to show of it."""

    record: RunRecord
    summary: tuple[Section, ...]
    traceback: str
    """The workload's, if it raised."""


def run_job(
    request: Request,
    folder: Path,
    *,
    overrides: Sequence[str],
    listener: ProgressListener,
) -> Finished:
    """Carry out one request in `folder`, where its record lies as run.json.

    What the machine cannot do ends there, too, as exit code 4. Raises `RefusedError` before
    anything is written.
    """
    found = problems(request)
    if found:
        raise RefusedError(found)
    clear(folder)
    planned = plan(request, folder)
    write_json(planned, folder / PLAN_FILE)
    record = RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        overrides=tuple(overrides),
        request_hash=request_hash(request),
        versions={"harness": __version__},
        host=socket.gethostname(),
        device=request.device.name,
        requested=requested(request),
        effective=planned.effective,
        recorded_steps=len(planned.recorded),
    )
    write_json(record, folder / RUN_FILE)

    def captured() -> Capture:
        outcome = _run(planned, listener)
        write_json(outcome, folder / OUTCOME_FILES["execute"])
        now = request.profiler.analyse == "now" and outcome.status in {"ok", "failed"}
        limit_s = request.profiler.analyse_timeout_s
        analysis = analyse(planned, listener, limit_s) if now else None
        return collect(planned, *_with_analysis(outcome, analysis))

    return _concluded(record, folder, captured)


def read_run(folder: Path, *, listener: ProgressListener, limit_s: float | None) -> Finished:
    """Read a run folder of the harness again, and complete its verdict.

    The device analyses its captures anew; of torch's profiler, the tables that were kept are
    judged. `limit_s` is for the analysis, null for none. Raises `RefusedError` if the folder is no
    run that this version can read, and `MachineError` if its captures cannot be analysed here; the
    run is then what it was.
    """
    record = _kept(folder, RUN_FILE, RunRecord)
    if record.source:
        why = f"this is what was read from {record.source}, and no run"
        fix = f"python -m harness read {record.source}"
        raise RefusedError([Problem(setting="read", given=str(folder), reason=why, fix=fix)])
    planned = _kept(folder, PLAN_FILE, Plan)
    outcome = _kept(folder, OUTCOME_FILES["execute"], Outcome)
    # It may have been moved since.
    planned = replace(planned, folder=str(folder.absolute()))

    def captured() -> Capture:
        profiler = replace(planned.request.profiler, analyse="now")
        if any(folder.glob(CYCLE_FOLDERS)):
            check_machine(replace(planned.request, profiler=profiler), listener.output)
        analysis = analyse(planned, listener, limit_s)
        if analysis is not None and analysis.status == "unavailable":
            raise MachineError(analysis.reason)
        return collect(planned, *_with_analysis(outcome, analysis))

    return _concluded(record, folder, captured)


def read_capture(path: Path, folder: Path) -> Finished:
    """Take in a capture that another program recorded, as a run in `folder`.

    The capture is linked to, and never changed. Raises `RefusedError` if there is anything
    in the folder already, or nothing that can be read; then nothing is written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError([_no_place(folder, "there is something in its place already")])
    foreign = external.read(path)
    info = foreign.info
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"the folder cannot be made: {error.strerror}"
        raise RefusedError([_no_place(folder, why)]) from error
    record = RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        versions={"harness": __version__},
        host=info.host,
        device=info.device,
        source=str(foreign.source),
        requested=info.settings,
        effective=info.settings,
    )
    write_json(record, folder / RUN_FILE)
    more = tuple(_not_requested(each) for each in external.not_requested(info))
    return _concluded(record, folder, lambda: external.keep(foreign, folder), more)


def _no_place(folder: Path, why: str) -> Problem:
    fix = "choose another folder, or remove what is there"
    return Problem(setting="--out", given=str(folder), reason=why, fix=fix)


def _not_requested(expectation: Expectation) -> Delivery:
    return Delivery(
        setting=expectation.setting,
        requested=expectation.requested,
        arrived="",
        status="not_requested",
        expectation=expectation.description,
    )


def _with_analysis(outcome: Outcome, analysis: Outcome | None) -> tuple[Outcome, Outcome | None]:
    """Take an interrupted analysis for none: what was recorded waits for another one."""
    if analysis is None or analysis.status != "interrupted":
        return outcome, analysis
    reason = "interrupted while its captures were analysed; they are kept"
    return replace(outcome, status="interrupted", reason=reason), None


_T = TypeVar("_T")


def _kept(folder: Path, name: str, kind: type[_T]) -> _T:
    """Return what a run wrote into its folder under a name; refuse a folder without it."""
    try:
        return msgspec.json.decode((folder / name).read_bytes(), type=kind)
    except OSError as error:
        lacks = f"it has no {name}: {error.strerror}"
        raise RefusedError([_no_run(folder, lacks)]) from error
    except msgspec.MsgspecError as error:
        lacks = f"its {name} is not one that this version can read: {error}"
        raise RefusedError([_no_run(folder, lacks)]) from error


def _no_run(folder: Path, lacks: str) -> Problem:
    return Problem(
        setting="read",
        given=str(folder),
        reason=f"this is no run folder of the harness, {lacks}",
        fix="python -m harness read outputs/latest, or another folder of a run",
    )


def _concluded(
    record: RunRecord,
    folder: Path,
    captured: Callable[[], Capture],
    more: tuple[Delivery, ...] = (),
) -> Finished:
    """Get the capture, judge what there is, and write it down.

    `more` is what is known of the delivery beside what a check can find.
    """
    try:
        capture = captured()
        outcome = capture.outcome
        nothing = _pending(capture) or outcome.status == "unavailable"
        delivery = () if nothing else verify(capture)
        consistent = () if nothing else consistency(capture)
        if not nothing and capture.analysis is not None:
            delivery += completeness(capture, consistent)
        seen = views(capture)
        tables.keep(seen.analyses, folder / "analyses")
        record = _ended(record, capture, delivery + more, consistent)
        parts = sections(record, seen, str(shown(folder)))
        (folder / "summary.md").write_text(markdown(parts), encoding="utf-8")
        shutil.rmtree(folder / "cycles", ignore_errors=True)
    except KeyboardInterrupt:
        if record.status == "running":
            record = replace(
                record, status="interrupted", exit_code=ExitCode.INTERRUPTED, reason=_NOT_READ_BACK
            )
        raise
    finally:
        if record.status == "running":
            # The harness itself failed; the exception goes on its way.
            record = replace(
                record, status="failed", exit_code=ExitCode.FAILED, reason=_NOT_READ_BACK
            )
        write_json(record, folder / RUN_FILE)
    return Finished(record=record, summary=tuple(parts), traceback=outcome.traceback)


def _run(planned: Plan, listener: ProgressListener) -> Outcome:
    try:
        check_machine(planned.request, listener.output)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error))
    return run(planned, listener)


def _pending(capture: Capture) -> bool:
    """Tell whether there are captures that nothing has analysed yet."""
    return bool(capture.cycle_folders) and capture.analysis is None


def _ended(
    record: RunRecord,
    capture: Capture,
    delivery: tuple[Delivery, ...],
    consistent: tuple[Consistency, ...],
) -> RunRecord:
    """Return the record of a run that is over."""
    outcome, analysis = capture.outcome, capture.analysis
    pending = _pending(capture)
    # Of a capture from elsewhere it may be that nothing is known to have been asked.
    known = bool(delivery or record.source)
    failing = any(item.fails for item in delivery) or any(item.fails for item in consistent)
    delivered = known and not failing
    return replace(
        record,
        status="failed" if outcome.status == "unavailable" else outcome.status,
        verdict="pending" if pending else "delivered" if delivered else "not_delivered",
        exit_code=_exit_code(outcome, delivered=delivered or pending),
        reason=outcome.reason,
        analysis=analysis.reason if analysis else "",
        notes=capture.notes,
        versions=record.versions | outcome.versions,
        device_name=outcome.device_name,
        emulated=outcome.emulated,
        emulation=capture.emulation,
        delivery=delivery,
        consistency=consistent,
        timing=step_times(capture),
        event_counts=capture.event_counts,
        linked=linked(capture),
        files=files_of(capture.folder),
    )


def _exit_code(outcome: Outcome, *, delivered: bool) -> ExitCode:
    if outcome.status == "ok":
        return ExitCode.OK if delivered else ExitCode.NOT_DELIVERED
    return {
        "failed": ExitCode.FAILED,
        "interrupted": ExitCode.INTERRUPTED,
        "unavailable": ExitCode.UNAVAILABLE,
    }[outcome.status]
