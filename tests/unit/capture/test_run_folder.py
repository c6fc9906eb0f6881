"""What is in a run's folder, who may write there, and what ``outputs/latest`` leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.capture.run_folder import clear, files_of, held_run, is_run, link_latest
from harness.errors import RefusedError
from harness.paths import RunFolder


def test_a_folder_that_was_moved_elsewhere_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "kept").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "raw").symlink_to(tmp_path / "big")
    clear(tmp_path / "run")
    assert not (tmp_path / "run" / "raw").is_symlink()
    assert (tmp_path / "big" / "kept").exists()


def test_a_folder_called_latest_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("latest", "run"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
    link_latest(Path("outputs") / "run")
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["latest", "run"]


NAMES = (
    *("run.json", "plan.json", "capture.json", "outcome.json", "analysis.json", "summary.md"),
    *("acl_calls.jsonl", "steps.jsonl", "harness.log", "raw", "cycles", "tables", "analyses"),
    *("report.html", "report-redacted.html"),
)


def test_a_new_run_replaces_all(tmp_path: Path) -> None:
    for path in (tmp_path / name for name in NAMES):
        if path.suffix:
            path.touch()
        else:
            path.mkdir()
            (path / "old").touch()
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.json", "plan.json", "capture.json"])
def test_a_run_is_one_from_its_first_record_on(tmp_path: Path, name: str) -> None:
    assert not is_run(tmp_path)
    (tmp_path / name).touch()
    assert is_run(tmp_path)


def test_what_there_is_to_read(tmp_path: Path) -> None:
    assert files_of(tmp_path) == ("summary.md", "report.html")
    run = RunFolder(tmp_path)
    for path in (run.raw, run.cycles, run.tables, run.analyses):
        path.mkdir()
    run.log.touch()
    files = ("summary.md", "report.html", "harness.log", "tables/", "analyses/", "raw/")
    assert files_of(tmp_path) == files


def test_two_harnesses_do_not_write_into_one_run_folder(tmp_path: Path) -> None:
    with held_run(tmp_path), pytest.raises(RefusedError) as refused, held_run(tmp_path):
        pass
    (problem,) = refused.value.problems
    assert (problem.setting, problem.reason) == (
        str(tmp_path),
        "another harness is writing into this run folder",
    )
    with held_run(tmp_path):
        pass
    with (
        pytest.raises(RefusedError, match="gone: it cannot be opened"),
        held_run(tmp_path / "gone"),
    ):
        pass
