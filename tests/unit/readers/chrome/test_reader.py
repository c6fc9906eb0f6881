"""torch's chrome trace: the tables are those that its events make before they are written."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, record_function

from harness import tables
from harness.devices.torch_events import tables_of
from harness.readers.base import CaptureError, ReadContext, ReadResult
from harness.readers.chrome import reader
from tests.support.chrome_traces import event, kernel, launch

BASE = 1_790_857_026_000_000_000
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(events: list[dict[str, Any]], **head: Any) -> Path:
        path = tmp_path / "trace.json"
        path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events, **head}))
        return path

    return written


def read(path: Path, chunk_bytes: int = 4 << 20) -> ReadResult:
    return reader.read(path, ReadContext(), chunk_bytes)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pl.DataFrame]]:
    """A profile of torch's, as it wrote it and as its events are."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))

    def step(number: int) -> None:
        with record_function(f"harness.step#{number}"):
            with record_function("harness.stage#forward"):
                half = torch.randn(4, 8)
                output = model(torch.cat([half, half]))
            output.sum().backward()

    step(0)
    with profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        profile_memory=True,
        with_stack=True,
        experimental_config=_ExperimentalConfig(verbose=True),
    ) as prof:
        for number in range(2):
            step(number)
    path = tmp_path_factory.mktemp("chrome") / "trace.json"
    prof.export_chrome_trace(str(path))
    tables = tables_of(prof.profiler.kineto_results, rank=0, first_id=0, memory=True, stacks=True)
    return path, tables.frames


def same(result: ReadResult, frames: dict[str, pl.DataFrame]) -> None:
    for name in ("operators", "memory"):
        # Threads are numbered by the system there, by the profiler here.
        columns = [column for column in tables.SCHEMAS[name] if column != "thread"]
        assert result.frames[name].select(columns).equals(frames[name].select(columns)), name
    assert sorted(result.frames["stacks"].rows()) == sorted(frames["stacks"].rows())


def test_a_trace_of_torch_has_the_tables_of_its_events(
    recorded: tuple[Path, dict[str, pl.DataFrame]],
) -> None:
    path, frames = recorded
    result = read(path)
    same(result, frames)
    assert result.notes == ()
    assert result.event_counts["user_annotation"].marks == 4
    assert result.info.settings["profiler.with_stack"] is True


def test_stacks_are_those_of_the_python_functions_where_operators_have_none_of_their_own(
    recorded: tuple[Path, dict[str, pl.DataFrame]], tmp_path: Path
) -> None:
    path, frames = recorded
    text = re.sub(r'"Call stack": "[^"]*",', "", path.read_text(encoding="utf-8"))
    without = tmp_path / "trace.json"
    without.write_text(text, encoding="utf-8")
    same(read(without), frames)


def test_a_compressed_trace_in_chunks_of_any_size_is_the_same(
    recorded: tuple[Path, dict[str, pl.DataFrame]], tmp_path: Path
) -> None:
    path, frames = recorded
    packed = tmp_path / "trace.json.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for size in (1000, 65_537, 4 << 20):
        same(read(packed, size), frames)
    assert reader.Chrome().recognises(packed)


def test_times_are_exact_to_the_nanosecond(write: Write) -> None:
    text = '{"traceEvents": [%s, %s], "baseTimeNanoseconds": %d}'
    first = json.dumps(event("cpu_op", "aten::mm", 0, 1)).replace(
        '"ts": 0', '"ts": 4673442691430.947'
    )
    second = json.dumps(event("cpu_op", "aten::mm", 0, 1)).replace('"ts": 0', '"ts": 5.0e12')
    path = write([])
    path.write_text(text % (first, second, BASE))
    starts = read(path).frames["operators"]["start_ns"].to_list()
    assert starts == [BASE + 4_673_442_691_430_947, BASE + 5_000_000_000_000_000]


