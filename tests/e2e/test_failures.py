"""However a run ends, the exit code is right, run.json is true, and what was captured is kept."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import LIMIT_S, USER_MODULE, Harness, Run, ended, started

# Of the default run: calls 1-2 warm up, 3-7 are the baseline, 8 warms up the profiler, 9-11 are
# recorded.
SECOND_RECORDED = 10


def failing(harness: Harness, module: str, name: str, *words: str) -> Run:
    return harness(
        "workload=callable",
        f"workload.target={module}:{name}",
        f"workload.kwargs.at={SECOND_RECORDED}",
        *words,
    )


def test_workload_that_raises_is_exit_1_with_its_traceback(shared_run: Harness) -> None:
    run = failing(shared_run, USER_MODULE, "raises")
    assert run.code == 1
    assert 'raise ValueError("bad step")' in run.out
    assert "session.py" not in run.out, "only the workload's own frames"
    record = run.record
    assert (record.status, record.exit_code) == ("failed", 1)
    assert record.reason == "the workload raised ValueError: bad step"


@pytest.mark.parametrize("name", ["raises", "exits"])
def test_what_was_recorded_before_is_kept(shared_run: Harness, name: str) -> None:
    run = failing(shared_run, USER_MODULE, name)
    assert run.code == 1
    assert run.table("operators")["step"].unique().to_list() == [1]
    assert (run.latest / "raw" / "trace.json.gz").exists()
    delivery = {item.setting: item for item in run.record.delivery}
    assert delivery["profiler.schedule"].status == "partial"
    assert delivery["profiler.schedule"].arrived == "1 of 3 requested steps recorded (33.3%)"
    assert "what was recorded before that is kept" in run.out


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crashes", "the child process died of SIGSEGV (signal 11)"),
        ("is_killed", "the child process died of SIGKILL (signal 9)"),
    ],
)
def test_child_that_dies_is_exit_1_with_the_signal(
    shared_run: Harness, name: str, reason: str
) -> None:
    run = failing(shared_run, USER_MODULE, name)
    assert run.code == 1
    assert run.record.status == "failed"
    assert run.record.reason.startswith(reason)
    assert reason in run.out
    assert run.table("steps").height == SECOND_RECORDED - 1, "steps are written as they end"


def test_crash_leaves_the_python_stack_in_the_log(shared_run: Harness) -> None:
    run = failing(shared_run, USER_MODULE, "crashes")
    log = (run.latest / "harness.log").read_text(encoding="utf-8")
    assert "Fatal Python error: Segmentation fault" in log
    assert f"{USER_MODULE}.py" in log


def test_cycle_that_was_finished_survives_a_crash(harness: Harness, user_module: str) -> None:
    run = failing(
        harness,
        user_module,
        "crashes",
        "profiler.schedule.active=1",
        "profiler.schedule.repeat=2",
    )
    assert run.code == 1
    assert run.table("operators")["step"].unique().to_list() == [1]
    assert (run.latest / "raw" / "trace_0.json.gz").exists()


def test_limit_is_named_and_the_capture_drained(harness: Harness, user_module: str) -> None:
    run = failing(harness, user_module, "sleeps", "execution.timeout_s=15")
    assert run.code == 1
    assert run.record.reason == "ran past execution.timeout_s=15"
    assert run.table("operators")["step"].unique().to_list() == [1]


def test_child_that_ignores_the_limit_is_killed(harness: Harness, user_module: str) -> None:
    begin = time.monotonic()
    run = failing(harness, user_module, "hangs", "execution.timeout_s=5", "execution.grace_s=1")
    assert time.monotonic() - begin < LIMIT_S / 4
    assert run.code == 1
    assert run.record.reason == "ran past execution.timeout_s=5"


def interrupted(folder: Path, sent: signal.Signals, *words: str, phase: str = "recording") -> Run:
    """Start a run, and send a signal in a phase, such as while its second recorded step sleeps."""
    with started(folder, *words) as process:
        assert process.stderr is not None
        while phase not in process.stderr.readline():
            pass
        time.sleep(0.5 if phase == "recording" else 0)
        # A terminal sends Ctrl-C to the whole process group; the child must take it once.
        os.killpg(process.pid, sent)
        return ended(process, folder)


def test_an_interrupt_waits_for_what_is_being_written(tmp_path: Path) -> None:
    sent = signal.SIGINT
    run = interrupted(tmp_path, sent, "workload.steps=20", phase="writing what was recorded")
    assert run.code == 130
    assert (run.record.status, run.record.exit_code) == ("interrupted", 130)
    assert run.table("operators")["step"].unique().sort().to_list() == [1, 2, 3]
    assert list((run.latest / "raw").glob("trace.json.gz"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_stops_cleanly(tmp_path: Path, user_module: str, sent: signal.Signals) -> None:
    run = interrupted(
        tmp_path,
        sent,
        "workload=callable",
        f"workload.target={user_module}:sleeps",
        f"workload.kwargs.at={SECOND_RECORDED}",
    )
    assert run.code == 130
    assert (run.record.status, run.record.exit_code) == ("interrupted", 130)
    assert run.table("operators")["step"].unique().to_list() == [1]
    assert "INTERRUPTED" in run.out


def test_interrupt_ends_a_sweep(tmp_path: Path, user_module: str) -> None:
    run = interrupted(
        tmp_path,
        signal.SIGINT,
        "-m",
        "workload=callable",
        f"workload.target={user_module}:sleeps",
        f"workload.kwargs.at={SECOND_RECORDED}",
        "seed=1,2,3",
    )
    assert run.code == 130
    assert run.err.count("2 jobs not run: the sweep was interrupted") == 1
    assert "0 of 3 jobs delivered" in run.out
    assert len(list(run.latest.glob("*/run.json"))) == 1


def test_step_that_runs_nothing_of_torch_is_exit_3(harness: Harness, user_module: str) -> None:
    run = harness("workload=callable", f"workload.target={user_module}:does_nothing")
    assert run.code == 3
    assert (run.record.status, run.record.verdict) == ("ok", "not_delivered")
    assert "NOT everything requested was delivered" in run.out


def test_profiler_inside_the_workload_is_told_of(harness: Harness, user_module: str) -> None:
    run = harness("workload=callable", f"workload.target={user_module}:profiles_itself")
    assert run.code in {1, 3}
    assert run.record.verdict == "not_delivered"


def test_partial_delivery_passes_when_it_is_accepted(harness: Harness, tmp_path: Path) -> None:
    words = ("workload=callable", "workload.target=starts_well:works_at_first")
    (tmp_path / "starts_well.py").write_text(
        "import torch\n"
        "def works_at_first(device, dtype, seed):\n"
        "    calls = []\n"
        "    def step():\n"
        "        calls.append(0)\n"
        "        return torch.ones(2) if len(calls) < 11 else None\n"
        "    return step\n",
        encoding="utf-8",
    )
    refused = harness(*words)
    assert refused.code == 3
    partial = {item.setting: item.status for item in refused.record.delivery}
    assert partial["profiler.schedule"] == "partial"
    accepted = harness(*words, "delivery.accept=[profiler.schedule]")
    assert accepted.code == 0
    assert accepted.record.verdict == "delivered"


def test_factory_that_is_not_there_names_the_setting(harness: Harness, user_module: str) -> None:
    run = harness("workload=callable", f"workload.target={user_module}:nofactory")
    assert run.code == 1
    assert f"workload.target={user_module}:nofactory" in run.record.reason
