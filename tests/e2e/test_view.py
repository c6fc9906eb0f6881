"""``harness view``: which traces are shown, what is said of them, what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_MATMUL, Harness


def events(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return found


def steps_in(shown: list[dict[str, Any]]) -> list[str]:
    return sorted(e["name"] for e in shown if e.get("name", "").startswith("harness.step#"))


@pytest.fixture
def run(shared_run: Harness, tmp_path: Path) -> Path:
    cycles = ("profiler.schedule.active=2", "profiler.schedule.repeat=2")
    done = shared_run(*TINY_MATMUL, *cycles)
    assert done.code == 0, done.err
    return Path(shutil.copytree(done.latest, tmp_path / "run"))


def test_all_cycles_of_a_run_are_in_its_trace(run: Path, harness: Harness) -> None:
    done = harness("view", "run", "--trace-only")
    assert (done.code, done.err) == (0, "")
    assert "run/view/trace.json.gz: " in done.out
    shown = events(run / "view" / "trace.json.gz")
    names = steps_in(shown)
    assert len(names) == len(set(names)) == 4
    assert min(event["ts"] for event in shown if event["ph"] != "M") == 0
    assert (
        len({event["pid"] for event in shown if event.get("name", "").startswith("harness.")}) == 1
    )
    last = names[-1].partition("#")[2]
    done = harness("view", "run", "--trace-only", "--steps", last, "--out", "new/last.json.gz")
    assert done.code == 0
    assert "are of other steps, and left out" in done.out
    assert steps_in(events(run.parent / "new" / "last.json.gz")) == names[-1:]


def test_a_trace_of_any_program_is_shown(run: Path, harness: Harness) -> None:
    (trace, *_) = sorted(run.glob("raw/*.json.gz"))
    done = harness("view", str(trace), "--trace-only", "--out", "a.json.gz")
    assert (done.code, done.err) == (0, "")
    assert len(steps_in(events(run.parent / "a.json.gz"))) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("view",), "view takes one path"),
        (("view", "run", "--steps", "4-2"), "it must be a step, or the first and the last one"),
        (("view", "run", "--steps", "77", "--trace-only"), "--steps=77: the trace has the steps"),
        (("view", "run", "--port", "70000"), "it must be a number from 1 to 65535"),
        (("view", "run", "--out", "x"), "it belongs to --trace-only"),
        (("view", "run", "--trace-only", "--port", "1"), "nothing is served with --trace-only"),
        (("view", "run", "seed=1"), "view takes no settings"),
        (("view", "nothing"), "there is no such file or folder"),
        (("view", "empty", "--trace-only"), "there is no trace in it"),
        (("view", "run/run.json", "--trace-only", "--out", "x"), "no list"),
        (("view", "trace.json", "--trace-only"), "the new trace has no place"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    run: Path, harness: Harness, words: tuple[str, ...], said: str
) -> None:
    (run.parent / "empty").mkdir()
    (run.parent / "trace.json").write_text("[]", encoding="utf-8")
    done = harness(*words)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_run_without_a_trace_says_why(run: Path, harness: Harness) -> None:
    shutil.rmtree(run / "raw")
    done = harness("view", "run", "--trace-only")
    assert done.code == 2
    assert "it has no raw data, so there is no trace to show" in done.err


def test_each_rank_of_a_job_has_its_processes(harness: Harness) -> None:
    done = harness("execution=torchrun", "execution.nproc=2", "workload=ddp", "--out", "job")
    assert done.code == 0, done.err
    done = harness("view", "job", "--trace-only")
    assert (done.code, done.err) == (0, "")
    assert "one clock, or clocks that agree" in done.out
    shown = events(done.folder / "job" / "view" / "trace.json.gz")
    names = {e["pid"]: e["args"]["name"] for e in shown if e["name"] == "process_name"}
    steps = {names[e["pid"]] for e in shown if e["name"] == "harness.step#1"}
    assert steps == {"rank 0: python", "rank 1: python"}
    assert not [e for e in shown if e.get("dur", 0) < 0 or e.get("ts", 0) < 0]
