"""The csv files of captures, read block by block: wherever a block ends, the rows are the same."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.readers.ascend import csv_files

CELLS = st.text("ab1 ,;\"\n'", max_size=6).map(str.strip)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS.filter(bool)), max_size=12)
HEADER = ("Name", "Input Shapes", "Type")


def by_block(rows: list[tuple[str, str, str]], block: int, *, slow: bool) -> pl.DataFrame:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "kernel_details.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows(rows)
        patch.setattr(csv_files, "_BLOCK", block)
        if not slow:
            patch.delattr(csv_files, "_by_line")
        content = csv_files.text(path)
    assert not content.notes
    return content.table


@given(ROWS, st.integers(1, 60))
def test_rows_are_whole_wherever_a_block_ends(rows: list[tuple[str, str, str]], block: int) -> None:
    table = by_block(rows, block, slow=False)
    assert table.columns == list(HEADER)
    assert [tuple(cell or "" for cell in row) for row in table.rows()] == rows


def test_a_header_over_two_lines_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "kernel_details.csv"
    path.write_text('Name,"Input\nShapes"\nmm,"2,2"\n')
    assert csv_files.text(path).table.rows() == [("mm", "2,2")]


def test_a_quote_that_nothing_closes_takes_no_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "kernel_details.csv"
    path.write_text('Name,Type\nmm,a\nadd,b\nsub,"c\ndiv,d\n')
    content = csv_files.text(path)
    assert content.table.rows() == [("mm", "a"), ("add", "b")]
    assert content.notes == [
        "kernel_details.csv: line 5: unexpected end of data; the rest is skipped"
    ]
