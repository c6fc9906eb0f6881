"""Ask torch_npu for what it does not do, and tell what it did: silent.py CASE... in the folder that
is to hold the captures; a JSON object a line, with what was printed."""

from __future__ import annotations

import csv
import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch_npu
from torch_npu import profiler
from torch_npu.profiler.profiler import analyse

from harness.emulator.faults import Faults

BOTH = ("CPU", "NPU")
CASES: dict[str, Callable[[Path], dict[str, Any]]] = {}


def case(function: Callable[[Path], dict[str, Any]]) -> Callable[[Path], dict[str, Any]]:
    CASES[function.__name__] = function
    return function


def experimental(level: str = "Level1", **settings: Any) -> Any:
    return profiler._ExperimentalConfig(
        profiler_level=getattr(profiler.ProfilerLevel, level), **settings
    )


def handler(folder: Path, *, analysed: bool = False) -> Any:
    return profiler.tensorboard_trace_handler(str(folder), analyse_flag=analysed)


def once(**numbers: int) -> Any:
    return profiler.schedule(**{"wait": 0, "warmup": 0, "active": 1, "repeat": 1, **numbers})


def multiply(times: int = 1, size: int = 4) -> None:
    matrix = torch.ones(size, size, device="npu")
    for _ in range(times):
        torch.mm(matrix, matrix)


def profiled(folder: Path, steps: int = 1, activities: tuple[str, ...] = BOTH, **words: Any) -> Any:
    """Profile so many steps, and stop."""
    names = [getattr(profiler.ProfilerActivity, name) for name in activities]
    settings = {"schedule": once(), "experimental_config": experimental(), "activities": names}
    settings |= {"on_trace_ready": handler(folder)} if "on_trace_ready" not in words else {}
    with profiler.profile(**{**settings, **words}) as running:
        for _ in range(steps):
            multiply()
            torch_npu.npu.synchronize()
            running.step()
    return running


def captures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_ascend_pt"))


def capture(folder: Path, **words: Any) -> Path:
    profiled(folder, **words)
    (made,) = captures(folder)
    return made


def info(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "profiler_info.json").read_text())["config"]
    return found["experimental_config"]  # type: ignore[no-any-return]


def output(made: Path) -> list[str]:
    return sorted(path.name for path in (made / "ASCEND_PROFILER_OUTPUT").glob("*"))


@contextmanager
def wrong(**faults: Any) -> Iterator[None]:
    """Let the emulator do something wrong meanwhile."""
    variables = Faults(**faults).environment()
    os.environ.update(variables)
    yield
    for name in variables:
        del os.environ[name]


@contextmanager
def calls() -> Iterator[list[dict[str, Any]]]:
    """Collect what CANN is asked meanwhile."""
    found: list[dict[str, Any]] = []
    with tempfile.NamedTemporaryFile("r") as file:
        os.environ["HARNESS_EMULATOR_RECORD"] = file.name
        yield found
        del os.environ["HARNESS_EMULATOR_RECORD"]
        found += map(json.loads, file)


# --- how a capture is begun, stepped and ended -------------------------------------------------


@case
def schedule_of_torch(folder: Path) -> dict[str, Any]:
    profiled(folder, schedule=torch.profiler.schedule(wait=0, warmup=0, active=1, repeat=1))
    return {"captures": len(captures(folder))}


@case
def stop_in_warmup(folder: Path) -> dict[str, Any]:
    running = profiler.profile(schedule=once(warmup=2), on_trace_ready=handler(folder))
    running.start()
    multiply()
    begun = len(captures(folder))
    running.step()
    running.stop()
    return {"begun": begun, "captures": len(captures(folder))}


@case
def stop_in_record(folder: Path) -> dict[str, Any]:
    profiled(folder, steps=1, schedule=once(active=3))
    return {"captures": len(captures(folder))}


@case
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


@case
def warmup_to_none(folder: Path) -> dict[str, Any]:
    return to_nothing(folder, profiler.ProfilerAction.WARMUP)


@case
def record_to_none(folder: Path) -> dict[str, Any]:
    return to_nothing(folder, profiler.ProfilerAction.RECORD)


@case
def step_after_stop(folder: Path) -> dict[str, Any]:
    running = profiled(folder)
    before = running.step_num
    running.step()
    return {"steps": running.step_num - before}


@case
def no_handler(folder: Path) -> dict[str, Any]:
    running = profiled(folder, on_trace_ready=None)
    (made,) = captures(folder / "export_only_prof_dir")
    return {"captures": len(captures(folder)), "analysed": output(made), "stopped": running.stopped}


@case
def two_handlers(folder: Path) -> dict[str, Any]:
    first = handler(folder / "first")
    handler(folder / "second")
    profiled(folder, on_trace_ready=first)
    return {name: len(captures(folder / name)) for name in ("first", "second")}


