"""Cases of silent rules: how a capture is begun and ended, and what is recorded in it."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path
from typing import Any

import torch
import torch_npu
from torch_npu import profiler
from torch_npu.profiler.profiler import analyse

from tests.npu.children.asking import (
    calls,
    capture,
    captures,
    experimental,
    handler,
    info,
    multiply,
    once,
    output,
    profiled,
    wrong,
)

# --- how a capture is begun, stepped and ended -------------------------------------------------


def schedule_of_torch(folder: Path) -> dict[str, Any]:
    profiled(folder, schedule=torch.profiler.schedule(wait=0, warmup=0, active=1, repeat=1))
    return {"captures": len(captures(folder))}


def stop_in_warmup(folder: Path) -> dict[str, Any]:
    running = profiler.profile(schedule=once(warmup=2), on_trace_ready=handler(folder))
    running.start()
    multiply()
    begun = len(captures(folder))
    running.step()
    running.stop()
    return {"begun": begun, "captures": len(captures(folder))}


def stop_in_record(folder: Path) -> dict[str, Any]:
    profiled(folder, steps=1, schedule=once(active=3))
    return {"captures": len(captures(folder))}


def no_schedule(folder: Path) -> dict[str, Any]:
    profiled(folder, schedule=None)
    return {"captures": len(captures(folder))}


def to_nothing(folder: Path, first: Any) -> dict[str, Any]:
    ready: list[Any] = []
    handler(folder)
    profiled(
        folder,
        schedule=lambda step: profiler.ProfilerAction.NONE if step else first,
        on_trace_ready=ready.append,
    )
    return {"captures": len(captures(folder)), "handler called": len(ready)}


def warmup_to_none(folder: Path) -> dict[str, Any]:
    return to_nothing(folder, profiler.ProfilerAction.WARMUP)


def record_to_none(folder: Path) -> dict[str, Any]:
    return to_nothing(folder, profiler.ProfilerAction.RECORD)


def step_after_stop(folder: Path) -> dict[str, Any]:
    running = profiled(folder)
    before = running.step_num
    running.step()
    return {"steps": running.step_num - before}


def no_handler(folder: Path) -> dict[str, Any]:
    running = profiled(folder, on_trace_ready=None)
    (made,) = captures(folder / "export_only_prof_dir")
    return {"captures": len(captures(folder)), "analysed": output(made), "stopped": running.stopped}


def two_handlers(folder: Path) -> dict[str, Any]:
    first = handler(folder / "first")
    handler(folder / "second")
    profiled(folder, on_trace_ready=first)
    return {name: len(captures(folder / name)) for name in ("first", "second")}


def folder_refused(folder: Path) -> dict[str, Any]:
    """A folder that is a file."""
    (folder / "taken").write_text("")
    refused = handler(folder / "taken")
    profiled(folder, on_trace_ready=refused)
    elsewhere = len(captures(folder / "export_only_prof_dir"))
    return {"handler": refused, "export_only_prof_dir": elsewhere}


def names(folder: Path) -> dict[str, Any]:
    """Names of folders and workers that torch_npu does not take."""
    creator = torch_npu.profiler._profiler_path_creator.ProfPathCreator()
    handler(folder)
    given: dict[str, dict[str, Any]] = {
        "worker 7": {"worker_name": 7},
        "long worker": {"worker_name": "w" * 226},
        "folder 7": {"dir_name": 7},
        "no name": {"dir_name": ""},
    }
    found = {}
    for name, words in given.items():
        profiler.tensorboard_trace_handler(**words)
        found[name] = [creator._worker_name, creator._dir_path]
    return found


# --- exceptions --------------------------------------------------------------------------------


def raises(*_: Any) -> None:
    raise ValueError("of the handler")


def start_raises(folder: Path) -> dict[str, Any]:
    """Its folder became a file in between."""
    ready = handler(folder / "taken")
    (folder / "taken").write_text("")
    profiled(folder, on_trace_ready=ready, activities=("CPU",))
    return {"captures": len(captures(folder))}


def step_raises(folder: Path) -> dict[str, Any]:
    handler(folder)
    profiled(folder, on_trace_ready=raises)
    return {"captures": len(captures(folder))}


def stop_raises(folder: Path) -> dict[str, Any]:
    handler(folder)
    profiled(folder, schedule=once(active=3), on_trace_ready=raises)
    # A profiler that could not be stopped is stopped once more when it is collected, and would
    # then end the capture that is running.
    gc.collect()
    return {"captures": len(captures(folder))}


def export_raises(folder: Path) -> dict[str, Any]:
    running = profiled(folder)
    running.export_chrome_trace(str(folder))
    return {"exported": len(list(folder.glob("*.json")))}


def analyse_raises(folder: Path) -> dict[str, Any]:
    return {"answer": analyse(str(folder / "nothing"))}


# --- what is recorded --------------------------------------------------------------------------


def collections_without_host(folder: Path) -> dict[str, Any]:
    found = {}
    for activity in ("CPU", "NPU"):
        place = folder / activity
        running = profiler.profile(
            activities=[getattr(profiler.ProfilerActivity, activity)],
            schedule=once(),
            on_trace_ready=handler(place),
            experimental_config=experimental(gc_detect_threshold=0),
        )
        with running:
            multiply()
            gc.collect()
            running.step()
        found[activity] = len(list(place.glob("*/FRAMEWORK/torch.gc_record")))
    return found


def settings_without_device(folder: Path) -> dict[str, Any]:
    with calls() as made:
        profiled(folder, activities=("CPU",), experimental_config=experimental(l2_cache=True))
    return {"calls": len(made)}


def marks(made: Path) -> list[str]:
    files = made.glob("PROF_*/emulated/marks.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(line["message"] for line in lines if line["domain"] == "mfu_flops")


def domains_without_home(folder: Path) -> dict[str, Any]:
    """In a process of its own: torch_npu looks for CANN's home once."""
    del os.environ["ASCEND_HOME_PATH"]
    mstx = torch_npu.npu.mstx
    with profiler.profile(
        on_trace_ready=handler(folder), experimental_config=experimental(mstx=True)
    ):
        mstx.mark("mark", domain="mine")
        mstx.range_end(mstx.range_start("range", domain="mine"), domain="mine")
    (file,) = folder.glob("*_ascend_pt/PROF_*/emulated/marks.jsonl")
    rows = map(json.loads, file.read_text().splitlines())
    return {row["message"]: row["domain"] for row in rows}


