"""Names of folders and files whose bytes are no UTF-8: what is written is, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Harness

ODD = os.fsdecode(b"w\xff")


def ended(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("words", [("workload=mlp",), ("-m", "workload=mlp", "seed=1,2")])
def test_results_are_refused_a_place_that_a_record_cannot_name(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / ODD).mkdir()
    run = ended(tmp_path / ODD, *words)
    assert run.returncode == 2
    assert "its name is no UTF-8, and records are" in run.stderr
    assert list((tmp_path / ODD).iterdir()) == []


def test_a_program_of_such_a_folder_runs(tmp_path: Path) -> None:
    (tmp_path / ODD).mkdir()
    (tmp_path / ODD / "small.py").write_text("import torch\ntorch.ones(3) @ torch.ones(3)\n")
    out = tmp_path / "out"
    run = ended(tmp_path / ODD, "workload.step=whole", f"--out={out}", "--", "small.py")
    assert run.returncode == 0, run.stderr
    program = json.loads((out / "run.json").read_bytes())["program"]
    assert program["folder"] == str(tmp_path / "w\\udcff")


def test_a_capture_of_such_a_name_is_refused(tmp_path: Path, harness: Harness) -> None:
    capture = tmp_path / f"{ODD}.json"
    capture.write_text('{"schemaVersion": 1, "traceEvents": []}')
    run = harness("read", os.fspath(capture), "--out", "out")
    assert run.code == 2
    assert "its name is no UTF-8, and the record keeps it" in run.err


def test_runs_in_such_folders_are_listed(tmp_path: Path, harness: Harness) -> None:
    made = harness("workload=mlp", "--out", "made")
    assert made.code == 0, made.err
    (made.folder / "made").rename(tmp_path / ODD)
    run = harness("list", os.fspath(tmp_path), "--json")
    assert run.code == 0, run.err
    assert [entry["folder"] for entry in json.loads(run.out)] == [str(tmp_path / ODD)]
    assert "w[U+DCFF]" in harness("list", os.fspath(tmp_path)).out