@case
def folder_refused(folder: Path) -> dict[str, Any]:
    """A folder that is a file."""
    (folder / "taken").write_text("")
    refused = handler(folder / "taken")
    profiled(folder, on_trace_ready=refused)
    elsewhere = len(captures(folder / "export_only_prof_dir"))
    return {"handler": refused, "export_only_prof_dir": elsewhere}


@case
def names(folder: Path) -> dict[str, Any]:
    """Names of folders and workers that torch_npu does not take."""
    creator = torch_npu.profiler._profiler_path_creator.ProfPathCreator()
    found = {}
    for name, words in {
        "worker 7": {"worker_name": 7},
        "long worker": {"worker_name": "w" * 226},
        "folder 7": {"dir_name": 7},
        "no name": {"dir_name": ""},
    }.items():
        profiler.tensorboard_trace_handler(**words)
        found[name] = [creator._worker_name, creator._dir_path]
    return found


# --- exceptions --------------------------------------------------------------------------------


def raises(*_: Any) -> None:
    raise ValueError("of the handler")


@case
def start_raises(folder: Path) -> dict[str, Any]:
    """Its folder became a file in between."""
    ready = handler(folder / "taken")
    (folder / "taken").write_text("")
    profiled(folder, on_trace_ready=ready, activities=("CPU",))
    return {"captures": len(captures(folder))}


@case
def step_raises(folder: Path) -> dict[str, Any]:
    handler(folder)
    profiled(folder, on_trace_ready=raises)
    return {"captures": len(captures(folder))}


@case
def stop_raises(folder: Path) -> dict[str, Any]:
    handler(folder)
    profiled(folder, schedule=once(active=3), on_trace_ready=raises)
    # A profiler that could not be stopped is stopped once more when it is collected, and would
    # then end the capture that is running.
    gc.collect()
    return {"captures": len(captures(folder))}


@case
def export_raises(folder: Path) -> dict[str, Any]:
    running = profiled(folder)
    running.export_chrome_trace(str(folder))
    return {"exported": len(list(folder.glob("*.json")))}


@case
def analyse_raises(folder: Path) -> dict[str, Any]:
    return {"answer": analyse(str(folder / "nothing"))}


# --- what is recorded --------------------------------------------------------------------------


@case
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


@case
def settings_without_device(folder: Path) -> dict[str, Any]:
    with calls() as made:
        profiled(folder, activities=("CPU",), experimental_config=experimental(l2_cache=True))
    return {"calls": len(made)}


