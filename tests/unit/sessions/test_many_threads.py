"""Windows over the steps of all threads: overlapping steps keep their operators apart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
import torch

import harness

LIMIT_S = 60.0
ALL = ("profiler.record_shapes=true", "profiler.experimental.profile_all_threads=true")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[harness.Session]:
    with harness.Session(*ALL, out=tmp_path / "out") as session:
        yield session


def product(size: int) -> None:
    torch.ones(3, size) @ torch.ones(size, 7)


def products(run: harness.Run) -> list[tuple[int | None, str | None, int]]:
    """Return step, stage and size of all products, in the order of their steps and times."""
    frame = run.tables["operators"].filter(pl.col("name") == "aten::mm")
    frame = frame.sort("step", "start_ns", nulls_last=True)
    sizes = [shapes[0][1] for shapes in frame["input_shapes"].to_list()]
    return list(zip(frame["step"], frame["stage"], sizes, strict=True))


def recording(session: harness.Session, asked: harness.Window, warm: Callable[[], None]) -> None:
    """Make warm-up steps until the window records active ones."""
    assert asked.wait("recording", LIMIT_S)
    recorded = session._seen.recording
    assert recorded is not None
    while recorded.steps._phase != "active":  # type: ignore[attr-defined]
        warm()
        time.sleep(0.005)


def test_steps_that_overlap_keep_their_operators_apart(session: harness.Session) -> None:
    asked = session.window(steps=2)
    recording(session, asked, lambda: one_step(session, 1))
    gate = threading.Barrier(3)

    def overlapping(stage: str, first: int, second: int) -> None:
        with session.step(stage):
            product(first)
            gate.wait()
            # Both steps are open, and a third thread works for nobody.
            gate.wait()
            product(second)
            gate.wait()

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(overlapping, "prefill", 10, 11)]
        while not session.status.stages:
            time.sleep(0.001)
        done.append(pool.submit(overlapping, "decode", 20, 21))
        gate.wait()
        product(99)
        gate.wait()
        gate.wait()
        for one in done:
            one.result()
    assert asked.wait(timeout=LIMIT_S)
    assert (asked.result.verdict, asked.result.missing) == ("delivered", ())
    found = products(asked.result)
    assert [row for row in found if row[0] is not None] == [
        *((1, "prefill", 10), (1, "prefill", 11)),
        *((2, "decode", 20), (2, "decode", 21)),
    ]
    assert (None, None, 99) in found
    steps = asked.result.tables["steps"].filter(pl.col("phase") == "active").sort("step")
    starts, durations = steps["start_ns"].to_list(), steps["duration_ns"].to_list()
    assert starts[1] < starts[0] + durations[0]


def one_step(session: harness.Session, size: int, stage: str | None = None) -> None:
    with session.step(stage):
        product(size)


def test_other_steps_are_beside(session: harness.Session) -> None:
    asked = session.window(steps=2, stage="decode")
    # The profiler starts with the first step that is wanted.
    one_step(session, 1, "prefill")
    one_step(session, 1, "decode")
    recording(session, asked, lambda: one_step(session, 1, "decode"))
    for size, stage in enumerate(("prefill", "decode", "prefill", "decode"), start=10):
        one_step(session, size, stage)
    assert asked.wait(timeout=LIMIT_S)
    found = products(asked.result)
    assert found[:2] == [(1, "decode", 11), (2, "decode", 13)]
    assert {(None, None, 10), (None, None, 12)} <= set(found)
    phases = asked.result.tables["steps"]["phase"].to_list()
    assert phases.count("active") == 2
    assert phases.count("profiler_warmup") == 1
    assert phases.count("beside") >= 2


def test_a_step_that_does_not_end_delays_nobody_and_has_no_operators(
    session: harness.Session,
) -> None:
    asked = session.window(steps=2)
    recording(session, asked, lambda: one_step(session, 1))
    begun, end = threading.Event(), threading.Event()

    def long_step() -> None:
        with session.step("long"):
            product(50)
            begun.set()
            end.wait()

    thread = threading.Thread(target=long_step)
    thread.start()
    begun.wait()
    one_step(session, 10)
    assert not asked.wait("writing", 0.3)
    # The window has two steps, and one of them has not ended.
    one_step(session, 11)
    with pytest.warns(harness.HarnessWarning, match="by request"):
        assert asked.stop(LIMIT_S)
        assert asked.wait(timeout=LIMIT_S)
    end.set()
    thread.join()
    found = products(asked.result)
    assert found[0] == (2, None, 10)
    assert {(None, None, 50), (None, None, 11)} <= set(found)
    assert asked.result.verdict == "not_delivered"


def test_a_window_is_bounded_though_no_step_ends(tmp_path: Path) -> None:
    with harness.Session(*ALL, "profiler.max_seconds=0.3", out=tmp_path) as session:
        asked = session.window(steps=2)
        assert asked.wait("recording", LIMIT_S)
        with (
            session.step(),
            pytest.warns(harness.HarnessWarning, match="after profiler.max_seconds=0.3"),
        ):
            assert asked.wait(timeout=LIMIT_S)
    assert "was ended after profiler.max_seconds=0.3: it has" in asked.reason


def test_a_window_that_no_step_comes_to_is_bounded_too(tmp_path: Path) -> None:
    with (
        harness.Session(*ALL, "profiler.max_seconds=0.3", out=tmp_path) as session,
        pytest.warns(harness.HarnessWarning, match="after profiler.max_seconds=0.3"),
    ):
        asked = session.window(steps=2, within=600)
        assert asked.wait(timeout=LIMIT_S)


def test_a_window_that_waits_is_given_up(session: harness.Session) -> None:
    one_step(session, 1, "prefill")
    with pytest.warns(harness.HarnessWarning, match="their stages: prefill"):
        asked = session.window(stage="decode", within=0.2)
        assert asked.wait(timeout=LIMIT_S)
    assert not (asked.folder / "raw").exists()
    assert asked.result.verdict == "not_delivered"


def test_it_records_operators_that_the_profile_of_one_thread_misses(
    session: harness.Session,
) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: one_step(session, 1), range(9)))
        asked = session.window(steps=20)
        recording(session, asked, lambda: pool.submit(one_step, session, 1).result())
        list(pool.map(lambda size: one_step(session, size), range(2, 40)))
    assert asked.wait(timeout=LIMIT_S)
    found = [row for row in products(asked.result) if row[0] is not None]
    assert [step for step, _, _ in found] == list(range(1, 21))
    assert sorted(size for _, _, size in found) == list(range(2, 22))


@pytest.mark.parametrize(
    ("lasts_s", "waits"),
    [pytest.param(0.25, True, id="short"), pytest.param(3.0, False, id="long")],
)
def test_a_window_ends_between_the_steps_of_all_threads_if_they_are_short(
    session: harness.Session, lasts_s: float, waits: bool
) -> None:
    asked = session.window(steps=1)
    recording(session, asked, lambda: one_step(session, 1))
    began = threading.Event()
    ended: list[float] = []

    def beside() -> None:
        with session.step():
            began.set()
            time.sleep(lasts_s)
        ended.append(time.perf_counter())

    first = threading.Thread(target=beside)
    with session.step():
        product(5)
        first.start()
        assert began.wait(LIMIT_S)
    # The window is full, its profiler is to be stopped, and a step is open beside.
    while asked.state == "recording":
        with session.step():
            next_began = time.perf_counter()
        time.sleep(0.001)
    first.join()
    assert asked.wait(timeout=LIMIT_S)
    assert asked.result.verdict == "delivered"
    assert (next_began > ended[0]) is waits


def test_memory_and_all_threads_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(harness.RefusedError, match="profile_all_threads"):
        harness.Session(*ALL, "profiler.profile_memory=true", out=tmp_path)
