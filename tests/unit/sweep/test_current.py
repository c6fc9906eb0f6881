"""A job finds its place in the sweep that it belongs to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.configuration.composition import Composition, compose_jobs
from harness.paths import RunFolder, SweepFolder
from harness.sweep import jobs
from harness.sweep.current import current_job, how_far


def begin(sweep: Path, composition: Composition, kept: list[bool]) -> None:
    """Write sweep.json, as before the first job."""
    with jobs.recorded(sweep, composition, kept):
        pass


def test_a_job_knows_its_number_what_is_kept_and_how_long_the_sweep_takes(tmp_path: Path) -> None:
    words = ["+workload.kwargs.n=1,2,3", "workload=callable", "workload.target=a:b", "name=x"]
    begin(tmp_path, compose_jobs(words, multirun=True), [False, True, False])
    began = time.time() - 12
    os.utime(SweepFolder(tmp_path).record, (began, began))
    second = current_job(tmp_path, "+workload.kwargs.n=2")
    assert (second.number, second.total) == (1, 3)
    assert second.varied == "+workload.kwargs.n=2"
    assert second.kept
    assert second.kept_jobs == 1
    assert second.elapsed_s == pytest.approx(12, abs=5)
    # One has run, one is kept, one is left: it takes as long as the first.
    assert (second.run_before, second.left) == (1, 1)
    assert second.left_s == second.elapsed_s
    first = current_job(tmp_path, "+workload.kwargs.n=1")
    assert (first.run_before, first.left, first.left_s) == (0, 2, None)
    assert not current_job(tmp_path, "+workload.kwargs.n=3").kept


def test_a_sweep_of_one_value_says_what_it_varies(tmp_path: Path) -> None:
    begin(tmp_path, compose_jobs(["seed=choice(4)"], multirun=True), [False])
    assert current_job(tmp_path, "seed=4").varied == "seed=4"
    begin(tmp_path, compose_jobs(["seed=4"], multirun=True), [False])
    assert current_job(tmp_path, "job").varied == "(nothing varies)"


def test_jobs_that_run_at_once_are_counted_by_the_files_of_this_sweep(tmp_path: Path) -> None:
    """What an earlier command has left, and what is kept, does not count."""
    words = ["seed=1,2,3,4,5"]
    composition = compose_jobs(words, multirun=True)
    begin(tmp_path, composition, [True, False, False, False, False])
    began = time.time() - 12
    os.utime(SweepFolder(tmp_path).record, (began, began))
    files = {1: "both", 2: "both", 3: "record", 4: "old", 5: "none"}
    for seed, left in files.items():
        folder = RunFolder(tmp_path / f"seed={seed}")
        folder.path.mkdir()
        if left != "none":
            folder.record.touch()
        if left in {"both", "old"}:
            folder.summary.touch()
        if left == "old":
            os.utime(folder.record, (began - 9, began - 9))
            os.utime(folder.summary, (began - 9, began - 9))
    # Of the four that are not kept, one has ended and one runs: 1.5 took 12 s, and 2.5 are left.
    assert how_far(tmp_path) == "1 of 4 ended, about 20 s left"
