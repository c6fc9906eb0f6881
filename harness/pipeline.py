"""The order of the stages; the one module that knows it.

Request ─ validate ─ plan ─ run ─ collect ─ verify ─ analyse ─ report. One value goes in, one
comes out; whatever happens in between, run.json is true.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from harness import __version__, report
from harness.analyse import step_times, views
from harness.collect import collect
from harness.config import Request
from harness.devices import DEVICES
from harness.errors import ExitCode, MachineError, RefusedError
from harness.plan import plan, requested
from harness.records import Capture, Delivery, Outcome, Plan, RunRecord, write_json
from harness.run import Watch, run
from harness.validate import problems
from harness.verify import verify

RUN_FILE = "run.json"
_OURS = (
    RUN_FILE,
    "plan.json",
    "outcome.json",
    "steps.jsonl",
    "summary.md",
    "parts",
    "tables",
    "raw",
)
"""What a run leaves in its folder, and what a new run in the same folder replaces."""

_NOT_READ_BACK = "the harness ended before the run was read back; what there is stays in parts/"


def check_machine(request: Request) -> None:
    """Raise `MachineError` for what this machine lacks that can be told without torch."""
    name = request.device.name
    if name not in DEVICES:
        raise MachineError(
            f"device={name}: this version composes and checks {name} profiles, and cannot run them"
            f" yet. To see what is asked: python -m harness check device={name}"
        )
    if importlib.util.find_spec("torch") is None:
        raise MachineError(
            "torch is not installed in this Python. Install it: pip install 'torch>=2.13,<2.14'."
            " What else there is to do: python -m harness doctor"
        )


def request_hash(request: Request) -> str:
    """Return a digest of everything requested but how a sweep is resumed."""
    same = msgspec.to_builtins(request) | {"sweep": None}
    return hashlib.sha256(msgspec.json.encode(same, order="sorted")).hexdigest()[:16]


def finished(request: Request, folder: Path) -> RunRecord | None:
    """Return the record of an earlier, delivered run of the same request in this folder."""
    record = read_record(folder / RUN_FILE)
    if record is None or record.exit_code != ExitCode.OK:
        return None
    return record if record.request_hash == request_hash(request) else None


def read_record(path: Path) -> RunRecord | None:
    """Return the record at `path`; None if there is none, or none that this version can read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


class Finished(Struct, frozen=True, kw_only=True):
    """A run that is over, and what to show of it."""

    record: RunRecord
    summary: tuple[report.Section, ...]
    traceback: str
    """The workload's, if it raised."""


def run_job(
    request: Request,
    folder: Path,
    *,
    overrides: Sequence[str],
    watch: Watch,
) -> Finished:
    """Carry out one request in `folder`, where its record lies as run.json.

    What the machine cannot do ends there, too, as exit code 4. Raises `RefusedError` before
    anything is written.
    """
    found = problems(request)
    if found:
        raise RefusedError(found)
    _clear(folder)
    planned = plan(request, folder)
    record = RunRecord(
        status="running",
        verdict="pending",
        exit_code=None,
        overrides=tuple(overrides),
        request_hash=request_hash(request),
        versions={"harness": __version__},
        host=socket.gethostname(),
        requested=requested(request),
        effective=planned.effective,
        recorded_steps=len(planned.recorded),
    )
    write_json(record, folder / RUN_FILE)
    try:
        outcome = _run(planned, watch)
        capture = collect(planned, outcome)
        delivery = verify(capture) if outcome.status != "cannot" else ()
        record = _ended(record, capture, delivery)
        parts = report.sections(record, views(capture), str(_shown(folder)))
        (folder / "summary.md").write_text(report.markdown(parts), encoding="utf-8")
        shutil.rmtree(folder / "parts", ignore_errors=True)
    except KeyboardInterrupt:
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


def _run(planned: Plan, watch: Watch) -> Outcome:
    try:
        check_machine(planned.request)
    except MachineError as error:
        return Outcome(status="cannot", reason=str(error))
    return run(planned, watch)


def _ended(record: RunRecord, capture: Capture, delivery: tuple[Delivery, ...]) -> RunRecord:
    """Return the record of a run that is over."""
    outcome = capture.outcome
    delivered = bool(delivery) and not any(item.fails for item in delivery)
    return replace(
        record,
        status="failed" if outcome.status == "cannot" else outcome.status,
        verdict="delivered" if delivered else "not_delivered",
        exit_code=_exit_code(outcome, delivered=delivered),
        reason=outcome.reason,
        versions=record.versions | outcome.versions,
        device_name=outcome.device_name,
        delivery=delivery,
        timing=step_times(capture),
        coverage=outcome.coverage,
        files=_files(capture.folder),
    )


def _exit_code(outcome: Outcome, *, delivered: bool) -> ExitCode:
    if outcome.status == "ok":
        return ExitCode.OK if delivered else ExitCode.NOT_DELIVERED
    return {
        "failed": ExitCode.FAILED,
        "interrupted": ExitCode.INTERRUPTED,
        "cannot": ExitCode.CANNOT,
    }[outcome.status]


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in _OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> tuple[str, ...]:
    """Return what there is to read in a run folder: files, and folders with a slash."""
    names = [name for name in ("harness.log", "tables/", "raw/") if (folder / name).exists()]
    return ("summary.md", *names)


def _shown(folder: Path) -> Path:
    """Return the folder as a person would type it from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
