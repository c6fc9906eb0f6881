"""What torch's profiler does not record of a step is said, with the count that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Harness

ALL_THREADS = "profiler.experimental.profile_all_threads=true"
WORKLOADS = """
import threading
from concurrent.futures import ThreadPoolExecutor
import torch


def _products(data, count):
    for _ in range(count):
        torch.mul(data, data)


def starts_thread(device, dtype, seed):
    data = torch.ones(4)
    def step():
        thread = threading.Thread(target=_products, args=(data, 20))
        thread.start()
        torch.add(data, data)
        thread.join()
    return step


def older_thread(device, dtype, seed):
    data, pool = torch.ones(4), ThreadPoolExecutor(1)
    pool.submit(_products, data, 1).result()
    def step():
        torch.add(data, data)
        pool.submit(_products, data, 7).result()
    return step


def idle_thread(device, dtype, seed):
    data, pool = torch.ones(4, requires_grad=True), ThreadPoolExecutor(1)
    def step():
        pool.submit(int).result()
        data.mul(data).sum().backward()
    return step


def nested(device, dtype, seed, first):
    data, calls = torch.ones(4), []
    def step():
        calls.append(0)
        torch.add(data, data)
        if len(calls) >= first:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
                torch.add(data, data)
    return step


def nothing(device, dtype, seed):
    return lambda: sum(range(100))


def nothing_here(device, dtype, seed):
    data, pool = torch.ones(4), ThreadPoolExecutor(1)
    return lambda: pool.submit(_products, data, 5).result()
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    (tmp_path / "not_recorded.py").write_text(WORKLOADS, encoding="utf-8")
    return "not_recorded"


@pytest.mark.parametrize(
    ("name", "lacking", "rows"),
    [("starts_thread", "20 of 21", 63), ("older_thread", "7 of 8", 24)],
)
def test_operators_of_other_threads_are_counted(
    harness: Harness, module: str, name: str, lacking: str, rows: int
) -> None:
    words = ("workload=callable", f"workload.target={module}:{name}")
    run = harness(*words)
    assert run.code == 3
    assert run.table("operators").height == 3
    (activities,) = [item for item in run.record.delivery if item.fails]
    assert (activities.setting, activities.status) == ("profiler.activities", "partial")
    assert f"({lacking} operators of a step ran in 1 other thread(s)" in activities.reason
    assert ALL_THREADS in activities.reason
    accepted = harness(*words, "delivery.accept=[profiler.activities]")
    assert accepted.code == 0
    threads = harness(*words, ALL_THREADS)
    assert (threads.code, threads.table("operators").height) == (0, rows)


def test_a_thread_without_operators_is_nothing(harness: Harness, module: str) -> None:
    run = harness("workload=callable", f"workload.target={module}:idle_thread")
    assert run.code == 0


@pytest.mark.parametrize("first", [11, 13])
def test_a_profiler_in_the_step_is_named_and_the_cycle_before_it_kept(
    harness: Harness, module: str, first: int
) -> None:
    # Call 8 warms the profiler up, 9 and 10 are recorded, 11 warms up, 12 and 13 are recorded.
    run = harness(
        "workload=callable",
        f"workload.target={module}:nested",
        f"workload.kwargs.first={first}",
        "profiler.schedule.active=2",
        "profiler.schedule.repeat=2",
    )
    assert run.code == 1
    assert "another profiler, which the step ran, has ended the harness's" in run.record.reason
    assert run.table("operators")["step"].unique().sort().to_list() == [1, 2]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "nothing",
            "run no operator of torch in their thread (the profiler recorded 6 marks of steps",
        ),
        ("nothing_here", "5 of 5 operators of a step ran in 1 other thread(s)"),
    ],
)
def test_a_step_without_operators_is_told_from_a_profiler_that_records_nothing(
    harness: Harness, module: str, name: str, reason: str
) -> None:
    run = harness("workload=callable", f"workload.target={module}:{name}")
    assert run.code == 3
    reasons = {item.setting: item.reason for item in run.record.delivery}
    assert reason in reasons["profiler.activities"]
    assert "another profiler" not in run.out


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_torchs_own_workers_are_no_threads_of_the_program(harness: Harness, threads: int) -> None:
    run = harness(f"device.environment.OMP_NUM_THREADS={threads}")
    assert run.code == 0, run.out
