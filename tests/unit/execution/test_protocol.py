"""Records on disk are whole, and of this version."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.errors import Problem, RefusedError
from harness.execution.protocol import Outcome, read_json, write_json


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    for status in ("ok", "failed"):
        write_json(Outcome(status=status), path)
        assert msgspec.json.decode(path.read_bytes(), type=Outcome).status == status
        assert read_json(path, Outcome) == Outcome(status=status)
    assert [file.name for file in tmp_path.iterdir()] == ["outcome.json"]


OTHER = "choose another folder, or run again"


@pytest.mark.parametrize(
    ("content", "reason", "fix"),
    [
        (
            b'{"schema_version": 2, "status": "ok"}',
            "its schema_version is 2, and this harness reads 3 only",
            "run again, or use the version of the harness that wrote it",
        ),
        (
            b'{"schema_version": 4, "state": "ok"}',
            "its schema_version is 4, and this harness reads 3 only",
            "run again, or use the version of the harness that wrote it",
        ),
        (
            b'{"status": "ok"}',
            "it has no schema_version, so the harness did not write it",
            OTHER,
        ),
        (b"", "it is broken: Input data was truncated", OTHER),
        (
            b'{"schema_version": 3, "status": 7}',
            "it is broken: Expected `str`, got `int` - at `$.status`",
            OTHER,
        ),
        (
            b'{"schema_version": "3"}',
            "it is broken: Expected `int | null`, got `str` - at `$.schema_version`",
            OTHER,
        ),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, content: bytes, reason: str, fix: str
) -> None:
    path = tmp_path / "outcome.json"
    path.write_bytes(content)
    with pytest.raises(RefusedError) as refused:
        read_json(path, Outcome)
    assert refused.value.problems == (Problem(setting=str(path), given="", reason=reason, fix=fix),)


@pytest.mark.parametrize("content", [b'{"status": ' + b"[" * 100_000, b'{"status": "\xff"}'])
def test_hostile_records_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "outcome.json"
    path.write_bytes(content.replace(b"{", b'{"schema_version": 3, '))
    with pytest.raises(RefusedError, match=r"outcome\.json: it is broken: "):
        read_json(path, Outcome)


def test_a_record_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"plan\.json: it cannot be read: No such file"):
        read_json(tmp_path / "plan.json", Outcome)
