"""run.json is true, however a run ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness import files
from harness.capture import load
from harness.capture.capture_record import CaptureRecord
from harness.capture.run_record import record_of
from harness.capture.writer import this_process
from harness.errors import MachineError, RefusedError
from harness.execution.protocol import Outcome, Progress, read_json, write_json
from harness.paths import RunFolder
from harness.pipeline import reading, results, running
from tests.support.composing import composed


class _Silent:
    """A listener that shows nothing."""

    lends_streams = False

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

    monkeypatch.setattr(running, "run", lambda *_values: Outcome(status="ok"))
    monkeypatch.setattr(load, "collect_capture", stop)
    with pytest.raises(error):
        running.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    record = record_of(tmp_path)
    assert record is not None
    assert (record.status, record.exit_code) == (status, code)
    assert "before it had read the run" in record.reason


def test_a_run_whose_captures_cannot_be_analysed_here_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "run", lambda *_values: Outcome(status="ok"))
    running.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    run = RunFolder(tmp_path)
    (run.raw / "host_ascend_pt").mkdir(parents=True)
    kept = record_of(tmp_path)

    def unavailable(*_values: object) -> Outcome:
        outcome = Outcome(status="unavailable", reason="torch_npu cannot be loaded")
        write_json(outcome, run.analysis)  # as the child does
        return outcome

    monkeypatch.setattr(reading, "check_analysis", lambda *_values: None)
    monkeypatch.setattr(reading, "analyse", unavailable)
    for before in (None, Outcome(status="ok")):
        if before is not None:
            write_json(before, run.analysis)
        with pytest.raises(MachineError, match="cannot be loaded"):
            reading.read_run(tmp_path, listener=_Silent(), limit_s=None)
        assert record_of(tmp_path) == kept
        assert run.analysis.exists() == (before is not None)
    assert read_json(run.analysis, Outcome) == before


def test_a_run_that_is_going_on_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = []

    def read_meanwhile(*_values: object) -> Outcome:
        with pytest.raises(RefusedError) as refused:
            reading.read_run(tmp_path, listener=_Silent(), limit_s=None)
        refusals.append(refused.value.problems[0].reason)
        return Outcome(status="ok")

    monkeypatch.setattr(running, "run", read_meanwhile)
    running.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    named = f"another harness (process {os.getpid()}) is writing into this run folder"
    assert refusals == [named]


def test_a_run_whose_harness_was_killed_is_read_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "run", lambda *_values: Outcome(status="ok"))
    begun = running.run_job(composed(), tmp_path, overrides=(), listener=_Silent()).record
    run = RunFolder(tmp_path)
    unended = replace(begun, status="running", verdict="pending", exit_code=None)
    write_json(unended, run.record)
    write_json(replace(read_json(run.capture, CaptureRecord), reported=None), run.capture)
    for path in (run.outcome, run.plan, run.summary):
        path.unlink()
    record = reading.read_run(tmp_path, listener=_Silent(), limit_s=None).record
    assert (record.status, record.exit_code, record.verdict) == ("failed", 1, "not_delivered")
    assert record.reason.startswith("the harness died before the run ended")
    assert record_of(tmp_path) == record
    assert "the harness died before the run ended" in run.summary.read_text(encoding="utf-8")


def test_a_run_whose_process_is_there_is_not_read_even_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "run", lambda *_values: Outcome(status="ok"))
    ended = running.run_job(composed(), tmp_path, overrides=(), listener=_Silent()).record
    run = RunFolder(tmp_path)
    unended = replace(ended, status="running", exit_code=None, writer=this_process())
    write_json(unended, run.record)
    with pytest.raises(RefusedError, match=rf"still running \(process {os.getpid()}\)"):
        reading.read_run(tmp_path, listener=_Silent(), limit_s=None)
    with pytest.raises(RefusedError, match="still running"):
        running.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    write_json(replace(unended, writer=replace(this_process(), started=1)), run.record)
    assert reading.read_run(tmp_path, listener=_Silent(), limit_s=None).record.status == "ok"


def test_the_record_says_how_a_run_ended_only_once_all_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    write = files.write
    statuses = {}

    def watched(root: Path, path: Path, content: bytes) -> None:
        write(root, path, content)
        record = record_of(tmp_path)
        statuses[path] = record and record.status

    monkeypatch.setattr(running, "run", lambda *_values: Outcome(status="ok"))
    monkeypatch.setattr(files, "write", watched)
    running.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    assert statuses[run.summary] == "running"
    record = record_of(tmp_path)
    assert record is not None
    assert record.status == "ok"


def test_a_summary_that_is_interrupted_is_an_interrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_values: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run", lambda *_values: Outcome(status="ok"))
    monkeypatch.setattr(results, "keep_summary", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.run_job(composed(), tmp_path, overrides=(), listener=_Silent())
    record = record_of(tmp_path)
    assert record is not None
    assert (record.status, record.exit_code) == ("interrupted", 130)
