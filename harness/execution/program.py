"""Run a program of the user's under its plan: it keeps its own loop, and its steps are counted.

Imported in the child process only. torch is loaded by the program, or with its first step.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, Protocol

from msgspec.structs import replace

from harness.errors import HarnessError, MachineError
from harness.execution.main_module import Ending, run_main
from harness.execution.program_steps import ProgramSteps
from harness.execution.protocol import Outcome, Plan, ProgramEnd, ReportProgress, Status
from harness.execution.step_sources import StepSource
from harness.execution.tested import untested
from harness.tables.machine_load import PhaseLoad
from harness.workloads.program import Program

if TYPE_CHECKING:
    from harness.execution.recorder import RecordingFacts


def execute(plan: Plan, report_progress: ReportProgress) -> Outcome:
    """Run the plan's program with its profiler; however it ends, that is an outcome.

    In a copy of the process, which the program forked, it does not return.
    """
    program = plan.loop.workload
    assert isinstance(program, Program)
    process = os.getpid()
    steps = ProgramSteps(plan, report_progress, stops=program.after == "stop")
    source = StepSource(program, steps)
    source.open()
    ending = run_main(program, source.counted)
    if os.getpid() != process:
        _end_copy(ending.exit_code)
    # What the program was to be stopped for is over; what it recorded is still to be written.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source.close()
    steps.close()
    return _outcome(ending, steps, source)


def _end_copy(code: int) -> NoReturn:
    """End a process that the program forked; Kineto's destructors would wait for lost threads."""
    atexit._run_exitfuncs()  # noqa: SLF001 - what Python itself would do
    for stream in (sys.stdout, sys.stderr):
        # The program may have closed them.
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _outcome(ending: Ending, steps: ProgramSteps, source: StepSource) -> Outcome:
    short = "" if steps.needed <= steps.made else source.why_short()
    status: Status = "failed" if ending.reason else "ok"
    end = replace(end_of(steps, short), exit_code=ending.exit_code)
    return recorded(Outcome(status=status, reason=ending.reason, program=end), steps)


class CountedSteps(Protocol):
    """The steps that a program has made, and what was recorded of them."""

    @property
    def made(self) -> int:
        """Whole steps."""

    @property
    def needed(self) -> int:
        """Steps until the end of the schedule."""

    @property
    def counted(self) -> str:
        """What the steps are, in one phrase."""

    @property
    def stages(self) -> Mapping[str, None]:
        """The names of their parts, in order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how they were counted."""

    @property
    def machine_load(self) -> tuple[PhaseLoad, ...]:
        """Who used the cores while steps were timed."""

    @property
    def failure(self) -> HarnessError | None:
        """What ended the recording too soon."""

    @property
    def facts(self) -> RecordingFacts | None:
        """What the recorder knows, once it has ended."""


def end_of(steps: CountedSteps, why_short: str) -> ProgramEnd:
    """Return which steps a program made."""
    return ProgramEnd(
        steps=steps.made, needed=steps.needed, counted=steps.counted, why_short=why_short
    )


def recorded(outcome: Outcome, steps: CountedSteps) -> Outcome:
    """Return how a program ended, with what was recorded of it, or why that has failed."""
    if steps.failure is not None:
        status: Status = "unavailable" if isinstance(steps.failure, MachineError) else "failed"
        outcome = replace(outcome, status=status, reason=str(steps.failure))
    outcome = replace(outcome, stages=tuple(steps.stages), notes=steps.notes)
    outcome = replace(outcome, machine_load=steps.machine_load)
    facts = steps.facts
    if facts is None:
        return outcome
    return replace(
        outcome,
        device_name=facts.device_name,
        versions=facts.versions,
        notes=(*outcome.notes, *facts.notes, *untested(facts.versions["torch"])),
        emulated=facts.emulated,
        event_counts=facts.event_counts,
        compilation=facts.compilation,
    )