def test_kernels_find_their_operator_by_call_then_by_arrow_then_by_number(write: Write) -> None:
    step = event("user_annotation", "ProfilerStep#5", 0, 300)
    outer = event("cpu_op", "aten::linear", 10, 50, args={"External id": 1})
    mm = {"External id": 2, "Input Dims": [[4, 8], [8, 2]], "Input type": ["float", "float"]}
    inner = event("cpu_op", "aten::mm", 20, 20, args=mm)
    late = event("cpu_op", "aten::relu", 70, 9, args={"External id": 103})
    arrow = {"ph": "s", "id": 101, "pid": 7, "tid": 1, "ts": 72, "cat": "ac2g", "name": "ac2g"}
    path = write(
        [
            *(step, outer, inner, late, launch(100, 25), arrow),
            *(kernel(100, 400), kernel(101, 405), kernel(102, 420, **{"External id": 1})),
            kernel(103, 430, **{"External id": 103}),
        ],
        deviceProperties=[{"id": 0, "name": "A100"}],
    )
    result = read(path)
    operators, kernels = result.frames["operators"], result.frames["kernels"]
    names = dict(operators.select("id", "name").rows())
    assert [names.get(operator) for operator in kernels["operator"]] == [
        "aten::mm",
        "aten::relu",
        "aten::linear",
        None,
    ]
    assert kernels["step"].to_list() == [5, 5, 5, None]
    assert kernels["input_shapes"].to_list() == [[[4, 8], [8, 2]], None, None, None]
    assert dict(operators.select("name", "device_ns").rows()) == {
        "aten::linear": 10_000,
        "aten::mm": 10_000,
        "aten::relu": 10_000,
    }
    # The call to the driver is a child, too.
    assert operators["self_ns"].to_list() == [30_000, 18_000, 9_000]
    assert kernels.select("device", "stream").unique().rows() == [(3, 20)]
    assert (result.info.device, result.info.device_name) == ("cuda", "A100")


def test_arguments_of_kernels_are_columns_under_their_own_names(write: Write) -> None:
    path = write(
        [
            kernel(1, 5, grid=[64, 1, 1], **{"blocks per SM": 1, "registers per thread": 90}),
            kernel(2, 25, **{"blocks per SM": 0.5, "name": "mine", "odd": {"a": 1}}),
            kernel(3, 45, grid="all", block=[]),
        ]
    )
    for size in (1, 4 << 20):
        kernels = read(path, size).frames["kernels"]
        assert kernels["registers per thread"].to_list() == [90, None, None]
        assert kernels["blocks per SM"].to_list() == [1.0, 0.5, None]
        assert kernels["args.name"].to_list() == [None, "mine", None]
        assert kernels["odd"].to_list() == [None, '{"a":1}', None]
        assert kernels["block"].to_list() == [None, None, []]
        assert kernels["grid"].to_list() == ["[64,1,1]", None, "all"]


def test_collective_kernels_are_communication(write: Write) -> None:
    info = {"Collective name": "allreduce", "Process Group Name": "0", "dtype": "BFloat16"}
    named = kernel(2, 50) | {"name": "ncclKernel_AllGather_RING_LL_Sum_float(ncclDevComm*)"}
    path = write([kernel(1, 5, **info, **{"In msg nelems": 1000}), named, kernel(3, 90)])
    rows = read(path).frames["communication"].select("type", "group", "bytes", "duration_ns").rows()
    assert rows == [("allreduce", "0", 2000, 10_000), ("allgather", None, None, 10_000)]


