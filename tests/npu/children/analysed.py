"""Cases of silent rules: the analysis of captures, and the dynamic profiler."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch_npu
from torch_npu import profiler
from torch_npu.profiler.profiler import analyse

from tests.npu.children.asking import (
    capture,
    captures,
    experimental,
    handler,
    multiply,
    once,
    output,
    profiled,
    wrong,
)

# --- the analysis ------------------------------------------------------------------------------


def start_method(folder: Path) -> dict[str, Any]:
    multiprocessing.set_start_method("spawn", force=True)
    analyse(str(capture(folder)))
    return {"method": multiprocessing.get_start_method()}


def parser_fails(folder: Path) -> dict[str, Any]:
    made = capture(folder)
    with wrong(msprof="fails"):
        analyse(str(made))
    return {name: name in output(made) for name in ("analyse.done", "kernel_details.csv")}


def msprof_missing(folder: Path) -> dict[str, Any]:
    made = capture(folder)
    path = os.environ["PATH"]
    os.environ["PATH"] = "/usr/bin:/bin"
    analyse(str(made))
    os.environ["PATH"] = path
    return {"output": output(made)}


def daemon(folder: Path) -> dict[str, Any]:
    made = capture(folder)
    process = multiprocessing.get_context("fork").Process(
        target=analyse, args=(str(made),), daemon=True
    )
    process.start()
    process.join()
    return {"exit": process.exitcode, "output": output(made)}


def simplified(folder: Path) -> dict[str, Any]:
    found = {}
    for simplify in (True, False):
        settings = experimental(data_simplification=simplify)
        made = capture(folder / str(simplify), experimental_config=settings)
        (cann,) = made.glob("PROF_*")
        for name in ("sqlite", "summary", "timeline"):
            (cann / "host" / name).mkdir()
        analyse(str(made))
        places = ("host/sqlite", "host/summary", "host/timeline", "mindstudio_profiler_output")
        found[str(simplify)] = [name for name in places if (cann / name).exists()]
    return found


def database_as_trace(folder: Path) -> dict[str, Any]:
    settings = experimental(export_type=[profiler.ExportType.Db])
    running = profiled(folder, experimental_config=settings)
    running.export_chrome_trace(str(folder / "trace.json"))
    return {
        "trace": (folder / "trace.json").exists(),
        "databases": len(list(folder.glob("*_ascend_pt/ASCEND_PROFILER_OUTPUT/*.db"))),
    }


def asynchronous_warmup(folder: Path) -> dict[str, Any]:
    """Kernels of the warm-up that run in a recorded step which launches none."""
    running = profiler.profile(
        schedule=once(warmup=1),
        on_trace_ready=handler(folder),
        experimental_config=experimental(),
    )
    # Each takes the emulator long enough for the host to be at the next step before the first ends.
    matrix = torch.ones(512, 512, device="npu")
    torch_npu.npu.synchronize()
    with running:
        for _ in range(10):
            torch.mm(matrix, matrix)
        running.step()
        torch_npu.npu.synchronize()
        running.step()
    (made,) = captures(folder)
    analyse(str(made))
    rows = kernels(made)
    return {"kernels": len(rows), "with a step": len([row for row in rows if "Step Id" in row])}


def kernels(made: Path) -> list[dict[str, str]]:
    with (made / "ASCEND_PROFILER_OUTPUT" / "kernel_details.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lost_head(folder: Path) -> dict[str, Any]:
    with wrong(lost_head=0.4):
        made = capture(folder, steps=5, schedule=once(active=5))
        analyse(str(made))
    steps = [int(row["Step Id"]) for row in kernels(made) if row["Step Id"]]
    return {"steps": sorted(set(steps))}


def custom_operators(folder: Path) -> dict[str, Any]:
    with wrong(na_shapes=("MatMulV2",)):
        made = capture(folder, record_shapes=True)
        analyse(str(made))
    return {row["Type"]: row["Input Shapes"] == "N/A" for row in kernels(made)}


# --- the dynamic profiler ----------------------------------------------------------------------


def dynamic_keys(folder: Path) -> dict[str, Any]:
    del folder
    from torch_npu.profiler._dynamic_profiler._dynamic_profiler_config_context import ConfigContext

    context = ConfigContext({"is_valid": True, "profile_memori": True})
    ranks = ConfigContext({"is_valid": True, "is_rank": True})
    return {
        "taken": context.valid(),
        "memory": bool(context.profile_memory),
        "ranks": ranks.valid(),
    }


def dynamic_too_late(folder: Path) -> dict[str, Any]:
    """A configuration whose first step is over when it is read."""
    from torch_npu.profiler import dynamic_profile

    dynamic_profile.init(str(folder))
    dynamic_profile.set_state({"cur_step": 7})
    config = folder / "profiler_config.json"
    asked = {"start_step": 3, "prof_dir": str(folder), "activities": ["CPU", "NPU"]}
    config.write_text(json.dumps(json.loads(config.read_text()) | asked))
    os.utime(config, (time.time() + 5, time.time() + 5))
    for _ in range(40):
        time.sleep(0.1)
        multiply()
        dynamic_profile.step()
    return {"captures": len(captures(folder))}
