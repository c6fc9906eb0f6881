"""Run the loop of a plan: warm-up, baseline, profiled steps; the `Recorder` records them.

Imported in the child process only: this is where torch is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import torch

from harness import files
from harness.devices import DEVICES
from harness.errors import MachineError, RecorderError, WriteError
from harness.execution.protocol import (
    Outcome,
    Plan,
    Progress,
    RecordingPlan,
    ReportProgress,
    Status,
)
from harness.execution.raised import described, traceback_of
from harness.execution.rank_watch import watch_of
from harness.execution.recorder import Recorder
from harness.execution.tested import untested
from harness.paths import RunFolder
from harness.stopping import Interrupted
from harness.tables.thread_counts import ThreadCounts
from harness.workloads.base import BuiltWorkload, Setup, Step


def execute(plan: Plan, report_progress: ReportProgress) -> Outcome:
    """Run the plan's workload under its profiler; however it ends, that is an outcome."""
    workload = plan.loop.workload
    assert isinstance(workload, BuiltWorkload)
    session = _Session(plan, workload, report_progress)
    status: Status = "ok"
    reason = trace = ""
    try:
        with files.full_disk_named(Path(plan.folder)):
            session.run()
    except Interrupted:
        status, reason = "interrupted", "interrupted"
    except MachineError as error:
        status, reason = "unavailable", str(error)
    except RecorderError as error:
        status, reason = "failed", str(error)
    except WriteError as error:
        status, reason = "failed", f"{error.fact}; what was recorded by then is kept"
    except _WorkloadError as error:
        status, reason = "failed", f"the workload raised {described(error.raised)}"
        trace = _traceback(error.raised)
    facts = session.recorder.facts
    return Outcome(
        status=status,
        reason=reason,
        traceback=trace,
        device_name=facts.device_name,
        versions=facts.versions,
        notes=(*session.notes, *facts.notes, *untested(str(torch.__version__))),
        stages=workload.stages,
        emulated=facts.emulated,
        event_counts=facts.event_counts,
        compilation=facts.compilation,
        thread_counts=session.thread_counts,
    )


def analyse(plan: Plan, report_progress: ReportProgress) -> Outcome:
    """Analyse the captures that the plan's run left in its folder."""
    device = DEVICES[plan.recording.device]
    captures = RunFolder(Path(plan.folder)).cycle_folders()
    try:
        for number, capture in enumerate(captures):
            report_progress(Progress(phase="analyse", done=number, total=len(captures)))
            with files.full_disk_named(capture):
                device.analyse(capture)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error))
    except WriteError as error:
        return Outcome(status="failed", reason=error.fact)
    return Outcome(status="ok")


def _traceback(error: BaseException) -> str:
    """Return the traceback without the frames of this file above the workload's."""
    frames = error.__traceback__
    while frames and frames.tb_next and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return traceback_of(error, frames)


class _WorkloadError(Exception):
    """The workload's error, as distinct from those of the harness and of the profiler."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised
        super().__init__()


@contextmanager
def _workload() -> Iterator[None]:
    """Tell what the workload raises from all else, and end a copy of the process that it forked."""
    process = os.getpid()
    try:
        yield
    except BaseException as error:
        # The user's code may raise anything, and each is reported; none is swallowed.
        if os.getpid() != process:
            _end_copy(error)
        if isinstance(error, Interrupted):
            raise
        raise _WorkloadError(error) from error
    if os.getpid() != process:
        _end_copy(None)


def _end_copy(error: BaseException | None) -> NoReturn:
    """End a copy of the process as Python ends; the loop goes on in the original alone."""
    code, text = 1, ""
    if error is None:
        code, text = 0, "a copy of the process, which the workload forked, ends here\n"
    elif not isinstance(error, SystemExit):
        text = traceback_of(error, error.__traceback__)
    elif error.code is None or isinstance(error.code, int):
        code = (error.code or 0) & 0xFF
    else:
        text = f"{described(error)}\n"
    try:
        os.write(2, text.encode())
    finally:
        os._exit(code)


@contextmanager
def process_group(device: torch.device, process: RecordingPlan) -> Iterator[None]:
    """Join the ranks of the job by the device's own backend; leave them if all went well.

    After an error the others may be gone, and leaving could wait for them for ever.
    """
    from torch import distributed

    # MASTER_ADDR and MASTER_PORT say where rank 0 is.
    distributed.init_process_group(
        DEVICES[device.type].distributed_backend, rank=process.rank, world_size=process.world_size
    )
    yield
    distributed.destroy_process_group()


class _Session:
    """The loop of one run, and how far it is."""

    def __init__(
        self, plan: Plan, workload: BuiltWorkload, report_progress: ReportProgress
    ) -> None:
        self.plan = plan
        self.loop = plan.loop
        self.workload = workload
        self.report_progress = report_progress
        self.done = 0
        self.thread_counts: ThreadCounts | None = None
        self.notes: tuple[str, ...] = ()
        self.total = workload.warmup_steps + self.loop.baseline_steps + self.loop.steps
        self.recorder = Recorder(
            plan.recording,
            Path(plan.folder),
            on_write=lambda: self._report("drain"),
            hold_interrupts=True,
        )

    def run(self) -> None:
        """Build the workload and run all its steps."""
        with self.recorder:
            device = self.recorder.torch_device
            needed = self.workload.is_distributed
            with process_group(device, self.plan.recording) if needed else nullcontext():
                self._run_steps()
                # A rank whose process group is gone would end the others'.
                self._wait_for_ranks()
        self._report("done")

    def _run_steps(self) -> None:
        self._report("build")
        step = self._build()
        for left in reversed(range(self.workload.warmup_steps)):
            self._step(step if left else self._counted(step), "warmup")
        for _ in range(self.loop.baseline_steps):
            self._step(step, "baseline")
        for _ in range(self.loop.steps):
            self._step(step)

    def _wait_for_ranks(self) -> None:
        watch = watch_of(self.plan)
        if watch is not None:
            self._report("exit_barrier")
            self.notes = watch.wait_at_end(self.loop.execution.exit_barrier_timeout_s)

    def _build(self) -> Step:
        torch.manual_seed(self.loop.seed)
        setup = Setup(
            device=self.recorder.torch_device,
            dtype=getattr(torch, self.workload.dtype),
            seed=self.loop.seed,
            stage=self.recorder.stage,
            rank=self.plan.recording.rank,
            world_size=self.plan.recording.world_size,
        )
        with _workload():
            return self.workload.build(setup)

    def _counted(self, step: Step) -> Step:
        """Return the step with its operators counted in all threads, where that can be done."""
        recording = self.plan.recording
        device = DEVICES[recording.device]

        def take(counts: ThreadCounts) -> None:
            self.thread_counts = counts

        if not recording.records:
            return step

        def counted() -> None:
            with device.counting_threads(recording.profiler, take) or nullcontext():
                step()

        return counted

    def _step(self, step: Step, unprofiled: str | None = None) -> None:
        self._report(unprofiled or self.recorder.phase)
        self.recorder.begin_step(unprofiled)
        with _workload():
            step()
            # An error of an asynchronous kernel shows here.
            self.recorder.end_step()
        self.recorder.advance()
        self.done += 1

    def _report(self, phase: str) -> None:
        self.report_progress(Progress(phase=phase, done=self.done, total=self.total))
