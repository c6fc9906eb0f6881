"""A folder with the captures of several ranks becomes a run with a folder for each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.across.reading import read_again, read_rank_folder
from harness.across.trace import merged_trace
from harness.capture.run_record import RunRecord
from harness.capture.sources import rank_folder
from harness.cli.progress import ConsoleProgress
from harness.errors import RefusedError
from harness.paths import RunFolder
from harness.report.console import Console
from tests.support.ascend_folders import FILES, folder, info
from tests.support.chrome_traces import event, kernel

LATE = (0, 30)
"""Microseconds that each rank's work takes longer; the other waits for so long."""


def trace(rank: int, **head: Any) -> dict[str, Any]:
    """A step, with a collective that ends on all ranks at once, on a clock of the rank's own."""
    clock, late = 1_000 * rank, LATE[rank % 2]
    mm = {"External id": 1, "Input Dims": [[2, 3], [3, 4]], "Input type": ["float", "float"]}
    named = {"Collective name": "allreduce", "Process Group Name": "0"}
    reduced = kernel(4, clock + 20 + late, **named) | {"name": "ncclDevKernel_AllReduce"}
    events = [
        event("user_annotation", "ProfilerStep#3", clock, 100),
        event("cpu_op", "aten::mm", clock + 1, 10 + late, args=mm),
        event("cuda_runtime", "cudaLaunchKernel", clock + 9, 2, args={"correlation": 4}),
        reduced | {"dur": 60 - late},
        {"ph": "s", "id": 4, "pid": 7, "tid": 1, "ts": clock + 9, "cat": "ac2g", "name": "ac2g"},
        {"ph": "M", "name": "process_name", "pid": 7, "args": {"name": "python"}},
        {"ph": "M", "name": "thread_name", "pid": 7, "tid": 1, "args": {"name": "main"}},
    ]
    spread = {"rank": rank, "world_size": 2}
    return {
        "schemaVersion": 1,
        "distributedInfo": spread,
        "host_name": f"host{rank}",
        "baseTimeNanoseconds": 5_000,
        "record_shapes": 1,
        **head,
        "traceEvents": events,
    }


