"""The child process: reads a plan, runs it, leaves everything on disk.

Its parent starts it as ``main(task, plan.json, descriptor)``. Progress goes to the descriptor as
JSON lines; what the workload prints goes to the standard streams.
"""

from __future__ import annotations

import faulthandler
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from harness.errors import WriteError
from harness.execution.protocol import (
    Outcome,
    Plan,
    Progress,
    ReportProgress,
    Task,
    outcome_file,
    read_json,
    write_json,
)
from harness.execution.stall import STACK_SIGNAL
from harness.files import CLOSED, still_open
from harness.stopping import interrupt
from harness.workloads.program import Program


def main(task: Task, plan_path: str, descriptor: int) -> None:
    """Do one task of the plan at `plan_path`; write its outcome beside it."""
    faulthandler.enable()
    if STACK_SIGNAL > 0:
        faulthandler.register(STACK_SIGNAL, descriptor, all_threads=False)
    folder = Path(plan_path).parent
    # The folder may have been moved since the plan was written.
    plan = replace(read_json(Path(plan_path), Plan), folder=str(folder))
    carry_out = _prepared(task, plan)

    pipe = os.fstat(descriptor)
    notes: set[str] = set()

    def report_progress(progress: Progress) -> None:
        if not still_open(descriptor, pipe):
            # Another file may have its number now. The run goes on unseen.
            notes.add(f"progress was not shown to the end: {CLOSED}")
            return
        # A parent that is gone does not read.
        with suppress(OSError):
            os.write(descriptor, msgspec.json.encode(progress) + b"\n")

    outcome = carry_out(plan, report_progress)
    # From here on, what the user's modules do at the end is not to be cut short.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    outcome = replace(outcome, notes=(*outcome.notes, *notes))
    try:
        write_json(outcome, outcome_file(folder, task))
    except WriteError:
        # The parent has a record that it can write on a full disk.
        report_progress(Progress(phase="done", done=0, total=0, outcome=outcome))


def _prepared(task: Task, plan: Plan) -> Callable[[Plan, ReportProgress], Outcome]:
    """Return what carries out the task, with streams and signals as it needs them.

    The parent forwards Ctrl-C; a shell may have started us with SIGINT ignored.
    """
    if task == "execute" and isinstance(plan.loop.workload, Program):
        from harness.execution.program import execute as run_program

        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # It leads through a pipe, where it led to a terminal, and shall be seen at once.
                stream.reconfigure(line_buffering=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_program

    from harness.execution.session import analyse, execute

    for stream in (sys.stdout, sys.stderr):
        # They lead to the parent, whatever encoding the terminal has.
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    signal.signal(signal.SIGINT, interrupt)
    return execute if task == "execute" else analyse
