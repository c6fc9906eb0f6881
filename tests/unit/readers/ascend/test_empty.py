"""Files of torch_npu that can be read, and have nothing in them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from harness.errors import RefusedError
from harness.pipeline.reading import read_capture
from tests.support.ascend_databases import capture_tables, write

HEADER = "Device_id,Stream ID,Op Name,OP Type,Task Start Time(us),Task Duration(us)\n"


def test_a_table_of_kernels_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "op_summary_20260101000003.csv"
    path.write_text(HEADER)
    with pytest.raises(RefusedError, match="neither kernels nor operators are in it"):
        read_capture(path, tmp_path / "run")
    path.write_text(f"{HEADER}0,2,MatMul,MatMulV2,100.000\t,12.5\n")
    assert read_capture(path, tmp_path / "run").record.exit_code == 0


def test_a_database_without_texts(tmp_path: Path) -> None:
    path = tmp_path / "ascend_pytorch_profiler_0.db"
    write(path, capture_tables())
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE STRING_IDS")
        database.commit()
    record = read_capture(path, tmp_path / "run").record
    assert record.exit_code == 3
    assert "it has no texts (STRING_IDS), so names and shapes are lost" in str(record)


def test_kernels_whose_names_are_gone_are_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "ascend_pytorch_profiler_0.db"
    write(path, capture_tables())
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE COMPUTE_TASK_INFO")
        database.execute(
            "UPDATE TASK SET taskType = (SELECT id FROM STRING_IDS WHERE value = 'AI_CORE')"
        )
        database.commit()
    record = read_capture(path, tmp_path / "run").record
    assert record.exit_code == 3
    assert "COMPUTE_TASK_INFO: there is no such table, and TASK has" in str(record)
