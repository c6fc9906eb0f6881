"""Files that would take for ever, or all memory: only the rows of tables are read."""

from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path

import polars as pl
import pytest

from harness import files
from harness.readers import sqlite
from harness.readers.ascend import communication, csv_files
from harness.readers.base import CaptureError
from harness.verification.cross_checks import rows


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


def endless(path: Path) -> None:
    """Write a file of 32 KiB whose pages lead to each other, 300 times on each of six levels."""
    size = 4096
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA page_size={size}")
        database.execute("CREATE TABLE TASK (startNs INTEGER)")
        database.executemany("INSERT INTO TASK VALUES (?)", [(row,) for row in range(300)])
    database.close()
    content = bytearray(path.read_bytes())
    root, leaf = size, bytes(content[size:])  # the second page is the table's

    def leads_to(child: int) -> bytes:
        page, offset = bytearray(size), size
        for place in range(300):
            offset -= 5
            page[offset : offset + 5] = struct.pack(">IB", child, 1)
            page[12 + 2 * place : 14 + 2 * place] = struct.pack(">H", offset)
        page[:12] = struct.pack(">BHHHBI", 5, 0, 300, offset, 0, child)
        return bytes(page)

    pages = [leaf, *(leads_to(3 + level) for level in range(5))]
    content[root : 2 * root] = leads_to(8)
    content += b"".join(pages)
    content[28:32] = struct.pack(">I", len(content) // size)
    path.write_bytes(content)


def test_rows_without_end_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "capture.db"
    endless(path)
    with sqlite.opened(path) as tables:
        read = tables.read("TASK", {"startNs": pl.Int64()})
        assert tables.notes == [f"capture.db: TASK: interrupted, after {read.height} rows"]


def test_a_row_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "_BLOCK", 10)
    monkeypatch.setattr(csv_files, "_LONGEST", 20)
    path = tmp_path / "kernel_details.csv"
    path.write_text("a\n1\n" + "2" * 50, encoding="utf-8")
    with pytest.raises(CaptureError, match="a row is longer"):
        csv_files.text(path)


def test_a_file_that_is_read_whole_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "communication.json").write_bytes(b"{}")
    assert files.read_all(tmp_path / "communication.json", 2) == b"{}"
    with pytest.raises(OSError, match="it is larger than"):
        files.read_all(tmp_path / "communication.json", 1)
    os.truncate(tmp_path / "communication.json", 20 << 30)  # without blocks
    with pytest.raises(CaptureError, match=r"communication\.json: .*larger than 1,024 MiB"):
        communication.calls(tmp_path / "communication.json")


def test_a_folder_is_no_pattern(tmp_path: Path) -> None:
    for name, operator in (("[p]", "aten::mm"), ("p", "aten::add")):
        (tmp_path / name).mkdir()
        text = f"Name,Input Shapes\n{operator},\n"
        (tmp_path / name / "operator_details.csv").write_text(text, encoding="utf-8")
    names = rows._names(tmp_path / "[p]" / "operator_details.csv")
    assert names["name"].to_list() == ["aten::mm"]


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
