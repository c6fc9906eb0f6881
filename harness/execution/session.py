"""Run a plan in this process: warm-up, baseline, profiled steps; the device drains its profiler.

Imported in the child process only: this is where torch is loaded.
"""

from __future__ import annotations

import platform
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import msgspec
import torch
from torch.profiler import record_function

from harness.devices import DEVICES
from harness.devices.base import CycleWriter, Device, OpenDevice
from harness.errors import MachineError
from harness.execution.protocol import CYCLE_FOLDERS, Outcome, Plan, Progress, Status, StepTime
from harness.settings.schedule import phase_of
from harness.tables.markers import STAGE_MARK, STEP_MARK, HostRange
from harness.workloads.base import Setup, Step

ReportProgress = Callable[[Progress], None]


def execute(plan: Plan, report_progress: ReportProgress) -> Outcome:
    """Run the plan's workload under its profiler; every way out is an outcome."""
    device = DEVICES[plan.request.device.name]
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    try:
        opened = device.open(plan.request.device.index)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error), versions=versions)
    session = _Session(plan, device, opened, report_progress)
    status: Status = "ok"
    reason = trace = ""
    try:
        session.run()
    except KeyboardInterrupt:
        status, reason = "interrupted", "interrupted"
    except MachineError as error:
        status, reason = "unavailable", str(error)
    except _WorkloadError as error:
        raised = error.raised
        status = "failed"
        reason = f"the workload raised {type(raised).__name__}: {raised}".rstrip(": ")
        trace = _traceback(raised)
    return Outcome(
        status=status,
        reason=reason,
        traceback=trace,
        device_name=opened.name,
        versions=versions | opened.versions,
        stages=plan.request.workload.stages,
        emulated=opened.emulated,
        event_counts=session.writer.event_counts,
    )


def analyse(plan: Plan, report_progress: ReportProgress) -> Outcome:
    """Analyse the captures that the plan's run left in its folder."""
    device = DEVICES[plan.request.device.name]
    captures = sorted(Path(plan.folder).glob(CYCLE_FOLDERS))
    try:
        for number, capture in enumerate(captures):
            report_progress(Progress(phase="analyse", done=number, total=len(captures)))
            device.analyse(capture)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error))
    return Outcome(status="ok")


def _traceback(error: BaseException) -> str:
    """Return the traceback from the workload's first frame on: ours above it says nothing."""
    frames = error.__traceback__
    while frames and frames.tb_next and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


class _WorkloadError(Exception):
    """Tells what the workload raised from what goes wrong in the harness or the profiler."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised
        super().__init__(str(raised))


@contextmanager
def _workload() -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _WorkloadError(error) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let an interrupt wait for the end; whoever sent it sets a limit to that."""
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        raise KeyboardInterrupt


class _Session:
    """The state of one run: which step it is in, and what has been drained."""

    def __init__(
        self, plan: Plan, device: Device, opened: OpenDevice, report_progress: ReportProgress
    ) -> None:
        self.plan = plan
        self.device = device
        self.torch_device = opened.torch_device
        self.folder = Path(plan.folder)
        self.report_progress = report_progress
        self.profiled = False
        self.done = 0
        workload, profiler = plan.request.workload, plan.request.profiler
        self.total = workload.warmup_steps + profiler.baseline.steps + plan.steps
        self.writer = CycleWriter(
            folder=self.folder,
            torch_device=opened.torch_device,
            cycles=plan.cycles,
            on_write=lambda: self._report("drain"),
        )

    def run(self) -> None:
        """Build the workload and run all its steps."""
        request = self.plan.request
        self._report("build")
        torch.manual_seed(request.seed)
        setup = Setup(
            device=self.torch_device,
            dtype=getattr(torch, request.workload.dtype),
            seed=request.seed,
            stage=self._stage,
        )
        with _workload():
            step = request.workload.build(setup)
        (self.folder / "raw").mkdir(exist_ok=True)
        with (self.folder / "steps.jsonl").open("wb", buffering=0) as times:

            def timed(phase: str, number: int | None) -> None:
                self._report(phase)
                times.write(msgspec.json.encode(self._timed(step, phase, number)) + b"\n")
                self.done += 1

            for _ in range(request.workload.warmup_steps):
                timed("warmup", None)
            for _ in range(request.profiler.baseline.steps):
                timed("baseline", None)
            self.profiled = True
            with self.device.profiler(self.plan.profiler, self.writer) as profiler:
                for number in range(self.plan.steps):
                    timed(phase_of(request.profiler.schedule, number, self.plan.cycles), number)
                    with _uninterrupted():
                        # May write out a window, which is then kept whole.
                        profiler.step()
        self._report("done")

    def _report(self, phase: str) -> None:
        self.report_progress(Progress(phase=phase, done=self.done, total=self.total))

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        if self.profiled:
            with record_function(STAGE_MARK + name):
                yield
        else:
            yield

    def _timed(self, step: Step, phase: str, number: int | None) -> StepTime:
        """Run one step to its end on the device; synchronised before, so nothing leaks in."""
        self.device.synchronise(self.torch_device)
        mark = nullcontext() if number is None else record_function(f"{STEP_MARK}{number}")
        with _workload(), mark:
            start_ns, begin = time.time_ns(), time.perf_counter_ns()
            step()
            # An error of an asynchronous kernel shows here.
            self.device.synchronise(self.torch_device)
            duration_ns = time.perf_counter_ns() - begin
        if number is not None:
            self.writer.ranges.append(HostRange(number, start_ns, start_ns + duration_ns))
        return StepTime(phase=phase, step=number, start_ns=start_ns, duration_ns=duration_ns)
