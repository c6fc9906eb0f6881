"""The page of a folder that was made elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.capture.run_record import RunRecord
from harness.errors import RefusedError
from harness.ranks.saved import saved_page
from tests.support.run_folders import run_folder


def test_a_record_without_settings_is_refused_by_their_names(tmp_path: Path) -> None:
    record = RunRecord(
        status="ok",
        verdict="delivered",
        exit_code=0,
        versions={},
        host="here",
        device="cpu",
        device_name="",
        emulated=False,
        requested={"device.name": "cpu"},
    )
    run_folder(tmp_path, record)
    with pytest.raises(RefusedError, match=r"run\.json: it is broken: requested lacks") as refused:
        saved_page(tmp_path)
    assert len(refused.value.problems) == 5
