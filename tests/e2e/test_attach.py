"""``harness attach``: windows in small servers that answer as engines do and really record."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from harness.capture.run_record import RunRecord
from tests.conftest import LIMIT_S, ROOT, Run, ended, environment, run_harness, started

TOY = ROOT / "tests" / "support" / "toy_engines.py"
STEPS = ("profiler.schedule.wait=0", "profiler.schedule.warmup=0")
SGLANG = ("--engine", "sglang", "device=cuda", "profiler.activities=[host]", *STEPS)
EVERY = "read (every rank)"


class Toy:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    def post(self, path: str) -> int:
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=LIMIT_S)
        with closing(connection):
            connection.request("POST", path)
            return connection.getresponse().status


Serve = Callable[..., Toy]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server of an engine that behaves in a way; it ends with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(engine: str, **behaviour: object) -> Toy:
        process = subprocess.Popen(
            [sys.executable, str(TOY), engine, json.dumps(behaviour)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment() | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        return Toy(process, process.stdout.readline().strip())

    yield start
    for process in processes:
        process.communicate("")


def vllm(folder: Path) -> tuple[str, ...]:
    return ("--engine", "vllm", "--captures", str(folder), "device=cpu", *STEPS)


def attach(folder: Path, toy: Toy, *words: str) -> Run:
    return run_harness(folder, "attach", toy.url, *words)


def statuses(record: RunRecord) -> dict[str, str]:
    return {item.setting: item.status for item in record.delivery}


def test_two_ranks_of_sglang_deliver_what_was_asked_for(tmp_path: Path, serve: Serve) -> None:
    toy = serve("sglang", key="of-mine", slow_rank=2.0)
    words = (*SGLANG, "--api-key-env", "TOY_KEY", "profiler.record_shapes=true")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_KEY", "of-mine")
        run = attach(tmp_path, toy, *words)
    assert run.code == 0, run.out + run.err
    assert statuses(run.record) == {
        "profiler.activities": "delivered",
        "profiler.record_shapes": "delivered",
        "read": "delivered",
        "profiler.schedule": "not_checkable",
        "other processes": "not_checkable",
    }
    record = run.record
    assert record.world_size == 2
    assert record.engine is not None
    assert (record.engine.version, record.engine.url, record.engine.ranks) == (
        *("0.5.23", toy.url),
        2,
    )
    captures = run.latest / "captures"
    assert record.engine.body == {
        "output_dir": str(captures),
        "num_steps": 3,
        "activities": ["CPU"],
        "with_stack": False,
        "record_shapes": True,
        "profile_prefix": "harness",
    }
    assert len(list(captures.iterdir())) == 2
    assert record.requested["profiler.record_shapes"] is True
    assert f"a window in sglang 0.5.23 at {toy.url}, recorded on cpu" in run.out
    assert "the HTTP server, the tokenizer and the detokenizer" in run.out
    assert "2 of 2 capture(s)" in run.err
    for path in run.latest.rglob("*"):
        assert not path.is_file() or b"of-mine" not in path.read_bytes(), path
    again = run_harness(tmp_path, "read", str(run.latest))
    assert (again.code, statuses(again.record)) == (0, statuses(record)), again.err
    assert again.record.engine == record.engine


def test_a_server_that_drops_shapes_is_named_for_it(tmp_path: Path, serve: Serve) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    toy = serve("vllm", folder=str(traces), drops=["record_shapes"])
    for _ in range(2):  # the first window is over, else the second were refused
        run = attach(tmp_path, toy, *vllm(traces), "profiler.record_shapes=true")
        assert run.code == 3, run.out + run.err
    failing = {item.setting: item for item in run.record.delivery if item.fails}
    assert list(failing) == ["profiler.record_shapes"]
    assert failing["profiler.record_shapes"].status == "missing"
    assert "profiler.record_shapes: vllm 0.33.0 was asked for it" in run.out
    assert run.record.engine is not None
    assert run.record.engine.body["profiler_kwargs.record_shapes"] is True
    # Those of the first window, and of the frontend, are not among this one's.
    assert len(list((run.latest / "captures").iterdir())) == 2
    assert run.record.world_size == 2
    assert "that of its frontend is not read" in run.out
    assert "it does not say how many ranks it has" in run.out


def test_what_cannot_be_asked_for_is_refused_or_left_out(tmp_path: Path, serve: Serve) -> None:
    toy = serve("sglang", ranks=1)
    words = (*SGLANG, "profiler.profile_memory=true")
    refused = attach(tmp_path, toy, *words)
    assert refused.code == 2
    assert "profiler.profile_memory=true: sglang 0.5.23 has no field for it" in refused.err
    assert not list(tmp_path.iterdir())
    run = attach(tmp_path, toy, *words, "--partial")
    assert run.code == 3, run.out + run.err
    failing = {item.setting: item.arrived for item in run.record.delivery if item.fails}
    assert failing == {"profiler.profile_memory": "left out of what was asked"}
    assert run.record.requested["profiler.profile_memory"] is True


def test_a_rank_without_a_capture_is_named(tmp_path: Path, serve: Serve) -> None:
    toy = serve("sglang", ranks=3, lazy_rank=True)
    run = attach(tmp_path, toy, *SGLANG, "--limit", "5")
    assert run.code == 3, run.out + run.err
    failing = {item.setting: item.reason for item in run.record.delivery if item.fails}
    assert failing[EVERY] == "rank 2 left no capture"
    assert "does the server get requests?" in failing["profiler.schedule"]


def test_a_server_without_requests_is_told_of(tmp_path: Path, serve: Serve) -> None:
    toy = serve("sglang", ranks=1, works=False)
    run = attach(tmp_path, toy, *SGLANG, "--limit", "5")
    assert run.code == 3, run.out + run.err
    assert "no step was recorded within 5 s: does the server get requests?" in run.err
    assert len(list(run.folder.rglob("captures/*.trace.json.gz"))) == 1


def test_captures_on_another_disk_are_told_of(tmp_path: Path, serve: Serve) -> None:
    elsewhere = tmp_path / "elsewhere"
    toy = serve("sglang", ranks=1, elsewhere=str(elsewhere))
    (tmp_path / "here").mkdir()
    run = attach(tmp_path / "here", toy, *SGLANG, "--limit", "5")
    assert run.code == 3, run.out + run.err
    assert "no capture appeared in outputs/" in run.err
    assert "--requested BODY.json --target sglang" in run.err
    assert not list(run.folder.rglob("run.json"))
    body = next(line for line in run.err.splitlines() if line.strip().startswith("{"))
    (tmp_path / "body.json").write_text(body)
    words = ("--requested", str(tmp_path / "body.json"), "--target", "sglang")
    later = run_harness(tmp_path, "read", str(elsewhere), *words)
    assert later.code == 0, later.out + later.err


def test_a_server_that_dies_leaves_what_it_wrote(tmp_path: Path, serve: Serve) -> None:
    toy = serve("sglang", slow_rank=60.0, dies_after=8.0)
    run = attach(tmp_path, toy, *SGLANG, "--limit", "40")
    assert run.code == 1, run.out + run.err
    assert (run.record.status, run.record.exit_code) == ("failed", 1)
    assert run.record.reason == f"{toy.url} went away while it recorded"
    assert f"FAILED: {toy.url} went away while it recorded" in run.out
    assert run.record.requested["profiler.schedule.active"] == 3
    failing = {item.setting: item.reason for item in run.record.delivery if item.fails}
    assert failing[EVERY] == "the server has 2 ranks, and 1 left a capture"


def test_a_stop_that_hangs_is_told_and_what_was_recorded_is_kept(
    tmp_path: Path, serve: Serve
) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    toy = serve("vllm", ranks=1, folder=str(traces), stop_hangs=True)
    run = attach(tmp_path, toy, *vllm(traces), "--limit", "5")
    assert run.code == 1, run.out + run.err
    assert run.record.reason.startswith(f"{toy.url}/stop_profile: no whole answer came within 5 s")
    assert run.record.source.endswith("/captures")
    assert statuses(run.record)["profiler.activities"] == "delivered"


def test_an_interrupt_stops_the_window(tmp_path: Path, serve: Serve) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    toy = serve("vllm", ranks=0, folder=str(traces))
    process = started(tmp_path, "attach", toy.url, *vllm(traces), "--out", "run")
    assert process.stderr is not None
    for line in process.stderr:
        if "the window has begun" in line:
            break
    process.send_signal(signal.SIGINT)
    run = ended(process, tmp_path)
    assert run.code == 130, run.out + run.err
    assert "interrupted: the server is asked to stop the window" in run.err
    assert "the server has stopped the window" in run.err
    record = json.loads((tmp_path / "run" / "run.json").read_bytes())
    assert (record["status"], record["exit_code"]) == ("interrupted", 130)
    assert toy.post("/start_profile") == 200  # which it refuses while one goes on


def test_a_window_that_goes_on_is_not_disturbed(tmp_path: Path, serve: Serve) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    toy = serve("vllm", folder=str(traces), ranks=0)
    toy.post("/start_profile")
    run = attach(tmp_path, toy, *vllm(traces))
    assert run.code == 4
    (line,) = (each for each in run.err.splitlines() if "profiling already" in each)
    assert "(409: A profiling session is already active." in line
    assert line.endswith(f"; POST {toy.url}/stop_profile ends that")


def test_a_server_that_would_drop_the_settings_is_refused(tmp_path: Path, serve: Serve) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    toy = serve("vllm", folder=str(traces), ranks=0, version="0.31.1")
    run = attach(tmp_path, toy, *vllm(traces))
    assert run.code == 2
    assert "vllm 0.31.1 drops the settings in a request to it without a word" in run.err
    assert toy.post("/start_profile") == 200  # nothing was begun
    for version, why in {"0.1.2": "'0.1.2'", "dev": "'dev'"}.items():
        old = serve("vllm", folder=str(traces), ranks=0, version=version)
        run = attach(tmp_path, old, *vllm(traces))
        assert run.code == 2
        assert f"the server says that it is vllm {why}; what that takes is not known" in run.err


def test_a_server_without_a_profiler_is_told_of(tmp_path: Path, serve: Serve) -> None:
    toy = serve("vllm", ranks=0)
    run = attach(tmp_path, toy, *vllm(tmp_path))
    assert (run.code, run.out) == (4, "")
    assert "it has no /start_profile (404: Not Found): start it with --profiler-config" in run.err


def test_another_engine_is_told_of(tmp_path: Path, serve: Serve) -> None:
    toy = serve("sglang", ranks=0)
    run = attach(tmp_path, toy, *vllm(tmp_path))
    assert run.code == 4
    assert run.err == f"{toy.url} is sglang, not vllm: --engine sglang\n"


@pytest.mark.parametrize(
    ("key", "how"), [("", "it wants a key"), ("x", "it does not take the key")]
)
def test_a_key_that_is_missing_or_wrong_is_told_of(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, key: str, how: str
) -> None:
    toy = serve("sglang", ranks=0, key="right")
    monkeypatch.setenv("TOY_KEY", key)
    run = attach(tmp_path, toy, *SGLANG, *(("--api-key-env", "TOY_KEY") if key else ()))
    assert run.code == 4
    fix = "--api-key-env NAME names the variable that has one"
    assert run.err == f"{toy.url}/server_info: {how} (401); {fix}\n"
