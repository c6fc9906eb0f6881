"""torch.distributed with the real torch_npu, whose HCCL is the emulator's: two processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.emulator.build import Emulator
from harness.pipeline.reading import read_capture
from harness.readers import READERS
from harness.readers.ascend import folder as ascend
from harness.readers.ascend.database import AscendDb
from harness.readers.base import ReadContext, ReadResult
from tests.conftest import ROOT
from tests.npu.conftest import CHILDREN, LIMIT_S

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
RANKS = (0, 1)
STEPS = (1, 2)
LATE_NS = 200_000_000
"""By so much is rank 1 late for the barrier (children/ddp.py)."""
CLOCKS_APART_NS = 100_000
"""Each rank dates its capture by its own reading of the clock."""


def torchrun(emulator: Emulator, folder: Path, *words: str, **settings: str) -> list[Any]:
    """Run a script of children/ on two ranks, and return what each left in its file."""
    done = subprocess.run(
        [sys.executable, *TORCHRUN, str(CHILDREN / words[0]), str(folder), *words[1:]],
        cwd=folder,
        env=emulator.environment(strict=True) | {"PYTHONPATH": str(ROOT)} | settings,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in RANKS]


@pytest.fixture(scope="module")
def queued(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return torchrun(emulator, tmp_path_factory.mktemp("queued"), "collectives.py")


@pytest.fixture(scope="module")
def direct(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Without torch_npu's queue, errors come from the call itself."""
    folder = tmp_path_factory.mktemp("direct")
    return torchrun(emulator, folder, "collectives.py", "refuse", TASK_QUEUE_ENABLE="0")


@pytest.mark.parametrize("run", ["queued", "direct"])
def test_collectives_are_exact(run: str, request: pytest.FixtureRequest) -> None:
    results = request.getfixturevalue(run)
    numbers = {"SUM": [2, 4, 7], "PRODUCT": [1, 4, 12], "MAX": [1, 2, 4], "MIN": [1, 2, 3]}
    for rank, found in enumerate(results):
        assert found["reduced"] == {
            "bool": dict.fromkeys([*numbers, "AVG"], [True] * 3),
            "int64": numbers | {"AVG": [1, 2, 3]},
            "bfloat16": numbers | {"AVG": [1, 2, 3.5]},
            "float32": numbers | {"AVG": [1, 2, 3.5]},
        }
        assert found["large"]
        assert found["broadcast"] == [10, 11, 12]
        assert found["gathered"] == [[0, 1, 2], [10, 11, 12]]
        assert found["scattered"] == ([1, 3], [300, 302])[rank]
        assert found["objects"] == [{"rank": 0}, {"rank": 1}]
        assert found["second group"] == [2, 2]
        assert not found["still shared"]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("reduce", ("HcclReduce", "HcclReduce")),
        ("scatter", ("HcclScatter", "HcclScatter")),
        ("all_to_all", ("HcclAlltoAll", "HcclAlltoAll")),
        ("send", ("HcclSend", "HcclRecv")),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(
    direct: list[Any], call: str, names: tuple[str, str]
) -> None:
    for found, name in zip(direct, names, strict=True):
        error = found["refused"][call]
        assert f"{name}, error code is 5" in error
        assert f"emulated: {name} is not emulated: HcclAllReduce, HcclBroadcast," in error


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("dies", r"rank 1 \(process \d+\) has left or ended"),
        ("sleeps", r"rank 1 did not come within 1 s \(HCCL_EXEC_TIMEOUT\)"),
    ],
)
def test_a_rank_that_is_left_alone_does_not_hang(
    emulator: Emulator, tmp_path: Path, how: str, reason: str
) -> None:
    settings = {"PYTHONPATH": str(ROOT), "HCCL_EXEC_TIMEOUT": "1", "TASK_QUEUE_ENABLE": "0"}
    words = [sys.executable, str(CHILDREN / "left_alone.py"), str(tmp_path / "store"), how]
    environment = emulator.environment() | settings
    started = [
        subprocess.Popen(words, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE)
        for rank in RANKS
    ]
    printed = [process.communicate(timeout=LIMIT_S)[0] for process in started]
    error, seconds = json.loads(printed[0])
    assert re.search(f"emulated: HcclAllReduce: {reason}", error)
    assert seconds < LIMIT_S / 10


