"""A run folder is read again, and a capture from elsewhere is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness import __version__, files
from harness.capture import external
from harness.capture.capture import Capture
from harness.capture.external import keep, missing_originals
from harness.capture.foreign import check_run
from harness.capture.load import collect_capture, load_capture
from harness.capture.requested import Requested, beyond
from harness.capture.run_folder import held_run
from harness.capture.run_record import Delivery, RunRecord
from harness.capture.sources import no_capture
from harness.devices import READABLE
from harness.doctor.preflight import check_analysis
from harness.errors import MachineError, Problem, RefusedError
from harness.execution.plan import trusted
from harness.execution.process import ProgressListener, analyse
from harness.execution.protocol import Plan, read_json, write_json
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished, concluded
from harness.pipeline.starting import made, no_place, nothing, refuse_unended
from harness.settings.expectations import ExpectedSettings


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
            more = _more(capture.expected)
            return concluded(record, folder, lambda: capture, more)
        if not run_folder.cycle_folders():
            capture = load_capture(folder)
            return concluded(record, folder, lambda: capture)
        # The folder may have been moved since, or be another's.
        planned = trusted(read_json(run_folder.plan, Plan), folder)
        return concluded(record, folder, lambda: _analysed(planned, run_folder, listener, limit_s))


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
    requested: Requested | None = None,
    begun: Callable[[Path], None] = nothing,
) -> Finished:
    """Import a capture that another program recorded, as a run in `folder`.

    The capture is linked to, and never changed. `begun` is called with the folder once the record
    is there. With a rank, only the captures of that rank at `path` are imported. It is judged by
    what was `requested`; null: by what its metadata reports.

    Raises:
        RefusedError: There is something in the folder already, or nothing that can be read, or a
            capture of another device than was requested; nothing is written.
        WriteError: The disk is full, or the like. The record says so, if there is room for it.
    """
    refuse_taken(folder, path)
    imported = external.read(path, rank)
    info = imported.info
    _refuse_other_device(path, info.device, requested)
    expected = requested.expected if requested else external.expected_settings(info)
    record = RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        versions={"harness": __version__},
        host=info.host,
        device=info.device,
        source=str(imported.source),
        engine=requested.engine if requested else None,
        rank=rank or 0,
        requested=requested.settings if requested else info.settings,
        effective=info.settings,
    )

    def captured() -> Capture:
        begun(folder)
        keep(imported, folder, requested.expected if requested else None)
        return load_capture(folder)

    with made(folder, "--out"), held_run(folder):
        return concluded(record, folder, captured, _more(expected))


def refuse_taken(folder: Path, capture: Path) -> None:
    """Refuse a folder for results that has anything in it but the capture itself.

    Raises:
        RefusedError: Something is there.
    """
    if not folder.exists():
        return
    own = capture.resolve()
    if not folder.is_dir() or any(path.resolve() != own for path in folder.iterdir()):
        raise RefusedError([no_place(folder, "there is something in its place already")])


def _refuse_other_device(path: Path, device: str, requested: Requested | None) -> None:
    """Refuse a capture of another device; one without any kernel may be of each."""
    if requested is None or device == requested.expected.device or not _has_kernels(device):
        return
    why = f"it was recorded on {device}, and the settings are for {requested.expected.device}"
    fix = f"--requested device={device} and what else was asked for"
    raise RefusedError([no_capture(path, why, fix)])


def _has_kernels(device: str) -> bool:
    return READABLE[device].has_kernels


def _more(expected: ExpectedSettings) -> tuple[Delivery, ...]:
    """Return the deliveries that no check of the capture finds."""
    if expected.asked is not None:
        return beyond(expected)
    return _not_requested(expected.effective)


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
