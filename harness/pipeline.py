"""The order of the stages; the one module that knows it.

Request ─ validate ─ plan ─ run ─ collect ─ verify ─ analyse ─ report. One value goes in, one
comes out; whatever happens in between, run.json is true.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from harness import __version__, intake, rendering, report, tables
from harness.analyse import views
from harness.analyses.operators import linked
from harness.analyses.steps import step_times
from harness.collect import collect
from harness.completeness import completeness
from harness.config import Request
from harness.consistency import consistency
from harness.devices.torch_profiler import TorchExperimental
from harness.diagnoses import cuda, host
from harness.diagnoses.npu import lacks as npu_lacks
from harness.emulator.build import build
from harness.errors import ExitCode, MachineError, Problem, RefusedError
from harness.machine import Machine
from harness.plan import plan, requested
from harness.records import (
    CALLS_FILE,
    CAPTURES,
    OUTCOME_FILES,
    PLAN_FILE,
    RUN_FILE,
    Capture,
    Consistency,
    Delivery,
    Evidence,
    Outcome,
    Plan,
    RunRecord,
    write_json,
)
from harness.run import Watch, analyse, run
from harness.validate import problems
from harness.verify import verify

_OURS = (
    RUN_FILE,
    PLAN_FILE,
    CALLS_FILE,
    *OUTCOME_FILES.values(),
    "steps.jsonl",
    "summary.md",
    "parts",
    "tables",
    "analyses",
    "raw",
)
"""What a run leaves in its folder, and what a new run in the same folder replaces."""

_NOT_READ_BACK = "the harness ended before the run was read back; what there is stays in parts/"


def check_machine(request: Request, tell: Callable[[str], None]) -> None:
    """Raise `MachineError` for what this machine lacks that can be told without torch.

    `tell` is told what takes a while.
    """
    if importlib.util.find_spec("torch") is None:
        raise MachineError(
            "torch is not installed in this Python. Install it: pip install 'torch>=2.13,<2.14'."
            " What else there is to do: python -m harness doctor"
        )
    if request.rehearsal.emulate:
        build(tell=tell)
    elif request.device.name == "npu":
        now = request.profiler.analyse == "now"
        lacks = npu_lacks(Machine(), analyse=now and "device" in request.profiler.activities)
        if lacks:
            raise MachineError(lacks)
    elif lacks := _uncounted(request):
        raise MachineError(lacks)


def _uncounted(request: Request) -> str:
    """Say which counters that torch's profiler was asked for this machine does not have."""
    experimental = request.profiler.experimental
    assert isinstance(experimental, TorchExperimental)
    lacks = [host.uncounted(Machine(), experimental.performance_events)]
    if experimental.profiler_metrics:
        lacks.append(cuda.uncounted(Machine()))
    return " ".join(filter(None, lacks))


def request_hash(request: Request) -> str:
    """Return a digest of all that is measured: not how a sweep is resumed, or its table judged."""
    same = msgspec.to_builtins(request) | {"sweep": None}
    del same["analysis"], same["merge"]
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
    summary: tuple[rendering.Section, ...]
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
        outcome = _run(planned, watch)
        write_json(outcome, folder / OUTCOME_FILES["execute"])
        now = request.profiler.analyse == "now" and outcome.status in {"ok", "failed"}
        limit_s = request.profiler.analyse_timeout_s
        analysis = analyse(planned, watch, limit_s) if now else None
        return collect(planned, *_with_analysis(outcome, analysis))

    return _concluded(record, folder, captured)


def read_run(folder: Path, *, watch: Watch, limit_s: float | None) -> Finished:
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
        raise RefusedError([Problem(setting="read", given=str(folder), allowed=why, fix=fix)])
    planned = _kept(folder, PLAN_FILE, Plan)
    outcome = _kept(folder, OUTCOME_FILES["execute"], Outcome)
    # It may have been moved since.
    planned = replace(planned, folder=str(folder.absolute()))

    def captured() -> Capture:
        profiler = replace(planned.request.profiler, analyse="now")
        if any(folder.glob(CAPTURES)):
            check_machine(replace(planned.request, profiler=profiler), watch.output)
        analysis = analyse(planned, watch, limit_s)
        if analysis is not None and analysis.status == "cannot":
            raise MachineError(analysis.reason)
        return collect(planned, *_with_analysis(outcome, analysis))

    return _concluded(record, folder, captured)


def is_run(folder: Path) -> bool:
    """Tell whether a folder is one of the harness's own runs, whole or not."""
    return any((folder / name).exists() for name in (RUN_FILE, PLAN_FILE))


def read_capture(path: Path, folder: Path) -> Finished:
    """Take in a capture that another program recorded, as a run in `folder`.

    The capture is linked to, and never changed. Raises `RefusedError` if there is anything
    in the folder already, or nothing that can be read; then nothing is written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError([_no_place(folder, "there is something in its place already")])
    foreign = intake.read(path)
    told = foreign.told
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
        host=told.host,
        device=told.device,
        source=str(foreign.source),
        requested=told.settings,
        effective=told.settings,
    )
    write_json(record, folder / RUN_FILE)
    more = tuple(_not_asked(each) for each in intake.not_asked(told))
    return _concluded(record, folder, lambda: intake.keep(foreign, folder), more)


def _no_place(folder: Path, why: str) -> Problem:
    fix = "choose another folder, or remove what is there"
    return Problem(setting="--out", given=str(folder), allowed=why, fix=fix)


def _not_asked(evidence: Evidence) -> Delivery:
    return Delivery(
        setting=evidence.setting,
        asked=evidence.asked,
        arrived="",
        status="not_asked",
        evidence=evidence.demand,
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
        allowed=f"this is no run folder of the harness, {lacks}",
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
        nothing = _pending(capture) or outcome.status == "cannot"
        delivery = () if nothing else verify(capture)
        consistent = () if nothing else consistency(capture)
        if not nothing and capture.analysis is not None:
            delivery += completeness(capture, consistent)
        seen = views(capture)
        tables.keep(seen.analyses, folder / "analyses")
        record = _ended(record, capture, delivery + more, consistent)
        parts = report.sections(record, seen, str(_shown(folder)))
        (folder / "summary.md").write_text(rendering.markdown(parts), encoding="utf-8")
        shutil.rmtree(folder / "parts", ignore_errors=True)
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


def _run(planned: Plan, watch: Watch) -> Outcome:
    try:
        check_machine(planned.request, watch.output)
    except MachineError as error:
        return Outcome(status="cannot", reason=str(error))
    return run(planned, watch)


def _pending(capture: Capture) -> bool:
    """Tell whether there are captures that nothing has analysed yet."""
    return bool(capture.captures) and capture.analysis is None


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
        status="failed" if outcome.status == "cannot" else outcome.status,
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
        coverage=capture.coverage,
        linked=linked(capture),
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
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> tuple[str, ...]:
    """Return what there is to read in a run folder: files, and folders with a slash."""
    left = ("harness.log", "tables/", "analyses/", "raw/")
    return ("summary.md", *(name for name in left if (folder / name).exists()))


def _shown(folder: Path) -> Path:
    """Return the folder as a person would type it from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
