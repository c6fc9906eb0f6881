"""A run from its request to its results, carried out in a child process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from harness import files
from harness.capture.capture_record import CaptureRecord
from harness.capture.run_folder import clear, held_run
from harness.capture.run_record import record_of
from harness.configuration.validate import problems
from harness.doctor.preflight import check_machine
from harness.errors import MachineError, RefusedError
from harness.execution.plan import plan
from harness.execution.process import ProgressListener, analyse, run
from harness.execution.protocol import Outcome, Plan, write_json
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished, concluded, prepare
from harness.pipeline.starting import made, nothing, program_of, refuse_unended, started
from harness.settings.request import Request

if TYPE_CHECKING:
    from harness.capture.capture import Capture


def run_job(
    request: Request,
    folder: Path,
    *,
    overrides: Sequence[str],
    listener: ProgressListener,
    begun: Callable[[Path], None] = nothing,
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
    begun: Callable[[Path], None] = nothing,
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
        return concluded(record, folder, captured)


def _recorded(
    request: Request, planned: Plan, run_folder: RunFolder, listener: ProgressListener
) -> Capture:
    """Carry out a plan, let the device analyse what it recorded, and return the capture."""
    profiler = request.profiler
    outcome = _run(request, planned, listener)

    from harness.capture.load import collect_capture, left_by_the_emulator

    # A child that died could not say what it ran on.
    outcome = replace(outcome, emulated=outcome.emulated or left_by_the_emulator(run_folder))
    files.remove_unfinished(run_folder.path)
    write_json(outcome, run_folder.outcome)
    if profiler.analyse == "now" and outcome.status in {"ok", "failed"}:
        analysis = analyse(planned, listener, profiler.analyse_timeout_s)
        if analysis is not None:
            write_json(analysis, run_folder.analysis)
    return collect_capture(run_folder.path)


def _run(request: Request, planned: Plan, listener: ProgressListener) -> Outcome:
    try:
        check_machine(request, listener.output)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error))
    return run(planned, listener, prepare)
