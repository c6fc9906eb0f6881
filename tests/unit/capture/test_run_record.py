"""Which earlier run counts as finished."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.capture.run_record import RunRecord, finished, record_of, request_hash
from harness.execution.protocol import write_json
from tests.support.composing import composed

RECORD = RunRecord(
    status="ok", verdict="delivered", exit_code=0, versions={}, host="here", requested={}
)


def test_an_earlier_run_counts_if_it_is_delivered_and_of_the_same_request(tmp_path: Path) -> None:
    notes: list[str] = []
    request = composed()
    same = replace(RECORD, request_hash=request_hash(request))
    assert finished(request, tmp_path, notes.append) is None
    for record, counts in (
        (same, True),
        (replace(same, exit_code=3), False),
        (replace(same, request_hash="another"), False),
    ):
        write_json(record, tmp_path / "run.json")
        assert finished(request, tmp_path, notes.append) == (record if counts else None)
    assert notes == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"schema_version": 2}', "its schema_version is 2, and this harness reads 3 only"),
        ("{", "it is broken: Input data was truncated"),
    ],
)
def test_a_record_that_cannot_be_read_is_noted_and_the_job_runs_again(
    tmp_path: Path, content: str, why: str
) -> None:
    notes: list[str] = []
    (tmp_path / "run.json").write_text(content)
    assert finished(composed(), tmp_path, notes.append) is None
    assert notes == [f"{tmp_path}/run.json: {why}; run again"]
    assert record_of(tmp_path) is None
