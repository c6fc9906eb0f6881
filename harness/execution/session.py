"""Run the loop of a plan: warm-up, unprofiled and profiled steps; the `Recorder` records them.

Imported in the child process only: this is where torch is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import torch
from msgspec.structs import asdict

from harness import files
from harness.devices import DEVICES
from harness.errors import MachineError, RecorderError, WriteError
from harness.execution.blocks import Block, blocks
from harness.execution.load_watch import LoadWatch
from harness.execution.protocol import (
    Outcome,
    Plan,
    Progress,
    RecordingPlan,
    ReportProgress,
    Status,
    StepTime,
)
from harness.execution.raised import described, traceback_of
from harness.execution.rank_watch import watch_of
from harness.execution.recorder import Recorder
from harness.execution.tested import untested
from harness.paths import RunFolder
from harness.settings.request import Schedule
from harness.stopping import Interrupted
from harness.tables.step_statistics import median_interval
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
        machine_load=session.load.loads(torch.get_num_threads()),
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


def _blocks(plan: Plan) -> Iterator[Block]:
    profiler = plan.recording.profiler
    return blocks(
        plan.loop.workload.warmup_steps,
        plan.loop.baseline,
        Schedule(**asdict(profiler.schedule)),
        steps=plan.loop.steps,
        cycles=plan.recording.cycles,
    )


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
        self.blocks = tuple(_blocks(plan))
        self.total = sum(block.steps for block in self.blocks)
        in_child = self.loop.execution.kind != "inline"
        self.load = LoadWatch.of_run(plan.recording, in_child=in_child)
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
        for block in self.blocks:
            self._run_block(block, step)

    def _run_block(self, block: Block, step: Step) -> None:
        self.load.begin(block.phase)
        times: list[int] = []
        for left in reversed(range(block.steps)):
            is_last = not left and not block.until_stable
            counted = self._counted(step) if not left and block.phase == "warmup" else step
            times.append(self._step(counted, block, is_last=is_last).duration_ns)
        while block.until_stable and self._is_unstable(times):
            self.total += 1
            times.append(self._step(step, block, is_last=False).duration_ns)
        self.load.end()

    def _is_unstable(self, times: Sequence[int]) -> bool:
        """Tell whether more unprofiled steps are to be timed."""
        baseline, interval = self.loop.baseline, median_interval(times)
        is_known = interval is not None and interval.precision <= baseline.precision
        return not is_known and len(times) < baseline.max_steps

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

    def _step(self, step: Step, block: Block, *, is_last: bool) -> StepTime:
        unprofiled = None if block.scheduled else block.phase
        self._report(unprofiled or self.recorder.phase)
        self.recorder.begin_step(unprofiled)
        with _workload():
            step()
            # An error of an asynchronous kernel shows here.
            time = self.recorder.end_step()
        if is_last:
            # What follows may write a cycle.
            self.load.end()
        self.recorder.advance()
        self.done += 1
        return time

    def _report(self, phase: str) -> None:
        self.report_progress(Progress(phase=phase, done=self.done, total=self.total))
