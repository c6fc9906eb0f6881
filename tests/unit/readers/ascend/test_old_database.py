"""Databases of torch_npu before March 2025."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analyses.steps import step_breakdown
from harness.capture import external
from harness.capture.load import load_capture
from harness.pipeline.reading import read_capture
from tests.support.ascend_databases import (
    ARGUMENTS,
    MAIN,
    NOTHING,
    PID,
    RANGE,
    TASK,
    TENSORS,
    Strings,
    T,
    Tables,
    api,
    write,
)
from tests.support.ascend_folders import column, folder, info


def old_tables(*, dims: str = "64,128;\r\n128,32", types: str = "float;\r\nfloat") -> Tables:
    """Return two kernels of 100 us and a collective of 600 us, of which 50 us overlap the first.

    The column of dtypes has the shapes, and the reverse; collectives have no device.
    """
    strings = Strings()
    word = strings.__getitem__
    mm = [word(cell) for cell in ("ND;ND", "FLOAT;FLOAT", "64,128;128,32", "ND", "FLOAT", "64,32")]
    kernel = word("aclnnMm_MatMulV2"), word("AI_CORE"), word("MatMulV2")
    starts = {1: 100_000, 2: 800_000}
    tables: Tables = {
        "META_DATA": ("name, value", [("SCHEMA_VERSION", "1.0.0")]),
        "RANK_DEVICE_MAP": ("rankId, deviceId", [(0, 4)]),
        "STEP_TIME": ("id, startNs, endNs", [(3, T, T + 1_000_000)]),
        "PYTORCH_API": (
            f"{RANGE}, connectionId, name, sequenceNumber, fwdThreadId, {ARGUMENTS}, type",
            [api(strings, "aten::mm", 10_000, 20_000, 1, types=dims, dims=types)],
        ),
        "CONNECTION_IDS": ("id, connectionId", [(1, 5), (1, 6)]),
        "CANN_API": (
            "startNs, endNs, type, globalTid, connectionId, name",
            [(T + 15_000, T + 18_000, 10000, MAIN, 5, 1)],
        ),
        "TASK": (
            f"startNs, endNs, deviceId, connectionId, globalTaskId, globalPid, {TASK}",
            [
                (T + at, T + at + 100_000, 4, 5, n, PID, 6, NOTHING, 2, n, NOTHING)
                for n, at in starts.items()
            ],
        ),
        "COMPUTE_TASK_INFO": (
            f"name, globalTaskId, blockDim, mixBlockDim, taskType, opType, {TENSORS}",
            [(kernel[0], n, 20, 0, *kernel[1:], *mm) for n in starts],
        ),
        "COMMUNICATION_OP": (
            "opName, startNs, endNs, connectionId, groupName, opId, opType",
            [
                (
                    *(word("hcom_allReduce__1_0_1"), T + 150_000, T + 750_000),
                    *(6, word("group1"), 1, word("hcom_allReduce_")),
                )
            ],
        ),
    }
    return tables | {"STRING_IDS": ("id, value", [(n, text) for text, n in strings.items()])}


def made(root: Path, tables: Tables) -> Path:
    capture = folder(root, {}, info(_export_type="db"))
    write(capture / "ASCEND_PROFILER_OUTPUT" / "ascend_pytorch_profiler_0.db", tables)
    return capture


def frames(root: Path, tables: Tables) -> Any:
    (result,) = external.read(made(root, tables)).results
    assert result.notes == ()
    return result.frames


def test_exchanged_shapes_and_dtypes_are_told_by_their_texts(tmp_path: Path) -> None:
    for n, exchanged in enumerate((True, False)):
        texts = {"dims": "64,128;\r\n128,32", "types": "float;\r\nfloat"}
        if not exchanged:
            texts = {"dims": texts["types"], "types": texts["dims"]}
        operators = frames(tmp_path / str(n), old_tables(**texts))["operators"]
        assert column(operators, "input_shapes") == [[[64, 128], [128, 32]]]
        assert column(operators, "input_dtypes") == [["float", "float"]]


@pytest.mark.parametrize(
    ("tasks", "ranks", "device"),
    [
        ([], [(0, 4), (1, 5)], 4),
        ([], [(7, 5)], 5),
        ([], [], 4),
        ([(6, 9)], [(0, 4)], 9),
        ([(6, 9), (6, 8)], [], None),
    ],
)
def test_a_collective_has_the_device_of_its_task_or_rank_or_the_only_one(
    tmp_path: Path, tasks: Any, ranks: Any, device: int | None
) -> None:
    tables = old_tables()
    header, rows = tables["TASK"]
    more = [(None, None, number, link, 99, *rows[0][5:]) for link, number in tasks]
    tables["TASK"] = header, rows + more
    tables["RANK_DEVICE_MAP"] = "rankId, deviceId", ranks
    kernels = frames(tmp_path, tables)["kernels"]
    assert column(kernels.filter(core="COMMUNICATION"), "device") == [device]


def test_the_device_computes_and_communicates_in_one_step(tmp_path: Path) -> None:
    capture = made(tmp_path / "in", old_tables())
    record = read_capture(capture, tmp_path / "out").record
    (row,) = step_breakdown(load_capture(tmp_path / "out")).to_dicts()
    # Communication that is not overlapped.
    times = ("compute_ns", "communication_ns", "overlapped_ns", "idle_ns")
    assert [row[name] for name in times] == [200_000, 550_000, 50_000, 50_000]
    assert row["step"] == 3
    shapes = {item.setting: item.status for item in record.delivery}
    assert shapes["profiler.record_shapes"] == "delivered"
