"""Files that would take for ever, or all memory: only the rows of tables are read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import polars as pl
import pytest

from harness.readers import sqlite
from harness.readers.ascend import csv_files
from harness.readers.base import CaptureError


def test_views_and_virtual_tables_are_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "capture.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE KEPT (id INTEGER)")
        database.execute("INSERT INTO KEPT VALUES (7)")
        endless = (
            "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n"
        )
        database.execute(f"CREATE VIEW TASK AS {endless}")
    database.close()
    with sqlite.opened(path) as tables:
        assert tables.read("KEPT", {"id": pl.Int64()})["id"].to_list() == [7]
        assert not tables.has("TASK")
        assert tables.read("TASK", {"id": pl.Int64()}).height == 0
        assert tables.values("SELECT id FROM TASK") == []


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (",".join(map(str, range(2_001))), "line 1: 2,001 columns, more than 2,000"),
        ("x" * (1 << 20), "line 1: longer than 1,048,576 bytes"),
    ],
)
def test_a_header_has_a_limit(tmp_path: Path, header: str, says: str) -> None:
    path = tmp_path / "kernel_details.csv"
    path.write_text(f"{header}\n1\n", encoding="utf-8")
    with pytest.raises(CaptureError, match=says):
        csv_files.text(path)
