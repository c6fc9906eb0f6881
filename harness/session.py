"""Run a plan in this process: warm-up, baseline, profiled steps; drain the profiler to disk.

Imported in the child process only: this is where torch is loaded.
"""

from __future__ import annotations

import platform
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.profiler import record_function

from harness import tables
from harness.devices import DEVICES
from harness.devices.base import Device
from harness.errors import MachineError
from harness.events import tables_of
from harness.kineto import HostRange
from harness.marks import STAGE_MARK, STEP_MARK
from harness.records import Coverage, Outcome, Plan, Progress, Status, StepTime
from harness.schedule import phase_of
from harness.workloads.base import Setup, Step

Tell = Callable[[Progress], None]


def execute(plan: Plan, tell: Tell) -> Outcome:
    """Run the plan's workload under its profiler; every way out is an outcome."""
    device = DEVICES[plan.request.device.name]
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    try:
        opened = device.open(plan.request.device.index)
    except MachineError as error:
        return Outcome(status="cannot", reason=str(error), versions=versions)
    session = _Session(plan, device, opened.torch_device, tell)
    status: Status = "ok"
    reason = trace = ""
    try:
        session.run()
    except KeyboardInterrupt:
        status, reason = "interrupted", "interrupted"
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
        coverage=session.coverage,
    )


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


class _Session:
    """The state of one run: which step it is in, and what has been drained."""

    def __init__(self, plan: Plan, device: Device, torch_device: torch.device, tell: Tell) -> None:
        self.plan = plan
        self.device = device
        self.torch_device = torch_device
        self.folder = Path(plan.folder)
        self.tell = tell
        self.profiled = False
        self.done = 0
        workload, profiler = plan.request.workload, plan.request.profiler
        self.total = workload.warmup_steps + profiler.baseline.steps + plan.steps
        self.cycle = 0
        self.operators = 0
        self.ranges: list[HostRange] = []
        self.coverage: dict[str, Coverage] = {}

    def run(self) -> None:
        """Build the workload and run all its steps."""
        request = self.plan.request
        self._tell("build")
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
                self._tell(phase)
                times.write(msgspec.json.encode(self._timed(step, phase, number)) + b"\n")
                self.done += 1

            for _ in range(request.workload.warmup_steps):
                timed("warmup", None)
            for _ in range(request.profiler.baseline.steps):
                timed("baseline", None)
            self.profiled = True
            with self.device.profiler(self.plan.profiler, self._drain) as profiler:
                for number in range(self.plan.steps):
                    timed(phase_of(request.profiler.schedule, number, self.plan.cycles), number)
                    profiler.step()
        self._tell("done")

    def _tell(self, phase: str) -> None:
        self.tell(Progress(phase=phase, done=self.done, total=self.total))

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
            self.ranges.append(HostRange(number, start_ns, start_ns + duration_ns))
        return StepTime(phase=phase, step=number, start_ns=start_ns, duration_ns=duration_ns)

    def _drain(self, profiler: Any) -> None:
        """Write one finished cycle to disk: its tables, its trace."""
        self._tell("drain")
        part = self.folder / "parts" / f"{self.cycle:03d}"
        part.mkdir(parents=True)
        converted = tables_of(
            profiler.profiler.kineto_results,
            rank=0,
            first_id=self.operators,
            memory=self.plan.profiler.profile_memory,
            stacks=self.plan.profiler.with_stack,
            host_ranges=self.ranges,
        )
        for name, frame in converted.frames.items():
            tables.write(frame, part / f"{name}.parquet")
        self.operators += converted.frames["operators"].height
        for kind, more in converted.coverage.items():
            self.coverage[kind] = self.coverage[kind] + more if kind in self.coverage else more
        suffix = "" if self.plan.cycles == 1 else f"_{self.cycle}"
        profiler.export_chrome_trace(str(self.folder / "raw" / f"trace{suffix}.json.gz"))
        if self.plan.profiler.memory_timeline:
            with warnings.catch_warnings():
                # The user asked for it by name; that torch may drop it is said in the docs.
                warnings.simplefilter("ignore", FutureWarning)
                profiler.export_memory_timeline(
                    str(self.folder / "raw" / f"memory_timeline{suffix}.json.gz"),
                    str(self.torch_device),
                )
        self.cycle += 1
