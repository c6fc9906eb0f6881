"""What Perfetto draws of a trace that was made for it: all of it, without one error.

Headless Chromium, and no network: names are not resolved there.
"""

from __future__ import annotations

import gzip
import json
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from selenium import webdriver

from harness.view.normalise import normalise
from harness.view.server import TraceServer, ui_folder
from harness.view.survey import TraceFile
from tests.conftest import Harness, started
from tests.support.chromium import chromium, open_trace, query

ERRORS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def shown(viewer: webdriver.Chrome, folder: Path, events: list[dict[str, Any]]) -> None:
    source = folder / "trace.json"
    source.write_text(json.dumps(events), encoding="utf-8")
    made = normalise([TraceFile(source)], folder, folder / "view" / "trace.json.gz")
    with TraceServer(ui_folder(), made.path) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        open_trace(viewer, server.url())
        server.shutdown()
        serving.join()


def reported(viewer: webdriver.Chrome) -> list[str]:
    """What has come to the browser's console since the last call."""
    entries = viewer.execute("getLog", {"type": "browser"})["value"]
    return [entry["message"] for entry in entries]


def complete(name: str, ts: str, dur: Any, tid: int = 7, pid: int = 0) -> dict[str, Any]:
    return {"ph": "X", "name": name, "cat": "c", "pid": pid, "tid": tid, "ts": ts, "dur": dur}


def test_kernels_that_overlap_on_one_stream_are_all_drawn(
    viewer: webdriver.Chrome, tmp_path: Path
) -> None:
    first = 1_795_727_431_853_127
    events = [complete(f"k{n}", f"{first + 20 * n}.415", 25) for n in range(100)]
    for n in range(100):
        arrow = {"id": first * 1000 + n, "cat": "async_npu", "name": "torch_to_npu", "bp": "e"}
        start = f"{first + 20 * n}.315"
        host = {"pid": 5, "tid": 5, "ts": start}
        events.append(complete(f"launch {n}", start, 1, 5, 5))
        events.append({"ph": "s", **arrow, **host})
        events.append({**events[n], "ph": "f", **arrow})
    shown(viewer, tmp_path, events)
    assert query(viewer, "select count(*) from slice where name glob 'k*'") == [[100]]
    joined = (
        "select count(*) from flow join slice a on slice_out = a.id join slice b on slice_in = b.id"
        " where substr(a.name, 8) = substr(b.name, 2)"
    )
    assert query(viewer, joined) == [[100]]
    assert query(viewer, ERRORS) == []


def test_times_are_exact_to_the_nanosecond_over_weeks(
    viewer: webdriver.Chrome, tmp_path: Path
) -> None:
    chance = random.Random(7)
    times = [0, *(chance.randrange(10 ** chance.randrange(1, 16)) for _ in range(2_000))]
    events = [
        complete(str(ns), f"{10**15 + ns // 1000}.{ns % 1000:03}", "0.001", tid)
        for tid, ns in enumerate(times, 10)
    ]
    shown(viewer, tmp_path, events)
    assert query(viewer, "select count(*), count(distinct dur) from slice") == [[2_001, 1]]
    assert query(viewer, "select name, ts from slice where cast(name as int) != ts") == []


def test_a_rehearsed_run_is_drawn_in_full(
    viewer: webdriver.Chrome, shared_run: Harness, tmp_path: Path
) -> None:
    run = shared_run("rehearse", "profiler=level1", "workload=mlp").latest
    process = started(tmp_path, "view", str(run), "--no-browser")
    try:
        assert process.stdout is not None
        url = next(line.strip() for line in process.stdout if line.startswith("http://127"))
        reported(viewer)  # of the servers of earlier tests, which have gone
        open_trace(viewer, url)
        kernels = pl.read_parquet(run / "tables" / "kernels.parquet").height
        drawn = (
            "select count(*) from slice join thread_track t on track_id = t.id"
            " join thread using (utid) join process using (upid)"
            " where process.name glob '*Ascend Hardware*' and slice.name not glob 'EVENT*'"
        )
        assert kernels > 50
        assert query(viewer, drawn)[0][0] >= kernels
        content = json.loads(gzip.decompress((run / "view" / "trace.json.gz").read_bytes()))
        ranges = sum(event["ph"] == "X" for event in content["traceEvents"])
        assert query(viewer, "select count(*) from slice") == [[ranges]]
        assert query(viewer, ERRORS) == []
        names = {name for (name,) in query(viewer, "select name from process where name != ''")}
        assert all(name.startswith("emulated: ") for name in names)
        assert urlsplit(viewer.current_url).hostname == "127.0.0.1"
        # What the UI would ask of others is stopped by the policy, not by the lack of a network.
        assert not [line for line in reported(viewer) if "net::ERR_" in line]
        viewer.save_screenshot(str(tmp_path / "view.png"))
    finally:
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert out.endswith("ended\n")