def flops(folder: Path) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "alone": {},
        "mstx": {"mstx": True},
        "another domain": {"mstx": True, "mstx_domain_include": ["mine"]},
    }
    return {
        name: marks(
            capture(folder / name, with_flops=True, experimental_config=experimental(**settings))
        )
        for name, settings in given.items()
    }


def timeline_without_needs(folder: Path) -> dict[str, Any]:
    running = profiled(folder)
    running.export_memory_timeline(str(folder / "memory.html"), device="npu:0")
    return {"exported": (folder / "memory.html").exists()}


def asked_of_cann(folder: Path, **words: Any) -> tuple[dict[str, Any], Path]:
    with calls() as made:
        capture_folder = capture(folder, **words)
    (created,) = [call for call in made if call["call"] == "aclprofCreateConfig"]
    return created, capture_folder


def default_database(folder: Path) -> dict[str, Any]:
    """A CANN that exports a database beside the texts, and one that does not."""
    manager = torch_npu.profiler.experimental_config.CannPackageManager
    path, found = os.environ["PATH"], {}
    for name, help_text in {
        "without": "text",
        "with": "text(which will also export the database)",
    }.items():
        tool = folder / name / "msprof"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\necho '{help_text}'\n")
        tool.chmod(0o755)
        os.environ["PATH"] = f"{tool.parent}:{path}"
        manager.SUPPORT_DEFAULT_EXPORT_DB = None
        found[name] = experimental(op_attr=True, export_type=["text"])._op_attr
    os.environ["PATH"], manager.SUPPORT_DEFAULT_EXPORT_DB = path, None
    return found


def attributes(folder: Path) -> dict[str, Any]:
    settings = experimental(op_attr=True, export_type=[profiler.ExportType.Db])
    with wrong(missing_features=("ATTR",)):
        created, made = asked_of_cann(folder, experimental_config=settings)
    asked = bool(created["data_type_config"] & 0x4000)
    return {"asked of CANN": asked, "profiler_info": info(made)["_op_attr"]}


def memory_access(folder: Path) -> dict[str, Any]:
    settings = experimental(aic_metrics=profiler.AiCMetrics.MemoryAccess)
    with wrong(missing_features=("MemoryAccess",)):
        created, made = asked_of_cann(folder, experimental_config=settings)
    group = {1: "PipeUtilization", 8: "MemoryAccess"}[created["aicore_metrics"]]
    return {"asked of CANN": group, "profiler_info": info(made)["_aic_metrics"]}


def shapes_at_level0(folder: Path) -> dict[str, Any]:
    settings = experimental("Level0", aic_metrics=profiler.AiCMetrics.AiCoreNone)
    with wrong(missing_features=("AICORE_SHAPE",)):
        created, _ = asked_of_cann(folder, record_shapes=True, experimental_config=settings)
    return {"asked of CANN": bool(created["data_type_config"] & 0x800000000)}


def rejected(folder: Path) -> dict[str, Any]:
    """CANN refuses two settings."""
    settings = experimental(host_sys=["cpu"], sys_io=True)
    with wrong(rejected_settings=("host_sys", "sys_io")), calls() as made:
        profiled(folder, experimental_config=settings)
    refused = {
        call["type"] for call in made if call["call"] == "aclprofSetConfig" and call["result"]
    }
    return {"refused": sorted(refused), "captures": len(captures(folder))}


def start_fails(folder: Path) -> dict[str, Any]:
    with wrong(start_fails=True):
        made = capture(folder)
    analyse(str(made))
    return {name: name in output(made) for name in ("analyse.done", "kernel_details.csv")}


def off(folder: Path) -> dict[str, Any]:
    profiled(folder)
    return {"files": len(list(folder.rglob("*")))}