def test_allocations_have_their_device_and_their_operator(write: Write) -> None:
    def allocated(ts: float, kind: int, index: int, size: int) -> dict[str, Any]:
        args = {"Device Type": kind, "Device Id": index, "Bytes": size, "Total Allocated": 512}
        return {
            "ph": "i",
            "cat": "cpu_instant_event",
            "name": "[memory]",
            "s": "t",
            "pid": 7,
            "tid": 1,
            "ts": ts,
            "args": args,
        }

    op = event("cpu_op", "aten::empty", 10, 5)
    path = write([op, allocated(12, 1, 0, 512), allocated(20, 0, -1, -64)])
    rows = read(path).frames["memory"].select("device", "kind", "bytes", "operator").rows()
    assert rows == [("cuda:0", "alloc", 512, 0), ("cpu", "free", -64, None)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "trace.json: the file is empty"),
        (
            b"[]",
            (
                "trace.json: no event of an operator or a device is in it: the profiler recorded"
                " nothing, or exported before its first step ended"
            ),
        ),
        (b"<html>", "trace.json: no list of events: begins with b'<html>'"),
        (b'{"schemaVersion": 1}', 'trace.json: no list "traceEvents" in its object'),
        (b'{"a": {"traceEvents": []}}', 'trace.json: no list "traceEvents" in its object'),
        (b'{"traceEvents": 7}', 'trace.json: no list "traceEvents" in its object'),
        (b"\x1f\x8b\x08\x00broken-and-more", "trace.json: the file is empty"),
    ],
)
def test_what_is_no_trace_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(content)
    with pytest.raises(CaptureError) as raised:
        read(path)
    assert str(raised.value) == says


def test_a_folder_or_a_file_of_another_kind_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "trace.txt").write_text('{"traceEvents": []}')
    assert not any(map(reader.Chrome().recognises, tmp_path.iterdir()))


def test_numbers_and_arguments_that_are_none_are_counted(write: Write) -> None:
    path = write(
        [
            event("cpu_op", "aten::mm", 10, 1),
            event("cpu_op", "aten::late", 10**40, 1),
            event("cpu_op", "aten::negative", 10, -1),
            event("cpu_op", "aten::wordy", 10, 1, tid="main"),
            event("cpu_op", "aten::args", 10, 1, args=[1]),
            event("cpu_op", "aten::dims", 10, 1, args={"Input Dims": [[10**30], "x"]}),
            kernel(10**30, 5, **{"registers per thread": 10**30}),
        ],
        baseTimeNanoseconds="soon",
    )
    result = read(path)
    assert result.frames["operators"]["name"].to_list() == ["aten::mm", "aten::args", "aten::dims"]
    assert result.frames["operators"]["input_shapes"].to_list() == [None, None, None]
    assert result.notes == (
        "trace.json: 3 events skipped: a required number is missing",
        "trace.json: 1 events whose arguments are not a JSON object",
    )
    assert result.event_counts["cpu_op"].seen - result.event_counts["cpu_op"].rows == 3


def test_a_trace_that_was_cut_off_says_so_and_keeps_what_came_before(
    recorded: tuple[Path, dict[str, pl.DataFrame]], tmp_path: Path
) -> None:
    whole = recorded[0].read_bytes()
    for name, content, says in (
        ("plain", whole, "plain.json.gz: cut off at byte"),
        (
            "packed",
            gzip.compress(whole, mtime=0),
            "packed.json.gz: the compressed file is cut off before",
        ),
    ):
        path = tmp_path / f"{name}.json.gz"
        path.write_bytes(content[: len(content) // 8])
        result = read(path, 10_000)
        assert 0 < result.frames["operators"].height < recorded[1]["operators"].height
        assert any(note.startswith(says) for note in result.notes)


SMALL = json.dumps(
    {
        "schemaVersion": 1,
        "traceEvents": [
            event("user_annotation", "harness.step#0", 0, 100),
            event("cpu_op", "aten::mm", 10.5, 20, args={"External id": 1, "Input Dims": [[2, 2]]}),
            launch(5, 15, **{"External id": 1}),
            kernel(5, 40, grid=[1, 1, 1]),
            event("python_function", "a.py(1): f", 1, 60),
        ],
        "baseTimeNanoseconds": BASE,
    }
).encode()


def whole_or_refused(path: Path, content: bytes) -> ReadResult | None:
    """Read what may be broken: tables of the right types, or an error that names the file."""
    path.write_bytes(content)
    try:
        result = read(path, 64)
    except CaptureError as error:
        return None if path.name in str(error) else pytest.fail(str(error))
    for name, frame in result.frames.items():
        types = {column: frame.schema[column] for column in tables.SCHEMAS[name]}
        assert types == dict(tables.SCHEMAS[name])
    return result


@given(cut=st.integers(0, len(SMALL) - 1), packed=st.booleans())
@settings(deadline=None, max_examples=150)
def test_a_trace_cut_anywhere_is_refused_or_said_to_be_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.json"
    content = gzip.compress(SMALL)[:cut] if packed else SMALL[:cut]
    result = whole_or_refused(path, content)
    if result is not None:
        whole = packed and cut >= len(gzip.compress(SMALL))
        assert whole or result.notes


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    number=st.integers(0, 4),
    key=st.sampled_from(["name", "cat", "ph", "ts", "dur", "tid", "pid", "args"]),
    inside=st.sampled_from(["", "External id", "Input Dims", "correlation", "device", "grid"]),
    value=ODD | st.sampled_from([10**30, "1e99", -1, "NaN", [[["a"]]]]),
)
@example(number=3, key="name", inside="device", value=1 << 31)
@settings(deadline=None, max_examples=150)
def test_any_value_in_any_place_leaves_tables_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, number: int, key: str, inside: str, value: Any
) -> None:
    trace = json.loads(SMALL)
    chosen = trace["traceEvents"][number]
    if inside:
        chosen["args"][inside] = value
    else:
        chosen[key] = value
    path = tmp_path_factory.getbasetemp() / "odd.json"
    result = whole_or_refused(path, json.dumps(trace).encode())
    assert result is not None
    events = sum(counts.seen for counts in result.event_counts.values())
    assert events == 5 or result.notes


