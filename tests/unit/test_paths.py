"""Which files of a run folder are its captures."""

from __future__ import annotations

from pathlib import Path

from harness.paths import RunFolder


def test_a_trace_that_was_being_compressed_is_one_capture(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.raw.mkdir()
    for name in ("trace_0.json", "trace_0.json.gz", "trace_1.json.gz", ".9.unfinished.json"):
        (run.raw / name).touch()
    assert [path.name for path in run.traces()] == ["trace_0.json", "trace_1.json.gz"]
    run.cycles.mkdir()
    assert run.traces() == []
