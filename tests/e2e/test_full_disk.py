"""A disk without room or inodes, at any moment of a command: one line, exit 1, true records."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.capture.run_record import RunRecord, record_of
from tests.conftest import TINY_MATMUL, Run, run_harness
from tests.support.full_disks import fill, small_disk, unfinished_files

WORDS = ("device=cpu", "profiler=level0", *TINY_MATMUL)
ROOM = 17
"""Pages that a record reserves, and one."""
AT_THE_START = r"(run|plan|capture)\.json cannot"
IN_THE_CHILD = r"(outcome\.json|harness\.log) cannot"
AFTER_IT = r"(/(tables|analyses)/\w+\.parquet|summary\.md) cannot"


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was delivered."""
    run = run_harness(tmp_path_factory.mktemp("whole"), *WORDS)
    assert run.code == 0, run.err
    return run.latest


def records(folder: Path) -> Iterator[RunRecord]:
    for path in sorted(folder.rglob("run.json")):
        record = record_of(path.parent)
        assert record is not None, path
        yield record


def refused_by_the_disk(run: Run) -> str:
    """Check what holds of every command on a full disk; return the line that it printed."""
    assert run.code == 1, run.out + run.err
    assert "Traceback" not in run.out + run.err
    assert unfinished_files(run.folder) == []
    line, *more = [line for line in run.err.splitlines() if "cannot be written" in line]
    assert more == []
    assert "No space left on device. Free space on that disk, or inodes" in line
    return line


@pytest.mark.parametrize(
    ("limits", "file"),
    [
        ({"pages": 24}, AT_THE_START),
        ({"pages": 30}, IN_THE_CHILD),
        ({"pages": 38}, AFTER_IT),
        ({"pages": 44}, AFTER_IT),
        ({"inodes": 10}, AT_THE_START),
        ({"inodes": 12}, AT_THE_START),
        ({"inodes": 17}, IN_THE_CHILD),
        ({"inodes": 32}, AFTER_IT),
    ],
)
def test_a_run_that_fills_the_disk_has_failed_and_says_where(
    tmp_path: Path, limits: dict[str, int], file: str
) -> None:
    with small_disk(tmp_path / "disk", **limits) as disk:
        line = refused_by_the_disk(run_harness(disk, *WORDS))
        (record,) = records(disk)
    assert re.search(file, line), line
    assert (record.status, record.exit_code, record.writer) == ("failed", 1, None)
    assert f"{line.partition('. ')[0]}; what was recorded by then is kept" == record.reason


@pytest.mark.parametrize(
    "limits", [{"pages": 1}, {"pages": ROOM}, {"inodes": 2}, {"inodes": 4}, {"inodes": 9}]
)
def test_a_run_without_room_for_its_record_leaves_nothing(
    tmp_path: Path, limits: dict[str, int]
) -> None:
    with small_disk(tmp_path / "disk", **limits) as disk:
        refused_by_the_disk(run_harness(disk, *WORDS))
        assert list(disk.iterdir()) == []


def test_what_was_captured_on_a_full_disk_is_read_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", pages=42) as disk:
        refused_by_the_disk(run_harness(disk, *WORDS))
        subfolder = next(disk.glob("outputs/*/*/run.json")).parent
        shutil.copytree(subfolder, tmp_path / "run")
    assert not (tmp_path / "run" / "summary.md").exists()
    assert run_harness(tmp_path, "read", "run").code == 0
    (record,) = records(tmp_path / "run")
    assert (record.status, record.verdict, record.exit_code) == ("ok", "delivered", 0)


@pytest.mark.parametrize("leave", [4, ROOM + 2])
def test_a_run_that_cannot_be_read_again_stays_what_it_was(
    tmp_path: Path, a_run: Path, leave: int
) -> None:
    with small_disk(tmp_path / "disk", pages=100) as disk:
        shutil.copytree(a_run, disk / "run")
        before = (disk / "run" / "run.json").read_bytes()
        (disk / "run" / "steps.jsonl").write_bytes(b"")
        shutil.rmtree(disk / "run" / "analyses")
        fill(disk, leave=leave)
        refused_by_the_disk(run_harness(disk, "read", "run"))
        assert (disk / "run" / "run.json").read_bytes() == before


def test_a_capture_that_cannot_be_imported_has_failed(tmp_path: Path, a_run: Path) -> None:
    with small_disk(tmp_path / "disk", pages=100) as disk:
        shutil.copy(a_run / "raw" / "trace.json.gz", disk / "trace.json.gz")
        fill(disk, leave=ROOM + 6)
        refused_by_the_disk(run_harness(disk, "read", "trace.json.gz", "--out", "imported"))
        (record,) = records(disk)
        assert (record.status, record.exit_code) == ("failed", 1)
        (disk / "filler").unlink()
        fill(disk, leave=2)
        refused_by_the_disk(run_harness(disk, "read", "trace.json.gz", "--out", "another"))
        assert not (disk / "another").exists()


@pytest.mark.parametrize("leave", [0, 3, 8, 14])
def test_a_merge_writes_all_or_nothing(tmp_path: Path, a_run: Path, leave: int) -> None:
    with small_disk(tmp_path / "disk", pages=200) as disk:
        for name in ("a", "b"):
            shutil.copytree(a_run, disk / name)
        fill(disk, leave=leave)
        refused_by_the_disk(run_harness(disk, "merge", "a", "b", "--out", "merged"))
        assert not (disk / "merged").exists()


def test_a_sweep_says_of_each_job_what_became_of_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", pages=100) as disk:
        run = run_harness(disk, "-m", *WORDS, "seed=1,2")
        assert run.code == 1
        assert "Traceback" not in run.out + run.err
        assert "Sweep: 1 of 2 jobs delivered" in run.out
        delivered, failed = records(disk)
        assert (delivered.status, failed.status) == ("ok", "failed")
        assert "cannot be written: No space left on device" in failed.reason
        sweep = next(disk.glob("outputs/sweeps/*/sweep.json")).read_text(encoding="utf-8")
        assert failed.reason.partition(";")[0].rpartition("/")[2] in sweep
        assert unfinished_files(disk) == []


def test_a_sweep_without_an_inode_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", inodes=6) as disk:
        refused_by_the_disk(run_harness(disk, "-m", *WORDS, "seed=1,2"))
        assert list(disk.iterdir()) == []