@given(at=st.integers(0, len(SMALL) - 1), byte=st.integers(0, 255))
@settings(deadline=None, max_examples=200)
def test_any_byte_changed_leaves_tables_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "byte.json"
    whole_or_refused(path, SMALL[:at] + bytes([byte]) + SMALL[at + 1 :])


def test_an_argument_of_a_name_that_no_column_can_have_is_counted(write: Write) -> None:
    events = [launch(1, 10), kernel(1, 20, **{"a\n": 1, 'b"': 2, "grid": 3})]
    reading = read(write(events))
    assert reading.frames["kernels"]["grid"].to_list() == [3]
    assert any(note.endswith("2 arguments of kernels were skipped") for note in reading.notes)


def test_lists_of_tensors_are_laid_out_as_in_the_process(tmp_path: Path) -> None:
    first, second = torch.zeros(3, 4), torch.zeros(5, 4)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as prof:
        torch.cat([first, second])
        torch._foreach_add_([first, second], [first, second])
        torch._foreach_mul_([torch.tensor(1.0), first], 2.0)
        torch.cat([first] * 30)
        torch.cat([first] * 31)
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(str(path))
    of_process = tables_of(prof.profiler.kineto_results, rank=0, first_id=0, memory=False)
    columns = pl.col("name", "input_shapes", "input_dtypes")
    written, kept = (
        frames["operators"].select(columns) for frames in (read(path).frames, of_process.frames)
    )
    # torch writes no shapes of more than 30 tensors into a trace.
    assert written[-1].row(0) == ("aten::cat", [[], []], ["TensorList", "Scalar"])
    assert written[:-1].equals(kept[:-1])
    assert kept[-1].row(0)[2] == [*["TensorList[31]"] * 31, "Scalar"]


def test_a_kernel_has_the_tensors_of_its_operators_list(write: Write) -> None:
    nested = {"Input Dims": [[[3, 4], [5, 4]], []], "Input type": ["TensorList", "Scalar"]}
    untold = {"Input Dims": [[], []], "Input type": ["TensorList", "Scalar"]}
    events = [
        event("cpu_op", "aten::cat", 0, 9, args={"External id": 5, **nested}),
        launch(7, 2, **{"External id": 5}),
        kernel(7, 3),
        event("cpu_op", "aten::other", 10, 9, args={"External id": 6, **untold}),
    ]
    frames = read(write(events)).frames
    listed = ([[3, 4], [5, 4], []], ["TensorList[2]", "TensorList[2]", "Scalar"])
    chosen = ("input_shapes", "input_dtypes")
    assert frames["operators"].select(chosen).rows() == [
        listed,
        ([[], []], ["TensorList", "Scalar"]),
    ]
    assert frames["kernels"].select(chosen).rows() == [listed]
