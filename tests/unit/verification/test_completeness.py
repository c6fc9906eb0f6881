"""A file that ends early is named; one that nothing can tell of is named, too."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from harness.capture.capture import Capture
from harness.capture.run_record import Consistency, Delivery
from harness.readers.sqlite import cut_off
from harness.verification.completeness import completeness
from tests.support.captures import capture

HOLDS = Consistency(name="a", status="holds", files=("op_statistic.csv", "kernel_details.csv"))


def written(root: Path, **files: bytes) -> Capture:
    output = root / "raw" / "x_ascend_pt" / "ASCEND_PROFILER_OUTPUT"
    output.mkdir(parents=True)
    for name, content in files.items():
        (output / name.replace("__", ".")).write_bytes(content)
    return capture("device=npu", "profiler=level1", folder=root)


def judged(given: Capture, *consistent: Consistency) -> Delivery:
    (found,) = completeness(given, consistent)
    assert (found.setting, found.requested) == ("read", "the whole capture")
    return found


def test_files_that_others_vouch_for_are_whole(tmp_path: Path) -> None:
    given = written(tmp_path, op_statistic__csv=b"a\n1\n", communication__json=b"{}")
    found = judged(given, HOLDS)
    assert (found.status, found.arrived, found.reason) == ("delivered", "2 file(s) whole", "")


@pytest.mark.parametrize("status", ["does_not_apply", "broken"])
def test_a_comparison_vouches_only_if_it_holds(tmp_path: Path, status: str) -> None:
    given = written(tmp_path, op_statistic__csv=b"a\n1\n", trace_view__json=b"[]")
    found = judged(given, structs.replace(HOLDS, status=status))
    assert found.arrived.endswith("1 file(s) whole")
    if status == "broken":
        assert (found.status, found.fails) == ("partial", True)
        assert found.reason == "kernel_details.csv, op_statistic.csv: other files contradict it"
    else:
        assert (found.status, found.fails) == ("not_checkable", False)
        assert found.reason == (
            "completeness could not be checked: nothing in the capture shows whether lines are"
            " missing at the end of op_statistic.csv"
        )


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("l2_cache__csv", b"a,b\n1,2\n3", "l2_cache.csv: cut off in its last line"),
        ("l2_cache__csv", b"", "l2_cache.csv: cut off in its last line"),
        ("communication_matrix__json", b'{"a": ', "communication_matrix.json: cut off or broken:"),
        ("analysis__db", b"", "analysis.db: empty"),
        ("analysis__db", b"no database" * 20, "analysis.db: no database"),
    ],
)
def test_a_file_that_ends_early_is_named(
    tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    found = judged(written(tmp_path, **{name: content}))
    assert (found.status, found.fails) == ("partial", True)
    assert found.reason.startswith(why)


def test_what_a_reader_lost_is_named_once(tmp_path: Path) -> None:
    given = written(tmp_path, trace_view__json=b"[{", l2_cache__csv=b"a\n1")
    lost = ("trace_view.json: cut off at byte 1", "l2_cache.csv: cut off in line 2")
    found = judged(structs.replace(given, lost=lost))
    assert (found.arrived, found.reason) == ("a part of it; 0 file(s) whole", "; ".join(lost))


def test_without_files_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert completeness(written(tmp_path), ()) == ()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_that_was_cut_off_is_shorter_than_its_head_says(
    tmp_path: Path, mode: str
) -> None:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("CREATE TABLE T (a)")
        database.executemany("INSERT INTO T VALUES (?)", [("x" * 900,)] * 50)
    assert cut_off(path) == ""
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 100):
        path.write_bytes(whole[:size])
        assert cut_off(path) == f"cut off: {size:,} bytes of {len(whole):,}"
    # Written by a version of sqlite that does not keep the count.
    path.write_bytes(whole[:92] + b"\xff\xff\xff\xff" + whole[96:-1])
    assert cut_off(path) is None
