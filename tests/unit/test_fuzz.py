"""Whatever is done to a capture's files: our own errors, and never another one.

More than a thousand damages, the work of a minute: bytes changed, left out and put in, files cut
off, values of JSON, cells of tables and rows of databases replaced by hostile ones.
`harness.capture.external` reads them; a part goes all the way to the summary. They are the same in
every run; ``HARNESS_FUZZ=N`` makes N of each format, others in every run.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.capture import external
from harness.errors import RefusedError
from harness.pipeline.reading import read_capture
from tests.support.ascend_databases import MOVED, Tables, capture_tables, write
from tests.support.ascend_folders import EVENTS, HEADER, KERNELS, folder, info
from tests.support.chrome_traces import event, kernel, launch
from tests.support.consistent_captures import (
    ALLOCATIONS,
    COMMUNICATION,
    RECORDS,
    STATISTIC,
    STEPS,
)
from tests.support.damages import HOSTILE, Damage, bytes_of, values_of

LONG = int(os.environ.get("HARNESS_FUZZ", "0"))
EXAMPLES = LONG or 130
"""Of each format."""
WHOLE_WAY = LONG // 10 or 12
FAST = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not LONG,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def cells_of(data: Random, content: bytes) -> bytes:
    """Replace cells, names of columns among them; leave cells and rows out, or double them."""
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for _ in range(data.randint(1, 4)):
        row = data.choice(rows)
        at = data.randint(0, max(0, len(row) - 1))
        kind = data.choice(["replace", "replace", "leave out", "add", "double"])
        if kind == "double":
            rows.insert(data.randint(0, len(rows)), row)
        elif kind == "add":
            row.insert(at, str(data.choice(HOSTILE)))
        elif kind == "leave out":
            del row[at : at + 1]
        elif row:
            row[at] = str(data.choice(HOSTILE))
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode(errors="replace")


def packed(damage: Damage) -> Damage:
    def inside(data: Random, content: bytes) -> bytes:
        return gzip.compress(damage(data, gzip.decompress(content)), 1)

    return inside


def rows_of(data: Random, content: bytes) -> bytes:
    """Replace values in tables; leave out tables, columns and rows."""
    known: list[Tables] = [capture_tables(), MOVED]
    tables = dict(next(each for each in known if all(name.encode() in content for name in each)))
    for _ in range(data.randint(1, 3)):
        table = data.choice(sorted(tables))
        columns, rows = tables[table]
        kind = data.choice(["replace", "replace", "table", "rows", "column"])
        if kind == "table" and len(tables) > 1:
            del tables[table]
        elif kind == "column":
            names = columns.split(",")
            at = data.randint(0, len(names) - 1)
            tables[table] = ",".join([*names[:at], f"other{at}", *names[at + 1 :]]), rows
        elif kind == "replace" and rows:
            row, at = data.choice(rows), data.randint(0, len(rows[0]) - 1)
            hostile = (*row[:at], _stored(data), *row[at + 1 :])
            tables[table] = columns, [hostile if each is row else each for each in rows]
        else:
            tables[table] = columns, []
    with TemporaryDirectory() as place:
        write(Path(place) / "a.db", tables)
        return (Path(place) / "a.db").read_bytes()


def _stored(data: Random) -> Any:
    value = data.choice([*HOSTILE, b"\xff\xfe", 2**63 - 1, -(2**63)])
    if isinstance(value, list | dict) or (isinstance(value, int) and abs(value) > 1 << 63):
        return str(value)[:500]
    if value == 1 << 63:
        return float(value)
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


ALLOCATED = {"Device Type": 1, "Device Id": 0, "Bytes": 512, "Total Allocated": 512}
MOVING = {"Collective name": "allreduce", "In msg nelems": 1000, "dtype": "Float"}
ARGUMENTS = {
    "External id": 1,
    "Input Dims": [[2, 2]],
    "Input type": ["float"],
    "Sequence number": 3,
}
FUZZED = {
    "schemaVersion": 1,
    "deviceProperties": [{"id": 0, "name": "A100"}],
    "distributedInfo": {"rank": 1},
    "with_flops": 1,
    "record_shapes": 1,
    "traceEvents": [
        {"ph": "M", "name": "process_name", "pid": 7, "tid": 0, "args": {"name": "python"}},
        event("user_annotation", "ProfilerStep#3", 0, 100),
        event("python_function", "a.py(1): f", 1, 60, args={"Python id": 1}),
        event("cpu_op", "aten::mm", 10.5, 20, args=ARGUMENTS),
        event("cpu_op", "aten::add", 12, 4, args={"External id": 2, "Call stack": "a.py(3): g"}),
        launch(5, 15, **{"External id": 1}),
        kernel(5, 40, grid=[1, 1, 1]),
        launch(6, 18),
        kernel(6, 60, **MOVING) | {"name": "ncclKernel_AllReduce"},
        event("[memory]", "[memory]", 20, 0, args=ALLOCATED) | {"cat": "cpu_instant_event"},
        {"ph": "s", "id": 6, "cat": "ac2g", "name": "ac2g", "pid": 7, "tid": 1, "ts": 18},
        {"ph": "f", "id": 6, "cat": "ac2g", "name": "ac2g", "pid": 3, "tid": 20, "ts": 60},
    ],
    "baseTimeNanoseconds": 1_790_857_026_000_000_000,
}
FILES: dict[str, Any] = {
    "trace_view.json": EVENTS,
    "kernel_details.csv": [HEADER, *KERNELS],
    "op_statistic.csv": STATISTIC.encode(),
    "step_trace_time.csv": STEPS.encode(),
    "operator_memory.csv": ALLOCATIONS.encode(),
    "memory_record.csv": RECORDS.encode(),
    "communication.json": COMMUNICATION,
    "l2_cache.csv": b"Stream Id,Task Id,Hit Rate,Op Name\n2,1,0.5,mm\n",
    "npu_module_mem.csv": b"Component,Timestamp(us),Total Reserved(MB)\nA,1.0\t,2\nA,2.0\t,2\n",
    "operator_details.csv": b'Name,Call Stack\naten::linear,"a;\nb"\n',
    "api_statistic.csv": b"Level,API Name,Count\nacl,a,1\n",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write one whole capture of each kind; return the file of each format."""
    root = tmp_path_factory.mktemp("fuzz")
    text = folder(root / "text", FILES, info())
    database = folder(root / "db", {}, info(_export_type="db"))
    write(database / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler_0.db", capture_tables())
    write(database / "ASCEND_PROFILER_OUTPUT" / "analysis.db", MOVED)
    (root / "chrome.json").write_text(json.dumps(FUZZED), encoding="utf-8")
    (root / "chrome.json.gz").write_bytes(gzip.compress(json.dumps(FUZZED).encode()))
    files = [*text.rglob("*.*"), *(database / "ASCEND_PROFILER_OUTPUT").iterdir()]
    return {path.name: path for path in (*files, *root.glob("chrome.*")) if path.is_file()}


FORMATS: dict[str, tuple[Damage, ...]] = {
    "chrome.json": (bytes_of, values_of),
    "chrome.json.gz": (bytes_of, packed(values_of), packed(bytes_of)),
    "trace_view.json": (bytes_of, values_of),
    "communication.json": (bytes_of, values_of, values_of),
    "profiler_info.json": (bytes_of, values_of, values_of),
    "kernel_details.csv": (bytes_of, cells_of),
    "operator_memory.csv": (bytes_of, cells_of),
    "memory_record.csv": (bytes_of, cells_of),
    "step_trace_time.csv": (bytes_of, cells_of),
    "ascend_pytorch_profiler_0.db": (bytes_of, rows_of, rows_of),
    "analysis.db": (bytes_of, rows_of, rows_of),
}
"""What is done to each; the other files only matter on the whole way."""
ONLY_CHECKED: dict[str, tuple[Damage, ...]] = {
    name: (bytes_of, cells_of) for name in FILES if name.endswith(".csv") and name not in FORMATS
}
ALL = FORMATS | ONLY_CHECKED


def captures(path: Path) -> Path:
    return path if path.name.startswith("chrome") else _capture_of(path)


def _capture_of(path: Path) -> Path:
    return next(each for each in path.parents if each.name.endswith("_ascend_pt"))


def damaged(data: Random, path: Path, whole: bytes, damages: tuple[Damage, ...]) -> None:
    path.write_bytes(data.choice(damages)(data, whole))


@pytest.fixture
def kept(places: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[tuple[Path, bytes]]:
    path = places[request.param]
    whole = path.read_bytes()
    yield path, whole
    path.write_bytes(whole)


@pytest.mark.parametrize("kept", FORMATS, indirect=True)
@FAST
@given(seed=st.integers(0, 2**64 - 1))
def test_no_damage_ends_in_an_error_that_is_not_ours(kept: tuple[Path, bytes], seed: int) -> None:
    path, whole = kept
    damaged(Random(seed), path, whole, FORMATS[path.name])
    try:
        foreign = external.read(captures(path))
    except RefusedError:
        return
    assert foreign.results
    external.expected_settings(foreign.info)


@pytest.mark.parametrize("kept", ALL, indirect=True)
@settings(FAST, max_examples=WHOLE_WAY)
@given(seed=st.integers(0, 2**64 - 1))
def test_no_damage_keeps_a_capture_from_its_verdict(kept: tuple[Path, bytes], seed: int) -> None:
    path, whole = kept
    damaged(Random(seed), path, whole, ALL[path.name])
    out = _out(path)
    shutil.rmtree(out, ignore_errors=True)
    try:
        finished = read_capture(captures(path), out)
    except RefusedError:
        assert not out.exists()
        return
    assert finished.record.exit_code in {0, 3}
    assert (out / "summary.md").exists()


def _out(path: Path) -> Path:
    return next(each for each in path.parents if each.name.startswith("fuzz")) / "out"
