"""Damages of files: bytes, values of JSON, and cells and columns of tables become hostile."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

import polars as pl

HOSTILE: Final[list[Any]] = [
    *(None, True, [], {}, "", "N/A", "nan", "\ud800", "\0", "a" * 300, [[[[]]]], {"a": {"b": []}}),
    *(0, -1, 1 << 31, 1 << 63, -(1 << 70), 10**400, 1e308, -1e308, float("inf"), float("nan")),
    *(
        "1e999",
        "9" * 400,
        "-1",
        "1,2;3",
        '"',
        ";;",
        "x" * 3 + "\r\n",
        "ProfilerStep#99999999999999",
    ),
]
Damage = Callable[[Random, bytes], bytes]
_NUMBERS: Final = (0, -1, 1, 1 << 31, 1 << 62, (1 << 63) - 1, -(1 << 63))
_NAMES: Final = (
    *("", "\0", "</script><script>alert(1)</script>", "<!--", "\x1b[2J", "\u202e", "a|b\n# c"),
    *("'\"&amp;", "x" * 100_000, "\u2028", "[bold]", "ProfilerStep#3", "{{7*7}}", "$(id)"),
)
_TYPES: Final = (
    *(pl.String, pl.Float64, pl.Int8, pl.UInt64, pl.Boolean, pl.Binary, pl.Null, pl.Date),
    *(pl.List(pl.Int64), pl.List(pl.String), pl.Struct({"a": pl.Int64}), pl.Categorical),
)


def bytes_of(data: Random, content: bytes) -> bytes:
    """Cut, change, leave out or put in."""
    at = data.randint(0, len(content))
    length = data.randint(0, 40)
    some = data.randbytes(data.randint(0, 20))
    kind = data.choice(["cut", "change", "leave out", "put in", "repeat"])
    if kind == "cut":
        return content[:at]
    if kind == "repeat":
        return content[:at] + content[max(0, at - 200) : at] + content[at:]
    rest = {"change": at + len(some), "leave out": at + length, "put in": at}[kind]
    return content[:at] + (b"" if kind == "leave out" else some) + content[rest:]


def values_of(data: Random, content: bytes) -> bytes:
    """Replace, leave out or rename values somewhere in JSON."""
    root = json.loads(content)
    for _ in range(data.randint(1, 3)):
        node: Any = root
        while isinstance(node, dict | list) and node:
            keys = sorted(node) if isinstance(node, dict) else range(len(node))
            key: Any = data.choice(keys)
            inner = node[key]
            if not (isinstance(inner, dict | list) and inner) or data.randint(0, 5) == 0:
                _replace(data, node, key)
                break
            node = inner
    return json.dumps(root).encode()


def _replace(data: Random, node: Any, key: Any) -> None:
    kind = data.choice(["replace", "replace", "leave out", "add"])
    hostile = copy.deepcopy(data.choice(HOSTILE))
    if kind == "leave out":
        del node[key]
    elif kind == "add":
        if isinstance(node, dict):
            node[data.choice(["", "ä", "Name", "a\n"])] = hostile
        else:
            node.insert(key, hostile)
    else:
        node[key] = hostile


def plausible_of(data: Random, content: bytes) -> bytes:
    """Replace values in JSON by others of their own type, which no decoder refuses."""
    root = json.loads(content)
    for _ in range(data.randint(1, 4)):
        node: Any = root
        while isinstance(node, dict | list) and node:
            key: Any = data.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
            if not (isinstance(node[key], dict | list) and node[key]):
                node[key] = _alike(data, node[key])
                break
            node = node[key]
    return json.dumps(root).encode()


def _alike(data: Random, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return data.choice(_NUMBERS)
    if isinstance(value, float):
        return data.choice((0.0, -1.0, 1e308, 5e-324, 1.5))
    return data.choice(_NAMES) if isinstance(value, str) else value


def columns_of(data: Random, content: bytes) -> bytes:
    """Change cells, columns and rows of a table; it stays a whole parquet file."""
    table = pl.read_parquet(io.BytesIO(content))
    for _ in range(data.randint(1, 3)):
        table = data.choice(_OF_TABLES)(data, table)
    out = io.BytesIO()
    table.write_parquet(out)
    return out.getvalue()


def _column(data: Random, table: pl.DataFrame) -> str:
    return data.choice(table.columns or [""])


def _cells(data: Random, table: pl.DataFrame) -> pl.DataFrame:
    """Replace one cell, or all cells of a column."""
    if table.is_empty() or not table.columns:
        return table
    name = _column(data, table)
    dtype, values = table.schema[name], table[name].to_list()
    every, value = data.randint(0, 3) == 0, _of_type(data, dtype)
    at = data.randrange(len(values))
    changed = [value if every or place == at else old for place, old in enumerate(values)]
    return table.with_columns(pl.Series(name, changed, dtype=dtype, strict=False))


def _of_type(data: Random, dtype: pl.DataType) -> Any:
    if data.randint(0, 4) == 0:
        return None
    if isinstance(dtype, pl.List):
        inner = dtype.inner
        assert isinstance(inner, pl.DataType)
        return [_of_type(data, inner) for _ in range(data.randint(0, 3))]
    if dtype.is_integer():
        low = -(1 << 31) if dtype == pl.Int32 else -(1 << 63)
        return data.choice([number for number in _NUMBERS if low <= number < -low])
    if dtype.is_float():
        return data.choice([float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 1e308])
    return data.choice(_NAMES) if dtype == pl.String else None


def _without_column(data: Random, table: pl.DataFrame) -> pl.DataFrame:
    return table.drop(_column(data, table)) if table.columns else table


def _renamed(data: Random, table: pl.DataFrame) -> pl.DataFrame:
    name = data.choice(["", "other", "Step", "<b>", *table.columns])
    return table if name in table.columns else table.rename({_column(data, table): name})


def _further(data: Random, table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.lit(data.choice(_NAMES)).alias(data.choice(["more", "count"])))


def _cast(data: Random, table: pl.DataFrame) -> pl.DataFrame:
    if not table.columns:
        return table
    name, dtype = _column(data, table), data.choice(_TYPES)
    try:
        return table.with_columns(pl.col(name).cast(dtype, strict=False))
    except pl.exceptions.PolarsError:
        return table.with_columns(pl.lit(None, dtype=dtype).alias(name))


def _no_rows(_data: Random, table: pl.DataFrame) -> pl.DataFrame:
    return table.clear()


def _doubled(_data: Random, table: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([table, table]) if table.columns else table


def _mixed(data: Random, table: pl.DataFrame) -> pl.DataFrame:
    return table.sample(table.height, shuffle=True, seed=data.randint(0, 99))


_OF_TABLES: Final = (
    *(_cells, _cells, _cells, _cells, _without_column, _renamed, _further, _cast, _cast),
    *(_no_rows, _doubled, _mixed),
)
