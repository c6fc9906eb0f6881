"""However a run is stopped, nothing of it goes on, and its record says what happened."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import LIMIT_S, Run, ended, read_record, started

WORKLOAD = '''
import os
import pathlib
import signal
import subprocess
import sys
import time

import torch


def deaf(device, dtype, seed):
    """A step that lasts, and lets no interrupt through."""

    def step():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        pathlib.Path(f"begun{seed}").touch()
        time.sleep(60)

    return step


def chats(device, dtype, seed):
    """One that leaves a process which prints without pause, out of its session."""

    def step():
        code = "import os\\nwhile True: os.write(1, b'noise' * 999)"
        chatter = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        pathlib.Path("chatter").write_text(str(chatter.pid))
        pathlib.Path(f"begun{seed}").touch()
        time.sleep(60)

    return step


def takes_descriptors(device, dtype, seed):
    """One that closes what is not its own, and opens files of its own in their place."""
    calls, files = [], []

    def step():
        calls.append(0)
        if len(calls) == 10:  # the second one that is recorded
            os.closerange(3, 256)
            files.extend(open(f"own{number}", "wb") for number in range(40))
        return torch.ones(2) + 1

    return step
'''
AT_ONCE = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=1,2")


def begun(folder: Path, name: str, *words: str, steps: int = 1) -> subprocess.Popen[str]:
    """Start a run of a step, or several at once, and wait until they have begun."""
    (folder / "stubborn.py").write_text(WORKLOAD, encoding="utf-8")
    target = ("workload=callable", f"workload.target=stubborn:{name}", "profiler=level0")
    process = started(folder, *target, *words)
    waited_for(lambda: len(list(folder.glob("begun*"))) == steps, process)
    return process


def waited_for(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until
        assert process is None or process.poll() is None
        time.sleep(0.05)


def working_in(folder: Path) -> list[str]:
    """Return the programs of the processes whose current folder this is."""
    programs = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                programs.append((process / "cmdline").read_text())
        except OSError:
            continue
    return [program for program in programs if "resource_tracker" not in program]


def test_a_second_signal_ends_a_run_at_once(tmp_path: Path) -> None:
    with begun(tmp_path, "deaf", "execution.grace_s=60") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        run = ended(process, tmp_path, limit_s=20)
    assert run.code == 130
    said = "stopping: what was recorded is written, for at most 60 s (execution.grace_s); once more"
    assert run.err.count(said) == 1, run.err
    assert (run.record.status, run.record.exit_code) == ("interrupted", 130)
    assert run.record.reason == "interrupted before it had written what it recorded"
    assert working_in(tmp_path) == []


def test_a_run_that_writes_for_longer_than_it_may_names_the_setting(tmp_path: Path) -> None:
    with begun(tmp_path, "deaf", "execution.grace_s=1") as process:
        process.send_signal(signal.SIGINT)
        run = ended(process, tmp_path, limit_s=20)
    assert run.code == 130
    assert run.record.reason == (
        "interrupted; not all of what it recorded was written within execution.grace_s=1"
    )


def test_what_prints_without_pause_in_a_session_of_its_own_holds_nothing_up(
    tmp_path: Path,
) -> None:
    with begun(tmp_path, "chats") as process:
        try:
            process.send_signal(signal.SIGTERM)
            run = ended(process, tmp_path, limit_s=20)
        finally:
            os.kill(int((tmp_path / "chatter").read_text()), signal.SIGKILL)
    assert run.code == 130
    assert run.record.status == "interrupted"


def test_jobs_end_if_the_process_of_their_sweep_is_killed(tmp_path: Path) -> None:
    with begun(tmp_path, "deaf", *AT_ONCE, "execution.grace_s=1", steps=2) as process:
        process.kill()
        process.wait()
        waited_for(lambda: working_in(tmp_path) == [])
    assert statuses(tmp_path) == [("interrupted", 130)] * 2


def test_a_second_signal_ends_jobs_that_run_at_once(tmp_path: Path) -> None:
    with begun(tmp_path, "deaf", *AT_ONCE, "execution.grace_s=60", steps=2) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        process.send_signal(signal.SIGHUP)
        run = ended(process, tmp_path, limit_s=20)
    assert run.code == 130
    assert statuses(tmp_path) == [("interrupted", 130)] * 2
    waited_for(lambda: working_in(tmp_path) == [])


def statuses(folder: Path) -> list[tuple[str, int | None]]:
    records = [read_record(path.parent) for path in folder.glob("outputs/sweeps/*/*/run.json")]
    return [(record.status, record.exit_code) for record in records]


def test_descriptors_that_a_workload_takes_are_named_and_its_files_stay(
    harness: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "stubborn.py").write_text(WORKLOAD, encoding="utf-8")
    run = harness("workload=callable", "workload.target=stubborn:takes_descriptors")
    assert run.code == 1
    assert "the workload closed its descriptor" in run.record.reason
    assert "steps.jsonl" in run.record.reason
    assert any("progress was not shown" in note for note in run.record.notes)
    assert {path.stat().st_size for path in tmp_path.glob("own*")} == {0}
