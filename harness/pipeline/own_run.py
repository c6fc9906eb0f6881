"""A run that the calling process records itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import files
from harness.capture.capture_record import CaptureRecord
from harness.capture.kept_record import kept
from harness.capture.provenance import this_program
from harness.capture.run_folder import clear, held_run
from harness.capture.run_record import record_of
from harness.execution.protocol import Outcome, Plan, write_json
from harness.paths import RunFolder
from harness.pipeline.starting import left, made, refuse_unended, started
from harness.settings.request import Request


class OpenRun:
    """A run that the calling process records itself. It ends by an outcome."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcome: Outcome | None = None
        """To be set before the run is left."""


@contextmanager
def open_run(request: Request, planned: Plan, *, overrides: Sequence[str]) -> Iterator[OpenRun]:
    """Begin a run that this process records, and leave it recorded: `read_run` completes it.

    Where the block leaves no outcome, the record says that the harness has ended too soon.

    Raises:
        RefusedError: A run is going on in the folder; nothing is written.
        WriteError: The disk is full, or the like.
    """
    folder = Path(planned.folder)
    run_folder, run = RunFolder(folder), OpenRun(planned)
    record = started(request, planned, overrides, this_program())
    with made(folder, "out"), held_run(folder):
        refuse_unended(record_of(folder), folder)
        clear(folder)
        with kept(record, folder) as ending:
            write_json(planned, run_folder.plan)
            write_json(CaptureRecord(expected=planned.recording.expected), run_folder.capture)
            yield run
            outcome = run.outcome
            if outcome is not None:
                files.remove_unfinished(folder)
                write_json(outcome, run_folder.outcome)
                ending.record = left(record, outcome)
