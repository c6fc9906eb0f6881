"""Run folders written by hand, as far as later stages look at them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness import tables
from harness.capture.capture_record import CaptureRecord, ReaderReport
from harness.capture.run_record import RunRecord
from harness.execution.protocol import Outcome, write_json
from harness.paths import RunFolder
from harness.settings.expectations import ExpectedSettings

Columns = Mapping[str, list[object]]


def run_folder(folder: Path, record: RunRecord, **columns: Columns) -> RunFolder:
    """Write the folder of a run that is over, with the given columns of its tables."""
    run = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in tables.SCHEMAS:
        tables.write(tables.frame(name, columns.get(name, {})), run.table(name), run.path)
    expected = ExpectedSettings(
        device=record.device, activities=(), effective=record.effective, experimental={}
    )
    capture = CaptureRecord(source=record.source, expected=expected, reported=ReaderReport())
    write_json(record, run.record)
    write_json(capture, run.capture)
    write_json(Outcome(status="ok", emulated=record.emulated), run.outcome)
    return run
