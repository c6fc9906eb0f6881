"""The collectives that the emulated CANN exports: names, times, and what they overlap."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.emulator import communication
from harness.emulator.collectives import Collective, group_id, read_collectives
from harness.emulator.export import main
from harness.emulator.timeline import overlap

CONFIG = {
    "level": "Level1",
    "aicore_metrics": 255,
    "data_type_config": 0x27,
    "devices": [1],
    "settings": {},
}
GROUP = str((97 * 29 + 98) << 32 | (97 * 131 + 98))
BEGIN_NS = 1_795_694_027_000_000_000


def record(**changes: Any) -> dict[str, Any]:
    run = {"stream": 3, "device": 1, "start_ns": BEGIN_NS + 30, "duration_ns": 12_500}
    calls = {"host_start_ns": BEGIN_NS, "host_end_ns": BEGIN_NS + 9_000, "thread": 7}
    whole = {"op": "HcclAllReduce", "group": "ab", "rank": 1, "ranks": 3, "count": 1500}
    data = {"dtype": "FLOAT", "moved": 8_000_000, "wait_ns": 2_500, "correlation": 5}
    return whole | data | run | calls | changes


def test_names_are_those_of_cann() -> None:
    records = [record(), record(op="HcclBroadcast", group="c", start_ns=1), record(dtype="DT_BF16")]
    found = read_collectives(records)
    assert [(each.name, each.type, each.data_type) for each in found] == [
        (f"hcom_broadcast__{group_id('c')[-3:]}_0_1", "hcom_broadcast_", "FP32"),
        (f"hcom_allReduce__{GROUP[-3:]}_0_1", "hcom_allReduce_", "FP32"),
        (f"hcom_allReduce__{GROUP[-3:]}_1_1", "hcom_allReduce_", "BFP16"),
    ]
    assert group_id("ab") == GROUP


@pytest.mark.parametrize("ns", [0, 1, 33, 250, 251, 999])
def test_the_written_start_is_not_before_the_real_one(ns: int) -> None:
    (collective,) = read_collectives([record(start_ns=BEGIN_NS + ns)])
    times = communication._info(collective)[communication.TIMES]
    written = Decimal(str(times["Start Timestamp(us)"])) * 1000 - BEGIN_NS
    assert ns <= written < ns + 500


def span(start_ns: int, end_ns: int) -> Collective:
    times = {"start_ns": start_ns, "duration_ns": end_ns - start_ns}
    return read_collectives([record(**times)])[0]


def test_overlap_tells_computing_from_communication() -> None:
    """A kernel is a span, too; nothing but its times counts here."""
    computing = [span(0, 10), span(20, 30), span(30, 35)]
    moving = [span(5, 22), span(25, 28), span(40, 50)]
    assert overlap(computing, moving) == [  # type: ignore[arg-type]
        ("Computing", 0, 10),
        ("Communication", 5, 22),
        ("Communication(Not Overlapped)", 10, 20),
        ("Computing", 20, 35),
        ("Communication", 25, 28),
        ("Free", 35, 40),
        ("Communication", 40, 50),
        ("Communication(Not Overlapped)", 40, 50),
    ]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("harness.emulator.export.HOLD_S", 0)
    folder = tmp_path / "host_1_2_ascend_pt" / "PROF_1"
    (folder / "emulated").mkdir(parents=True)
    (folder / "emulated" / "config.json").write_text(json.dumps(CONFIG))
    (folder / "emulated" / "hccl_1.jsonl").write_text(json.dumps(record()) + "\n")
    return folder


def test_a_row_of_op_summary_has_no_stream_no_shapes_and_no_blocks(recorded: Path) -> None:
    assert main(["--export=on", f"--output={recorded}"]) == 0
    (path,) = recorded.glob("mindstudio_profiler_output/op_summary_*.csv")
    with path.open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    told = {name: value for name, value in row.items() if value != "N/A"}
    assert told == {
        "Device_id": "1",
        "Model ID": "4294967295",
        "Op Name": f"hcom_allReduce__{GROUP[-3:]}_0_1",
        "OP Type": "hcom_allReduce_",
        "Task Type": "COMMUNICATION",
        "Task Start Time(us)": "1795694027000000.030\t",
        "Task Duration(us)": "12.5",
        "Task Wait Time(us)": "0",
        "Block Num": "0",
        "Mix Block Num": "0",
    }


def test_the_analysis_tells_waiting_from_transfers(recorded: Path) -> None:
    assert main(["--analyze=on", f"--output={recorded}"]) == 0
    folder = recorded / "analyze"
    assert "emulated" in (folder / "README.txt").read_text()
    key = f"hcom_allReduce__{GROUP[-3:]}_0_1@{GROUP}"
    info = json.loads((folder / "communication.json").read_text())[key]
    times = info["Communication Time Info"]
    assert (times["Elapse Time(ms)"], times["Wait Time(ms)"]) == (0.0125, 0.0025)
    assert (times["Transit Time(ms)"], times["Wait Time Ratio"]) == (0.01, 0.2)
    paths = info["Communication Bandwidth Info"]
    sent = {name: path["Transit Size(MB)"] for name, path in paths.items()}
    assert sent == {"RDMA": 0, "HCCS": 8, "PCIE": 0, "SDMA": 8, "SIO": 0}
    assert paths["HCCS"]["Size Distribution"] == {"4.0": [2, 0.01]}
    assert paths["HCCS"]["Bandwidth(GB/s)"] == 800
    matrix = json.loads((folder / "communication_matrix.json").read_text())[key]
    assert {link: each["Transit Size(MB)"] for link, each in matrix.items()} == {"1-0": 4, "1-2": 4}


def test_the_database_of_the_analysis_holds_the_same(recorded: Path) -> None:
    assert main(["--analyze=on", "--type=db", f"--output={recorded}"]) == 0
    path = recorded / "analyze" / "communication_analyzer.db"
    with closing(sqlite3.connect(path)) as database:
        times = database.execute(
            "SELECT group_name, elapse_time, wait_time FROM CommAnalyzerTime"
        ).fetchall()
        links = database.execute("SELECT src_rank, dst_rank FROM CommAnalyzerMatrix").fetchall()
        paths = database.execute(
            "SELECT transport_type, package_size, count FROM CommAnalyzerBandwidth"
        ).fetchall()
        label = database.execute("SELECT * FROM META_DATA").fetchall()
    assert times == [(GROUP, 0.0125, 0.0025)]
    assert links == [("1", "0"), ("1", "2")]
    assert paths == [("HCCS", 4, 2), ("SDMA", 4, 2)]
    assert label == [("emulated", "true")]


def test_without_collectives_there_is_no_analysis(recorded: Path) -> None:
    (recorded / "emulated" / "hccl_1.jsonl").unlink()
    assert main(["--analyze=on", f"--output={recorded}"]) == 0
    assert not (recorded / "analyze").exists()