@pytest.fixture(scope="module")
def trained(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A data-parallel training of two ranks: the folder of its captures, and what each found."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, torchrun(emulator, folder, "ddp.py")


@pytest.fixture(scope="module")
def captures(trained: tuple[Path, list[Any]]) -> list[Path]:
    return [ascend.captures(trained[0] / str(rank))[0] for rank in RANKS]


@pytest.fixture(scope="module")
def texts(captures: list[Path]) -> list[ReadResult]:
    readers = [next(each for each in READERS if each.recognises(path)) for path in captures]
    assert {reader.name for reader in readers} == {"torch_npu text export"}
    return [
        reader.read(path, ReadContext()) for reader, path in zip(readers, captures, strict=True)
    ]


@pytest.fixture(scope="module")
def databases(captures: list[Path]) -> list[ReadResult]:
    return [AscendDb().read(capture, ReadContext()) for capture in captures]


def test_gradients_of_two_ranks_equal_those_of_one(trained: tuple[Path, list[Any]]) -> None:
    for found in trained[1]:
        assert found == {"equal": [True] * 4, "not zero": [True] * 4}


def hccl(result: ReadResult) -> pl.DataFrame:
    kernels = result.frames["kernels"]
    return kernels.filter(pl.col("core").cast(pl.String) == "COMMUNICATION")


@pytest.mark.parametrize("kind", ["texts", "databases"])
def test_both_ranks_have_rows_of_hccl(kind: str, request: pytest.FixtureRequest) -> None:
    results = request.getfixturevalue(kind)
    found = [hccl(result) for result in results]
    assert found[0]["name"].to_list() == found[1]["name"].to_list()
    for rank, rows in enumerate(found):
        assert set(rows["step"]) == set(STEPS)
        assert rows["rank"].unique().to_list() == rows["device"].unique().to_list() == [rank]
        assert rows["operator"].null_count() == 0
        types = rows.group_by("step", "type").agg(pl.len()).sort("step")
        reductions = types.filter(pl.col("type").cast(pl.String) == "hcom_allReduce_")
        assert reductions["len"].to_list() == [2, 2]  # the gradients, and the barrier


def test_the_communication_of_all_ranks_ends_at_once(texts: list[ReadResult]) -> None:
    """The rank that comes last has the shortest, and the others' waiting is told apart."""
    rows = pl.concat(result.frames["communication"] for result in texts)
    both = rows.with_columns(
        end_ns=pl.col("start_ns") + pl.col("duration_ns"),
        rest_ns=pl.col("duration_ns") - pl.col("transit_ns") - pl.col("wait_ns"),
    )
    spread = both.group_by("name").agg(
        pl.len(),
        groups=pl.col("group").n_unique(),
        end=pl.col("end_ns").max() - pl.col("end_ns").min(),
        transit=pl.col("transit_ns").max() - pl.col("transit_ns").min(),
    )
    assert spread["len"].to_list() == [2] * spread.height
    assert spread["groups"].to_list() == [1] * spread.height
    assert spread.filter(pl.col("end") > CLOCKS_APART_NS).is_empty()
    assert spread.filter(pl.col("transit") > 1).is_empty()
    assert both.filter(pl.col("rest_ns").abs() > 1).is_empty()
    barriers = both.filter(pl.col("bytes") == 4, pl.col("type") == "allreduce")
    assert barriers.height == len(RANKS) * len(STEPS)
    waits = barriers.select("rank", late=pl.col("wait_ns") > LATE_NS // 2)
    assert dict(waits.unique().iter_rows()) == {0: True, 1: False}


def test_both_exports_tell_the_same(texts: list[ReadResult], databases: list[ReadResult]) -> None:
    columns = ["step", "rank", "name", "type", "group", "start_ns", "duration_ns", "transit_ns"]
    columns += ["wait_ns", "bytes"]
    for text, database in zip(texts, databases, strict=True):
        left, right = text.frames["communication"], database.frames["communication"]
        assert left.select(columns).equals(right.select(columns), null_equal=False)


def test_steps_have_communication_beside_computing(captures: list[Path]) -> None:
    for capture in captures:
        output = capture / "ASCEND_PROFILER_OUTPUT"
        steps = pl.read_csv(output / "step_trace_time.csv")
        kernels = pl.read_csv(output / "kernel_details.csv", infer_schema=False)
        rows = kernels.filter(pl.col("Accelerator Core") == "COMMUNICATION")
        total_us = rows["Duration(us)"].cast(pl.Float64).sum()
        assert steps["Communication"].sum() == pytest.approx(total_us)
        assert steps["Communication(Not Overlapped)"].sum() <= steps["Communication"].sum()
        matrix = json.loads((output / "communication_matrix.json").read_text())
        assert list(matrix) == [f"step{step}" for step in STEPS]
        assert all("allreduce-total@" in str(each["collective"]) for each in matrix.values())


def test_the_captures_are_delivered_and_consistent(captures: list[Path], tmp_path: Path) -> None:
    for rank, capture in enumerate(captures):
        record = read_capture(capture, tmp_path / str(rank)).record
        assert record.emulated
        assert {each.status for each in record.delivery} <= {"delivered", "not_requested"}
