"""run.json is true, however a run ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import pipeline
from harness.capture.run_record import RUN_FILE, read_record
from harness.errors import MachineError
from harness.execution.protocol import Outcome, Progress
from tests.support.composing import composed


class _Silent:
    """A watch that nobody looks at."""

    def progress(self, progress: Progress) -> None: ...

    def output(self, line: str) -> None: ...


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(KeyboardInterrupt, "interrupted", 130), (OSError, "failed", 1)],
)
def test_record_is_true_when_the_run_cannot_be_read_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    status: str,
    code: int,
) -> None:
    def stop(*_values: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", lambda _plan, _watch: Outcome(status="ok"))
    monkeypatch.setattr(pipeline, "collect", stop)
    with pytest.raises(error):
        pipeline.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    record = read_record(tmp_path / RUN_FILE)
    assert record is not None
    assert (record.status, record.exit_code) == (status, code)
    assert "before the run was read back" in record.reason


def test_a_run_whose_captures_cannot_be_analysed_here_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda *_values: Outcome(status="ok"))
    pipeline.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    kept = read_record(tmp_path / RUN_FILE)
    unsupported = Outcome(status="unavailable", reason="torch_npu cannot be loaded")
    monkeypatch.setattr(pipeline, "analyse", lambda *_values: unsupported)
    with pytest.raises(MachineError, match="cannot be loaded"):
        pipeline.read_run(tmp_path, listener=_Silent(), limit_s=None)
    assert read_record(tmp_path / RUN_FILE) == kept
