"""``harness report``: the page of what is in a folder, again, elsewhere, and for others."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import msgspec
import polars as pl
import pytest
from msgspec.structs import replace

from harness.capture.writer import this_process
from harness.execution.protocol import SCHEMA_VERSION
from tests.conftest import Harness, Run, run_harness
from tests.support.pages import Document

TINY = ("workload=mlp", "workload.batch=2", "profiler=level0", "profiler.baseline.steps=2")


@pytest.fixture(scope="module")
def run(shared_run: Harness) -> Run:
    return shared_run(*TINY)


def page(path: Path) -> Document:
    return Document(path.read_bytes())


def test_every_run_leaves_a_page_with_the_figures_of_its_tables(run: Run) -> None:
    document = page(run.latest / "report.html")
    timing = run.record.timing
    medians = [timing["baseline"].median_ns, timing["active"].median_ns]
    assert document.column("Step time", 2) == medians
    operators = run.table("operators").drop_nulls("step")
    title = "Operators by self time, all recorded steps"
    assert sum(document.column(title, 1)) == operators.height
    assert sum(document.column(title, 2)) == operators["self_ns"].sum()
    assert "report.html" in run.out


def test_the_page_is_written_again_in_its_place_or_elsewhere(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.latest, folder)
    before = page(folder / "report.html")
    (folder / "report.html").unlink()
    again = run_harness(tmp_path, "report", "run")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("run/report.html: ")
    after = page(folder / "report.html")
    assert after.figures == before.figures
    measured = {name: rows for name, rows in after.tables.items() if name != "Files"}
    assert measured == {name: rows for name, rows in before.tables.items() if name != "Files"}
    elsewhere = run_harness(tmp_path, "report", "run", "--out", "new/page.html")
    assert elsewhere.code == 0
    hrefs = [
        str(named["href"]) for tag, named in page(tmp_path / "new/page.html").tags if tag == "a"
    ]
    assert all(href.startswith("#") for href in hrefs)


def test_a_redacted_page_tells_neither_host_nor_paths_nor_the_command(
    run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.latest, folder)
    whole = (folder / "report.html").read_bytes()
    done = run_harness(tmp_path, "report", "run", "--redact")
    assert done.code == 0
    content = (folder / "report-redacted.html").read_text(encoding="utf-8")
    for secret in (str(tmp_path), str(run.folder), "python -m harness", "workload.batch=2"):
        assert secret not in content
    assert socket.gethostname() not in str(Document(content.encode()).tables)
    assert (folder / "report.html").read_bytes() == whole


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "report takes one folder"),
        (("nowhere",), "it is not there"),
        (("empty",), "it has no run.json, sweep.json or merge.json"),
        (("empty", "seed=1"), "report takes no settings"),
        (("empty", "--out", "empty"), "it must be a file"),
    ],
)
def test_what_has_no_page_is_refused(
    harness: Harness, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    done = harness("report", *words)
    assert done.code == 2
    assert reason in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not any((tmp_path / "empty").iterdir())


def test_a_run_that_was_not_read_is_refused_with_what_to_do(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.latest, folder)
    capture = json.loads((folder / "capture.json").read_text(encoding="utf-8"))
    (folder / "capture.json").write_text(json.dumps(capture | {"reported": None}), encoding="utf-8")
    done = run_harness(tmp_path, "report", "run")
    assert done.code == 2
    assert "not read yet: its captures are not in tables" in done.err
    assert "python -m harness read run" in done.err


def test_a_run_that_goes_on_is_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.latest, folder)
    record = replace(run.record, status="running", exit_code=None, writer=this_process())
    (folder / "run.json").write_bytes(msgspec.json.encode(record))
    done = run_harness(tmp_path, "report", "run")
    assert done.code == 2
    assert "it is still running" in done.err
    assert "fix: wait until it has ended" in done.err


def test_a_sweep_has_a_page_that_leads_to_those_of_its_jobs(shared_run: Harness) -> None:
    run = shared_run("-m", *TINY[2:], "workload=mlp", "workload.batch=2,4")
    document = page(run.latest / "report.html")
    ranges = document.figure(
        "Step times of the jobs: median, and from the shortest to the longest step"
    )
    assert ranges["labels"] == ["2", "4"]
    hrefs = [str(named["href"]) for tag, named in document.tags if tag == "a"]
    pages = [href for href in hrefs if href.endswith("/report.html")]
    assert pages == ["workload.batch%3D2/report.html", "workload.batch%3D4/report.html"]
    assert (run.latest / "workload.batch=2" / "report.html").is_file()
    again = run_harness(run.folder, "report", "outputs/latest")
    assert again.code == 0
    assert page(run.latest / "report.html").figures == document.figures


def test_a_sweep_that_leads_out_of_its_folder_is_refused(harness: Harness, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    job = {"folder": "../other", "overrides": [], "values": {}}
    record = {"schema_version": SCHEMA_VERSION, "swept": ["seed"], "jobs": [job]}
    (sweep / "sweep.json").write_text(json.dumps(record), encoding="utf-8")
    done = harness("report", "sweep")
    assert (done.code, done.out) == (2, "")
    assert "it names a job outside of its folder: ../other" in done.err
    (sweep / "sweep.json").write_text(json.dumps(record | {"jobs": []}), encoding="utf-8")
    assert "it names no job" in harness("report", "sweep").err


def test_tables_of_another_kind_are_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.latest, folder)
    pl.DataFrame({"other": [1]}).write_parquet(folder / "tables" / "operators.parquet")
    done = run_harness(tmp_path, "report", "run")
    assert done.code == 2
    assert "operators.parquet: this table cannot be read: the column id is missing" in done.err
