"""Records on disk are whole."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.execution.protocol import Outcome, write_json


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    for status in ("ok", "failed"):
        write_json(Outcome(status=status), path)
        assert msgspec.json.decode(path.read_bytes(), type=Outcome).status == status
    assert [file.name for file in tmp_path.iterdir()] == ["outcome.json"]
