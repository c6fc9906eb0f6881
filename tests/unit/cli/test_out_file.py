"""Where a command may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.out_file import file_problems


@pytest.mark.parametrize(
    "name", ["sweep.json", "slurm.json", "slurm/job.sh", "slurm/7_0.log", "tables/sweep.parquet"]
)
def test_nothing_takes_the_place_of_what_a_sweep_needs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for path in ("sweep.json", "slurm.json"):
        (tmp_path / path).write_text("{}", encoding="utf-8")
    (problem,) = file_problems({"--out": str(tmp_path / name)})
    assert problem.setting == "--out"
    assert problem.reason == f"it is a part of the results in {tmp_path}"


def test_a_page_is_made_anew_where_it_was_or_anywhere_else(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{}", encoding="utf-8")
    for name in ("report.html", "slurm.html", "pages/slurm.json"):
        assert list(file_problems({"--out": str(tmp_path / name)})) == []
