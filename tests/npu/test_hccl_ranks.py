"""HCCL of the emulator: what its ranks compute, and how they end. Without torch."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from harness.emulator.build import Emulator
from tests.npu.conftest import run_on_npu

PARAMETER, NOT_SUPPORTED, TIMEOUT, REMOTE = 1, 5, 9, 21
BOTH_SIZES = ("2 ranks here, 3 elsewhere", "3 ranks here, 2 elsewhere")
OPERATIONS = (np.add.reduce, np.multiply.reduce, np.maximum.reduce, np.minimum.reduce)


@pytest.fixture(scope="module")
def answers(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each rank returned, and its last error, by case."""
    return json.loads(run_on_npu(emulator, tmp_path_factory.mktemp("ranks"), "ranks.py"))


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64", "float16", "float32"])
def test_reductions_of_three_ranks_are_exact_on_each(answers: Any, name: str) -> None:
    values = np.array([[rank + 1, rank - 3, 5] for rank in range(3)], dtype=name)
    for result, _ in answers["reduces"]:
        found = [result[f"{name} {operation}"] for operation in range(4)]
        assert found == [reduce(values).tolist() for reduce in OPERATIONS]


def test_whole_numbers_wrap_and_half_types_round_once(answers: Any) -> None:
    for result, _ in answers["reduces"]:
        assert result["wrapping"] == [(300 + 128) % 256 - 128]
        values = np.array(result["bfloat16"], dtype="uint32") << 16
        assert values.view("float32").tolist() == [3, 7.5, 768]


def test_what_hccl_does_not_reduce_is_refused(answers: Any) -> None:
    for result, error in answers["reduces"]:
        assert result["float64"] == NOT_SUPPORTED
        assert error == "emulated: HcclAllReduce: HCCL does not reduce DOUBLE by operation 0"
        assert (result["joined"], result["left"]) == (0, 0)


def test_parts_of_any_size_arrive_and_the_memory_has_no_name(answers: Any) -> None:
    assert len(answers["moves"]) == 3
    for result, error in answers["moves"]:
        assert error == "emulated"
        assert all(result.values()), result


def test_one_rank_is_a_communicator(answers: Any) -> None:
    assert answers["alone"] == [[[0, [1, 2]], "emulated"]]


def test_streams_wait_for_one_another_on_the_invented_timeline(answers: Any) -> None:
    (((*firsts, second), error),) = answers["streams"]
    assert (error, len(firsts)) == ("emulated", 100)
    for first in firsts:
        assert (first["op"], first["duration_ns"], first["wait_ns"]) == ("HcclBarrier", 10_000, 0)
        assert first["stream"] != second["stream"]
        assert second["start_ns"] >= first["start_ns"] + first["duration_ns"]


def test_ranks_that_call_different_things_are_told_so(answers: Any) -> None:
    """From then on, every call fails on every rank."""
    for codes, error in answers["differs"]:
        assert codes == [0, PARAMETER, PARAMETER]
        assert error == "emulated: HcclAllReduce: the communicator has broken off before"


def test_a_rank_that_dies_is_named_at_once(answers: Any) -> None:
    (codes, error), dead = answers["dies"]
    assert (codes, dead) == ([REMOTE], None)
    assert error.startswith("emulated: HcclAllReduce: rank 1 (process ")
    assert error.endswith(") has left or ended")


def test_a_rank_that_does_not_come_is_waited_for_until_the_limit(answers: Any) -> None:
    (first, error), (second, _) = answers["late"]
    assert first == second == [TIMEOUT]
    limit = "1 s (HCCL_EXEC_TIMEOUT)"
    assert error == f"emulated: HcclAllReduce: rank 1 did not come within {limit}"


def test_communicators_that_do_not_fit_are_refused(answers: Any) -> None:
    join = "emulated: HcclCommInitRootInfo"
    (code, refusal), (other, missing) = sorted(answers["sizes"])  # whoever comes first waits
    assert (code, other) == (PARAMETER, TIMEOUT)
    assert refusal in {f"{join}: {sizes}" for sizes in BOTH_SIZES}
    assert re.fullmatch(
        join + r": rank \d did not come within 1 s \(HCCL_CONNECT_TIMEOUT\)", missing
    )
    ((code, error),) = answers["too many"]
    assert code == PARAMETER
    assert "at most 64 ranks" in error


def test_what_is_not_emulated_is_refused_by_name(answers: Any) -> None:
    ((codes, error),) = answers["refused"]
    assert codes == [NOT_SUPPORTED, NOT_SUPPORTED]
    assert error.startswith("emulated: HcclCommInitAll is not emulated: HcclAllReduce, ")
