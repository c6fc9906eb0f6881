"""``harness compare`` and ``harness gate``, through the command."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from tests.conftest import Harness, Run, run_harness
from tests.support.compared import compared_run, side

SHORT = ("profiler=level1", "workload=mlp", "profiler.baseline.steps=3")
BASE = [10.0, 10.1, 9.9, 10.05, 9.95]


@pytest.fixture
def two_sides(tmp_path: Path) -> Path:
    side(tmp_path / "old", BASE)
    side(tmp_path / "new", [step * 1.1 for step in BASE])
    return tmp_path


def test_the_answer_is_printed_and_nothing_is_written(two_sides: Path) -> None:
    before = sorted(two_sides.rglob("*"))
    done = run_harness(two_sides, "compare", "new", "--against", "old")
    assert done.code == 0, done.err
    assert "Comparison: slower, +10.0%" in done.out
    assert "Operators by self time" in done.out
    assert sorted(two_sides.rglob("*")) == before


def test_settings_margins_and_paths_stand_anywhere(two_sides: Path) -> None:
    runs = [f"old/run-{number}" for number in range(5)]
    words = ("compare", "compare.margin=0.2", "--against", *runs, "--json", "new")
    done = run_harness(two_sides, *words)
    # The word after a flag without a value is a path of the candidate.
    record = json.loads(done.out)
    assert (record["times"]["answer"], record["times"]["margin"]) == ("no difference", 0.2)
    assert len(record["base"]) == 5


def test_what_is_kept_is_what_was_printed(two_sides: Path) -> None:
    done = run_harness(two_sides, "compare", "new", "--against", "old", "--out", "kept")
    assert done.code == 0, done.err
    kept = two_sides / "kept"
    record = json.loads((kept / "compare.json").read_text())
    assert record["times"]["answer"] == "slower"
    assert (kept / "comparison.md").read_text().startswith("# Comparison: slower, +10.0%")
    page = (kept / "report.html").read_text()
    assert "Comparison: slower, +10.0%" in page
    assert re.search(r"aten::mm[^\"]*, candidate", page)
    rows = pl.read_parquet(kept / "tables" / "operators_compared.parquet")
    assert rows["name"].to_list() == ["aten::mm"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare",), "--against: compare needs the runs"),
        (("compare", "old"), "--against: compare needs the runs"),
        (("compare", "--against", "old"), "no run is named that is to be compared"),
        (("compare", "new", "--against"), "--against: a value must follow"),
        (
            ("compare", "new", "--against", "old", "--repeat", "x"),
            "--repeat=x: it must be a number",
        ),
        (("compare", "new", "--against", "old", "compare.margin=0"), "compare.margin=0: must be"),
        (
            ("compare", "new", "--against", "old", "merge.match=strict"),
            "takes the settings compare",
        ),
        (("compare", "new", "--against", "old", "--limits", "x"), "it belongs to gate"),
        (("gate", "new"), "gate needs runs to compare with, or a file of limits"),
        (("gate", "new", "--against", "old", "--limits", "none.yaml"), "No such file"),
        (("gate", "new", "--against", "none", "compare.margin=1"), "gate takes its limits from"),
        (("list", "--against", "old"), "it belongs to compare, gate"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_refused(
    two_sides: Path, words: tuple[str, ...], said: str
) -> None:
    done = run_harness(two_sides, *words)
    assert done.code == 2
    assert said in done.err


def test_the_gate_ends_in_five_and_writes_what_ci_wants(two_sides: Path) -> None:
    files = ("--junit", "gate.xml", "--markdown", "gate.md", "--json-file", "gate.json")
    done = run_harness(two_sides, "gate", "new", "--against", "old", *files)
    assert done.code == 5, done.err
    assert "Gate: failed, 1 of 8 limits" in done.out
    suite = ET.parse(two_sides / "gate.xml").getroot()[0]  # noqa: S314 - our own file
    assert suite.get("failures") == "1"
    assert (two_sides / "gate.md").read_text().startswith("# Gate: failed, 1 of 8 limits")
    record = json.loads((two_sides / "gate.json").read_text())
    assert (record["passed"], record["verdicts"][0]["limit"]) == (False, "step_time.max_increase")
    assert run_harness(two_sides, "gate", "old/run-0", "--against", "old/run-1").code == 0


def test_a_file_that_cannot_be_written_is_an_error(two_sides: Path) -> None:
    (two_sides / "none").touch()
    done = run_harness(two_sides, "gate", "new", "--against", "old", "--junit", "none/gate.xml")
    assert done.code == 1
    assert "none cannot be written: Not a directory" in done.err


def test_both_requests_are_run_again_in_turn(harness: Harness, tmp_path: Path) -> None:
    for name, batch in (("old", 8), ("new", 16)):
        done = harness(*SHORT, f"workload.batch={batch}", "--out", name)
        assert done.code == 0, done.err
    done = harness("compare", "new", "--against", "old", "--repeat", "2", "--out", "again")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "again" / "compare.json").read_text())
    sides = {
        name: [(run["began_ns"], Path(run["folder"]).name) for run in record[name]]
        for name in ("base", "candidate")
    }
    in_time = [name for _, name in sorted([*sides["base"], *sides["candidate"]])]
    assert in_time == ["base-1", "candidate-1", "base-2", "candidate-2"]
    assert [item["what"] for item in record["differences"]] == ["workload.batch"]
    assert record["times"]["answer"] == "cannot tell"
    assert not any("ran before the other" in note for note in record["notes"])
    changes = {row["change"] for row in record["attributions"][0]["rows"]}
    assert "shape" in changes
    refused = harness("compare", "new", "--against", "old", "--repeat", "1", "--out", "again")
    assert refused.code == 2
    assert "there are runs of a comparison in this folder already" in refused.err


PROGRAM = """import torch
for _ in range(12):
    torch.randn(8, 8) @ torch.randn(8, 8)
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]).step()
"""


def ran(harness: Harness, tmp_path: Path, name: str) -> Run:
    (tmp_path / "train.py").write_text(PROGRAM)
    return harness("profiler=level1", "workload.step=whole", "--out", name, "--", "train.py")


def test_what_cannot_be_run_again_is_refused_before_anything_runs(
    harness: Harness, tmp_path: Path
) -> None:
    assert ran(harness, tmp_path, "program").code == 0
    shutil.copytree(tmp_path / "program", tmp_path / "copy")
    (tmp_path / "train.py").write_text(PROGRAM + "# changed\n")
    compared_run(tmp_path / "imported", source="/a/trace.json")
    done = harness("compare", "program", "--against", "imported", "--repeat", "2")
    assert done.code == 2
    assert "train.py has changed since (its file): it would be the new one on both" in done.err
    assert "an imported capture cannot be repeated" in done.err
    compared_run(tmp_path / "foreign", host="elsewhere")
    done = harness("compare", "program", "--against", "foreign", "--repeat", "2")
    assert done.code == 2
    assert "it was recorded on elsewhere, and commands of other machines are not run" in done.err
    assert not (tmp_path / "outputs").exists()
    (tmp_path / "train.py").write_text(PROGRAM)
    again = harness("compare", "program", "--against", "copy", "--repeat", "1", "--out", "again")
    assert again.code == 0, again.err
    assert (tmp_path / "again" / "candidate-1" / "run.json").exists()