def written(place: Path, **traces: dict[str, Any]) -> Path:
    place.mkdir()
    for name, content in traces.items():
        (place / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return place


def imported(path: Path, out: Path) -> RunRecord:
    found = rank_folder(path)
    assert found is not None
    return read_rank_folder(found, out).record


def test_each_rank_is_imported_and_the_slow_one_is_named(tmp_path: Path) -> None:
    # Their names tell nothing; what they state does.
    record = imported(written(tmp_path / "in", b=trace(0), a=trace(1)), tmp_path / "out")
    assert (record.device, record.world_size, record.exit_code) == ("cuda", 2, 0)
    assert [check.status for check in record.consistency] == ["holds"]
    for rank in (0, 1):
        run = RunFolder(tmp_path / "out").rank(rank)
        rows = pl.read_parquet(run.table("communication")).select("rank", "duration_ns").rows()
        assert rows == [(rank, 60_000 - LATE[rank] * 1_000)]
    steps = pl.read_parquet(tmp_path / "out/analyses/steps_across_ranks.parquet")
    assert steps.select("step", "slowest", "spread_ns").rows() == [(3, 1, 30_000)]
    summary = (tmp_path / "out/summary.md").read_text(encoding="utf-8")
    assert "rank 1 is the slowest in 1 of 1 steps: the others wait for 30% of their" in summary


def test_read_again_it_is_what_it_was(tmp_path: Path) -> None:
    first = imported(written(tmp_path / "in", a=trace(0), b=trace(1)), tmp_path / "out")
    screen = ConsoleProgress(Console(quiet=True))
    with screen:
        again = read_again(tmp_path / "out", listener=screen, limit_s=None).record
    assert again == first


def test_lost_tables_of_a_rank_are_made_again_from_its_own_captures(tmp_path: Path) -> None:
    imported(written(tmp_path / "in", a=trace(0), b=trace(1)), tmp_path / "out")
    lost = RunFolder(tmp_path / "out").rank(1).table("communication")
    lost.unlink()
    with ConsoleProgress(Console(quiet=True)) as screen:
        read_again(tmp_path / "out", listener=screen, limit_s=None)
    assert pl.read_parquet(lost)["rank"].to_list() == [1]


def test_unequal_numbers_of_collectives_break_the_consistency(tmp_path: Path) -> None:
    more = trace(1)
    more["traceEvents"].append(more["traceEvents"][3] | {"ts": 1_090, "dur": 1})
    record = imported(written(tmp_path / "in", a=trace(0), b=more), tmp_path / "out")
    (check,) = [check for check in record.consistency if check.fails]
    assert "unequal numbers of allreduce of group 0 (rank 0: 1, rank 1: 2)" in check.reason
    assert (record.exit_code, record.verdict) == (3, "not_delivered")


def test_what_cannot_be_read_is_a_failed_delivery_beside_the_others(tmp_path: Path) -> None:
    place = written(tmp_path / "in", a=trace(0), b=trace(1))
    (place / "rank2.json").write_bytes(b'{"schemaVersion": 1, "traceEv')
    record = imported(place, tmp_path / "out")
    (item,) = [item for item in record.delivery if item.fails]
    assert item.reason.startswith("rank 2: nothing in it can be read: rank2.json: no list")
    assert record.exit_code == 3


def test_ranks_of_other_settings_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    place = written(tmp_path / "in", a=trace(0), b=trace(1, record_shapes=0))
    with pytest.raises(RefusedError, match="rank 0 and rank 1 are not of one profile"):
        imported(place, tmp_path / "out")
    assert not [path for path in tmp_path.glob("out/**/*") if path.is_file()]


def test_one_rank_or_captures_without_a_rank_are_no_folder_of_ranks(tmp_path: Path) -> None:
    assert rank_folder(written(tmp_path / "one", a=trace(0), b=trace(0))) is None
    plain = {name: value for name, value in trace(1).items() if name != "distributedInfo"}
    assert rank_folder(written(tmp_path / "two", a=trace(0), b=plain)) is None
    assert rank_folder(tmp_path / "two" / "a.json") is None


def test_ranks_of_torch_npu_are_read_each_by_its_record(tmp_path: Path) -> None:
    for rank in (0, 1):
        folder(tmp_path / "in" / f"PLATFORM_2026010112000000{rank}", FILES, info(rank))
    found = rank_folder(tmp_path / "in")
    assert found is not None
    assert found.ranks == (0, 1)


def test_the_merged_trace_has_a_process_for_each_rank_on_one_clock(tmp_path: Path) -> None:
    imported(written(tmp_path / "in", a=trace(0), b=trace(1)), tmp_path / "out")
    section = merged_trace(RunFolder(tmp_path / "out"))
    assert "rank 1 by -1 ms" in " ".join(map(str, section.notes))
    assert "within 0 ns of each other (median of 1)" in " ".join(map(str, section.notes))
    merged = json.loads(gzip.decompress((tmp_path / "out/merged_trace.json.gz").read_bytes()))
    events = merged["traceEvents"]
    steps = [event for event in events if event["name"] == "ProfilerStep#3"]
    assert [(event["pid"], event["ts"], event["dur"]) for event in steps] == [
        (0, 0.0, 100),
        (1, 0.0, 100),
    ]
    ends = [event["ts"] + event["dur"] for event in events if "nccl" in event["name"]]
    assert ends == [80, 80]
    assert {event["id"] for event in events if event["ph"] == "s"} == {"0.0.4", "1.0.4"}
    named = [event for event in events if event["name"] == "process_name"]
    assert [event["args"]["name"] for event in named] == ["rank 0", "rank 1"]
