"""While a run goes on, run.json names its process; when that is gone, everyone says so."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from harness.capture.run_record import DIED, RunRecord, record_of
from harness.paths import RunFolder
from tests.conftest import LIMIT_S, Harness, ended, started
from tests.support.full_disks import unfinished_files


def recording(folder: Path) -> RunRecord:
    """Wait until the run in a folder has ended its first step, and return its record."""
    until = time.monotonic() + LIMIT_S
    steps = RunFolder(folder).steps
    while not (steps.exists() and steps.stat().st_size):
        assert time.monotonic() < until
        time.sleep(0.05)
    record = record_of(folder)
    assert record is not None
    return record


def test_a_run_that_goes_on_is_told_from_one_whose_harness_was_killed(
    tmp_path: Path, harness: Harness, user_module: str
) -> None:
    words = (f"workload.target={user_module}:sleeps", "workload.kwargs.at=10")
    process = started(tmp_path, "device=cpu", "workload=callable", *words, "--out", "run")
    try:
        record = recording(tmp_path / "run")
        assert record.life == "alive"
        assert record.writer is not None
        assert record.writer.pid == process.pid
        refused = harness("read", "run")
        assert refused.code == 2
        named = f"another harness (process {process.pid}) is writing into this run folder"
        assert named in refused.err
    finally:
        process.send_signal(signal.SIGKILL)
    assert ended(process, tmp_path).code == -signal.SIGKILL
    left = record_of(tmp_path / "run")
    assert left == record
    assert (left.life, left.unended) == ("dead", DIED)
    read = harness("read", "run")
    assert read.code == 1
    after = record_of(tmp_path / "run")
    assert after is not None
    assert (after.status, after.exit_code, after.reason) == ("failed", 1, DIED)
    assert unfinished_files(tmp_path / "run") == []
