"""``harness list``: the runs below a folder, through the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.capture.found_runs import find_runs
from harness.capture.run_record import RunRecord, Timing
from harness.capture.writer import Writer
from harness.execution.protocol import write_json
from harness.paths import RunFolder
from tests.conftest import Harness, environment

HOST = os.uname().nodename


def run(folder: Path, age_s: int, **fields: Any) -> None:
    """Write the record of a run that ended some seconds ago."""
    chosen: dict[str, Any] = {
        "status": "ok",
        "verdict": "delivered",
        "exit_code": 0,
        "versions": {},
        "host": HOST,
        "device": "cpu",
        "requested": {"workload.name": "mlp", "workload.batch": 32, "profiler.with_stack": False},
    }
    folder.mkdir(parents=True)
    path = RunFolder(folder).record
    write_json(RunRecord(**chosen | fields), path)
    os.utime(path, (1_790_000_000 - age_s, 1_790_000_000 - age_s))


def times(baseline_ms: int, active_ms: int) -> dict[str, Timing]:
    return {
        phase: Timing(steps=5, median_ns=ms * 10**6, min_ns=ms * 10**6, max_ns=ms * 10**6)
        for phase, ms in (("baseline", baseline_ms), ("active", active_ms))
    }


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    root = tmp_path / "outputs"
    run(root / "day" / "second", 20, timing=times(7, 9), overrides=("profiler=level1",))
    run(
        root / "day" / "first",
        30,
        device="npu",
        emulated=True,
        verdict="not_delivered",
        exit_code=3,
        world_size=2,
    )
    run(root / "day" / "first" / "ranks" / "0", 30)
    begun: dict[str, Any] = {"status": "running", "verdict": "pending", "exit_code": None}
    run(root / "sweep" / "job", 10, **begun, writer=Writer(pid=1, started=1, boot="another"))
    broken = root / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    (root / "latest").symlink_to("day/second")
    return root


def rows(out: str) -> list[str]:
    return [" ".join(line.split()) for line in out.splitlines() if "──" not in line]


def test_runs_are_listed_the_newest_last(harness: Harness, outputs: Path) -> None:
    done = harness("list", str(outputs))
    assert (done.code, done.err) == (0, "")
    found = rows(done.out)
    places = [index for index, line in enumerate(found) if " mlp, " in line]
    assert [found[place].split(" ", 2)[2] for place in places] == [
        "mlp, npu (emulated), 2 ranks not delivered – day/first",
        "mlp, cpu delivered 7 ms day/second",
        "mlp, cpu died – sweep/job",
    ]
    assert "3 runs" in found
    assert "emulated: an emulator invented the times" in found
    assert any(line.startswith(f"{outputs}/broken/run.json: not listed:") for line in found)


@pytest.mark.parametrize(
    ("filters", "folders"),
    [
        (["device=npu"], ["day/first"]),
        (["verdict=delivered"], ["day/second"]),
        (["status=died"], ["sweep/job"]),
        (["emulated=false"], ["day/second", "sweep/job"]),
        (["exit_code=3"], ["day/first"]),
        (["profiler=level1"], ["day/second"]),
        (["workload=mlp", "workload.batch=32"], ["day/first", "day/second", "sweep/job"]),
        (["profiler.with_stack=false", "device=cpu"], ["day/second", "sweep/job"]),
        (["workload.batch=64"], []),
    ],
)
def test_all_filters_must_fit(
    harness: Harness, outputs: Path, filters: list[str], folders: list[str]
) -> None:
    done = harness("list", str(outputs), *filters, "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert [entry["folder"] for entry in found] == [str(outputs / one) for one in folders]


def test_json_has_all_that_is_known(harness: Harness, outputs: Path) -> None:
    (found,) = json.loads(harness("list", str(outputs / "day" / "second"), "--json").out)
    assert found == {
        "folder": str(outputs / "day" / "second"),
        "modified": 1_790_000_000 - 20,
        "status": "ok",
        "verdict": "delivered",
        "exit_code": 0,
        "device": "cpu",
        "emulated": False,
        "host": HOST,
        "workload": "mlp",
        "ranks": 1,
        "unprofiled_step_ns": 7_000_000,
        "profiled_step_ns": 9_000_000,
        "overrides": ["profiler=level1"],
        "requested": {"workload.name": "mlp", "workload.batch": 32, "profiler.with_stack": False},
    }


def test_what_cannot_be_is_refused(harness: Harness, outputs: Path) -> None:
    done = harness("list", str(outputs), "profilr=level1")
    assert done.code == 2
    assert "profilr=level1: none of the runs has a setting of this name" in done.err
    done = harness("list", "nowhere")
    assert done.code == 2
    assert "nowhere: there is no such folder" in done.err


def test_without_runs_it_says_so(harness: Harness) -> None:
    done = harness("list")
    assert (done.code, done.err) == (0, "")
    assert rows(done.out)[1:] == ["Runs below outputs", "0 runs"]


def test_text_from_a_record_is_text(harness: Harness, outputs: Path) -> None:
    run(outputs / "evil", 0, requested={"workload.name": "\x1b[31m[bold]red"})
    done = harness("list", str(outputs))
    assert "\x1b" not in done.out
    assert "[bold]red, cpu" in done.out


@pytest.mark.parametrize(("redirection", "code"), [(">/dev/full", 1), (">&-", 0), ("| true", 0)])
def test_json_that_a_full_disk_loses_is_an_error(
    outputs: Path, redirection: str, code: int
) -> None:
    words = (
        f"{sys.executable} -m harness list {outputs} --json {redirection}; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", words], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert ("standard output cannot be written: No space left on device" in done.stderr) == code


def test_links_are_not_followed(outputs: Path) -> None:
    elsewhere = outputs.parent / "elsewhere"
    run(elsewhere / "run", 0)
    (outputs / "out").symlink_to(elsewhere)
    (outputs / "linked").mkdir()
    (outputs / "linked" / "run.json").symlink_to(elsewhere / "run" / "run.json")
    found = [getattr(entry, "folder", None) for entry in find_runs(outputs)]
    assert not [folder for folder in found if folder and "elsewhere" in folder]
    assert str(outputs / "linked") not in found
