"""``harness read``: a run is judged again, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TINY_MLP, Harness


def test_a_run_read_again_is_what_it_was(harness: Harness) -> None:
    run = harness("profiler=level1", *TINY_MLP)
    record, operators = run.record, run.table("operators")
    read = harness("read", "outputs/latest")
    assert read.code == 0, read.err
    assert read.record == record
    assert read.table("operators").equals(operators)
    assert "everything asked for was delivered" in read.out


def test_a_run_that_was_moved_is_read_where_it_is(harness: Harness) -> None:
    run = harness(*TINY_MLP)
    (run.folder / "elsewhere").mkdir()
    run.latest.rename(run.folder / "elsewhere" / "run")
    read = harness("read", "elsewhere/run")
    assert read.code == 0, read.err
    assert "elsewhere/run: summary.md" in read.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["read"], "it takes the folder of one run"),
        (["read", "one", "two"], "it takes the folder of one run"),
        (["read", "empty"], "it has no run.json"),
        (["read", "absent"], "it has no run.json"),
        (["read", "foreign"], "its run.json is not one that this version can read"),
        (["read", "empty", "profiler=level2"], "read takes a run as it was"),
        (["read", "empty", "profiler.analyse_timeout_s=soon"], "it must be seconds, or null"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_is_no_run_is_refused(
    harness: Harness, tmp_path: Path, words: list[str], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text('{"status": 7}', encoding="utf-8")
    run = harness(*words)
    assert run.code == 2
    assert says in " ".join(run.err.split())
    assert not list(tmp_path.glob("empty/*"))
