"""operator_details.csv: the operators of a capture whose timeline is not there.

It states names, shapes, stacks and durations, but neither when nor on which thread an operator ran
(torch_npu's profiler guide), so steps and the kernels' operators stay unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from harness import tables
from harness.readers.ascend import csv_files
from harness.readers.base import ReadContext
from harness.readers.call_tree import is_mark
from harness.readers.cells import SHAPES, argument_shapes, call_stack, parsed, whole
from harness.tables import stacks

_US: Final = 1000
_TIMES: Final = {
    "Host Total Duration(us)": "duration_ns",
    "Host Self Duration(us)": "self_ns",
    "Device Self Duration(us)": "device_ns",
}
_NEEDED: Final = ("Host Self Duration(us)", "Host Total Duration(us)")
_TEXTS: Final = ("Name", "Input Shapes", "Call Stack")
_TYPES: Final[Mapping[str, pl.DataType]] = {
    **dict.fromkeys(_TEXTS, pl.String()),
    **dict.fromkeys(_TIMES, pl.Float64()),
}


class OperatorDetails(NamedTuple):
    """The operators of a file."""

    operators: pl.DataFrame
    stacks: pl.DataFrame
    rows: int
    """All rows of the file."""
    notes: list[str]
    remarks: list[str]


def read(path: Path, context: ReadContext, rank: int) -> OperatorDetails:
    """Read the table `operators`. Raises CaptureError if the file has no header."""
    content = csv_files.typed(path, _TYPES, needed=_NEEDED)
    rows = content.table
    rows = rows.with_columns(
        pl.lit(None, _TYPES[name]).alias(name) for name in _TYPES if name not in rows.columns
    )
    rows = rows.filter([not is_mark(name or "") for name in rows["Name"]])
    # The cell of an argument ends with a semicolon and a line break of either kind.
    cells = rows.select(pl.col(_TEXTS).str.replace_all(r";\s*\n", ";"))
    distinct = cells["Call Stack"].unique(maintain_order=True)
    ids, table = stacks.identified(map(call_stack, distinct))
    stack_ids = pl.DataFrame({"Call Stack": distinct, "id": pl.Series(ids, dtype=pl.Int64)})
    columns: dict[str, object] = {
        "id": pl.int_range(
            context.first_operator, context.first_operator + rows.height, eager=True
        ),
        "rank": pl.repeat(rank, rows.height, dtype=pl.Int32, eager=True),
        "name": cells["Name"],
        "input_shapes": parsed(cells["Input Shapes"], argument_shapes, SHAPES),
        "stack_id": cells.join(
            stack_ids, on="Call Stack", how="left", nulls_equal=True, maintain_order="left"
        )["id"],
        **{column: whole(rows[name], _US) for name, column in _TIMES.items()},
        **{name: rows[name] for name in rows.columns if name not in _TYPES},
    }
    operators = tables.frame("operators", columns).with_columns(
        pl.when(pl.col("device_ns") > 0).then("device_ns")
    )
    return OperatorDetails(
        operators, table, content.table.height, content.notes, list(content.remarks)
    )