def marks(made: Path) -> list[str]:
    files = made.glob("PROF_*/emulated/marks.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(line["message"] for line in lines if line["domain"] == "mfu_flops")


@case
def flops(folder: Path) -> dict[str, Any]:
    return {
        name: marks(
            capture(folder / name, with_flops=True, experimental_config=experimental(**settings))
        )
        for name, settings in {
            "alone": {},
            "mstx": {"mstx": True},
            "another domain": {"mstx": True, "mstx_domain_include": ["mine"]},
        }.items()
    }


@case
def timeline_without_needs(folder: Path) -> dict[str, Any]:
    running = profiled(folder)
    running.export_memory_timeline(str(folder / "memory.html"), device="npu:0")
    return {"exported": (folder / "memory.html").exists()}


def asked_of_cann(folder: Path, **words: Any) -> tuple[dict[str, Any], Path]:
    with calls() as made:
        capture_folder = capture(folder, **words)
    (created,) = [call for call in made if call["call"] == "aclprofCreateConfig"]
    return created, capture_folder


@case
def attributes(folder: Path) -> dict[str, Any]:
    settings = experimental(op_attr=True, export_type=[profiler.ExportType.Db])
    with wrong(missing_features=("ATTR",)):
        created, made = asked_of_cann(folder, experimental_config=settings)
    asked = bool(created["data_type_config"] & 0x4000)
    return {"asked of CANN": asked, "profiler_info": info(made)["_op_attr"]}


@case
def memory_access(folder: Path) -> dict[str, Any]:
    settings = experimental(aic_metrics=profiler.AiCMetrics.MemoryAccess)
    with wrong(missing_features=("MemoryAccess",)):
        created, made = asked_of_cann(folder, experimental_config=settings)
    group = {1: "PipeUtilization", 8: "MemoryAccess"}[created["aicore_metrics"]]
    return {"asked of CANN": group, "profiler_info": info(made)["_aic_metrics"]}


@case
def shapes_at_level0(folder: Path) -> dict[str, Any]:
    settings = experimental("Level0", aic_metrics=profiler.AiCMetrics.AiCoreNone)
    with wrong(missing_features=("AICORE_SHAPE",)):
        created, _ = asked_of_cann(folder, record_shapes=True, experimental_config=settings)
    return {"asked of CANN": bool(created["data_type_config"] & 0x800000000)}


@case
def rejected(folder: Path) -> dict[str, Any]:
    """CANN refuses two settings."""
    settings = experimental(host_sys=["cpu"], sys_io=True)
    with wrong(rejected_settings=("host_sys", "sys_io")), calls() as made:
        profiled(folder, experimental_config=settings)
    refused = {call["type"] for call in made if call["call"] == "aclprofSetConfig" and call["result"]}
    return {"refused": sorted(refused), "captures": len(captures(folder))}


@case
def start_fails(folder: Path) -> dict[str, Any]:
    with wrong(start_fails=True):
        made = capture(folder)
    analyse(str(made))
    return {name: name in output(made) for name in ("analyse.done", "kernel_details.csv")}


# --- the analysis ------------------------------------------------------------------------------


@case
def start_method(folder: Path) -> dict[str, Any]:
    multiprocessing.set_start_method("spawn", force=True)
    analyse(str(capture(folder)))
    return {"method": multiprocessing.get_start_method()}


@case
def parser_fails(folder: Path) -> dict[str, Any]:
    made = capture(folder)
    with wrong(msprof="fails"):
        analyse(str(made))
    return {name: name in output(made) for name in ("analyse.done", "kernel_details.csv")}


@case
def msprof_missing(folder: Path) -> dict[str, Any]:
    made = capture(folder)
    path = os.environ["PATH"]
    os.environ["PATH"] = "/usr/bin:/bin"
    analyse(str(made))
    os.environ["PATH"] = path
    return {"output": output(made)}


@case
def daemon(folder: Path) -> dict[str, Any]:
    made = capture(folder)
    process = multiprocessing.get_context("fork").Process(
        target=analyse, args=(str(made),), daemon=True
    )
    process.start()
    process.join()
    return {"exit": process.exitcode, "output": output(made)}


@case
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


@case
def database_as_trace(folder: Path) -> dict[str, Any]:
    settings = experimental(export_type=[profiler.ExportType.Db])
    running = profiled(folder, experimental_config=settings)
    running.export_chrome_trace(str(folder / "trace.json"))
    return {
        "trace": (folder / "trace.json").exists(),
        "databases": len(list(folder.glob("*_ascend_pt/ASCEND_PROFILER_OUTPUT/*.db"))),
    }


@case
def asynchronous_warmup(folder: Path) -> dict[str, Any]:
    """Kernels of the warm-up that run in a recorded step which launches none."""
    running = profiler.profile(
        schedule=once(warmup=1),
        on_trace_ready=handler(folder),
        experimental_config=experimental(),
    )
    with running:
        multiply(times=50, size=256)
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


@case
def lost_head(folder: Path) -> dict[str, Any]:
    with wrong(lost_head=0.4):
        made = capture(folder, steps=5, schedule=once(active=5))
        analyse(str(made))
    steps = [int(row["Step Id"]) for row in kernels(made) if row["Step Id"]]
    return {"steps": sorted(set(steps))}


@case
def custom_operators(folder: Path) -> dict[str, Any]:
    with wrong(na_shapes=("MatMulV2",)):
        made = capture(folder, record_shapes=True)
        analyse(str(made))
    return {row["Type"]: row["Input Shapes"] == "N/A" for row in kernels(made)}


@case
def off(folder: Path) -> dict[str, Any]:
    profiled(folder)
    return {"files": len(list(folder.rglob("*")))}


# --- the dynamic profiler ----------------------------------------------------------------------


@case
def dynamic_keys(folder: Path) -> dict[str, Any]:
    del folder
    from torch_npu.profiler._dynamic_profiler._dynamic_profiler_config_context import ConfigContext

    context = ConfigContext({"is_valid": True, "profile_memori": True})
    ranks = ConfigContext({"is_valid": True, "is_rank": True})
    return {"taken": context.valid(), "memory": bool(context.profile_memory), "ranks": ranks.valid()}


@case
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


@contextmanager
def heard(said: list[str]) -> Iterator[None]:
    """Collect what this process, its children and C++ print."""
    streams = (sys.stdout, sys.stderr)
    with tempfile.TemporaryFile("w+") as file:
        kept = [os.dup(stream.fileno()) for stream in streams]
        for stream in streams:
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
        try:
            yield
        finally:
            for stream, descriptor in zip(streams, kept, strict=True):
                stream.flush()
                os.dup2(descriptor, stream.fileno())
                os.close(descriptor)
            file.seek(0)
            said.append(file.read())


def main() -> None:
    torch_npu.npu.set_device(0)
    for name in sys.argv[1:] or CASES:
        folder = Path.cwd() / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.chdir(folder)
        said: list[str] = []
        with heard(said):
            found = CASES[name](folder)
        os.chdir(folder.parent)
        print("RESULT " + json.dumps({"case": name, "found": found, "said": said[0]}))


if __name__ == "__main__":
    main()
