"""The captures of a path in the order of their time, and the metadata of every export."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from harness.files import read_all
from harness.readers.ascend import csv_files, layout, mstx, trace
from harness.readers.ascend.layout import OUTPUT, SUFFIX, database, output, outputs
from harness.readers.base import CaptureError, CaptureInfo, ReadContext

__all__ = [
    "GROUPS",
    "OUTPUT",
    "SUFFIX",
    "captures",
    "database",
    "emulated",
    "info",
    "marks",
    "output",
    "outputs",
    "profiler_info",
    "rank",
    "table",
]

_STAMP: Final = re.compile(r"_(\d{14})(\d{3})_ascend_(pt|ms)$")
_RANK: Final = re.compile(r"[0-9]{1,9}")
_NS: Final = 1_000_000_000

GROUPS: Final[Mapping[str, str]] = {
    "ACL_AICORE_PIPE_UTILIZATION": "PipeUtilization",
    "ACL_AICORE_ARITHMETIC_UTILIZATION": "ArithmeticUtilization",
    "ACL_AICORE_MEMORY_BANDWIDTH": "Memory",
    "ACL_AICORE_L0B_AND_WIDTH": "MemoryL0",
    "ACL_AICORE_MEMORY_UB": "MemoryUB",
    "ACL_AICORE_RESOURCE_CONFLICT_RATIO": "ResourceConflictRatio",
    "ACL_AICORE_L2_CACHE": "L2Cache",
    "ACL_AICORE_MEMORY_ACCESS": "MemoryAccess",
    "ACL_AICORE_NONE": "AiCoreNone",
}
"""The counter groups, by their names in torch_npu's own record: as users name them."""
_ACTIVITIES: Final = {"CPU": "host", "NPU": "device"}


def captures(path: Path) -> list[Path]:
    """Return the folders of captures at or below `path`, in the order of their time."""
    return sorted(layout.captures(path), key=lambda folder: (_time(folder), folder))


def table(folder: Path, name: str) -> pl.DataFrame | None:
    """Return any csv file of the analysed capture, named with or without its suffix.

    All cells are stripped text. Null if there is no such file. Raises CaptureError if it cannot be
    read.
    """
    path = output(folder, f"{name.removesuffix('.csv')}.csv")
    return None if path is None else csv_files.text(path).table


def emulated(folder: Path) -> bool:
    """Tell whether the emulator made the capture, so that every figure in it is invented."""
    raw = [folder] if layout.is_raw(folder) else list(folder.glob("PROF_*"))
    if any(path.name.endswith("_EMULATED") or (path / "emulated").exists() for path in raw):
        return True
    if (path := output(folder, "trace_view.json")) and trace.emulated(path):
        return True
    database_path = database(folder)
    return database_path is not None and mstx.emulated(database_path)


def marks(folder: Path) -> pl.DataFrame:
    """Return the program's own marks and ranges: name, domain, start_ns and duration_ns.

    Read from the timeline, else from the database. Raises CaptureError if it cannot be read.
    """
    if path := output(folder, "trace_view.json"):
        return trace.marks(path)
    if path := database(folder):
        return mstx.marks(path)
    return trace.NO_MARKS


def profiler_info(folder: Path) -> dict[str, Any] | None:
    """Return the effective settings that torch_npu recorded, in the harness's names and spellings.

    Also `torch_npu_version`, `cann_version` and `rank`, if recorded. Null if there is no such file.
    Raises CaptureError if it cannot be read.
    """
    record = _record(folder)
    if record is None:
        return None
    config = _mapping(record.get("config"))
    return {
        **dict(_common(_mapping(config.get("common_config")))),
        **dict(_experimental(_mapping(config.get("experimental_config")))),
        **dict(_facts(record)),
    }


def info(folder: Path) -> CaptureInfo:
    """Return what the capture's metadata reports; nothing if its record cannot be read."""
    try:
        record = profiler_info(folder) or {}
    except CaptureError:
        record = {}
    return CaptureInfo(
        device="npu",
        rank=record.get("rank"),
        versions={
            name: str(record[word])
            for word, name in (("torch_npu_version", "torch_npu"), ("cann_version", "cann"))
            if word in record
        },
        settings={name: value for name, value in record.items() if name.startswith("profiler.")},
    )


def rank(folder: Path, context: ReadContext, notes: list[str]) -> int:
    """Return the rank that the capture records, else that of `context`; note what is unreadable."""
    try:
        number = (profiler_info(folder) or {}).get("rank")
    except CaptureError as error:
        notes.append(str(error))
        number = None
    return number if isinstance(number, int) else context.rank


def _time(folder: Path) -> int:
    """Return when a capture was taken: from its name, unless it was renamed."""
    if (stamp := _STAMP.search(folder.name)) and (seconds := _seconds(stamp[1])) is not None:
        return seconds * _NS + int(stamp[2]) * 1_000_000
    try:
        record = _record(folder) or {}
    except CaptureError:
        record = {}
    ended = _mapping(record.get("end_info")).get("collectionTimeEnd")
    return ended if isinstance(ended, int) else folder.stat().st_mtime_ns


def _seconds(stamp: str) -> int | None:
    try:
        return int(time.mktime(time.strptime(stamp, "%Y%m%d%H%M%S")))
    except (ValueError, OverflowError):
        return None


def _record(folder: Path) -> dict[str, Any] | None:
    # torch_npu's record is beside msprof's folder, not in it.
    places = [folder, *([folder.parent] if layout.is_raw(folder) else [])]
    paths = (path for place in places for path in sorted(place.glob("profiler_info*.json")))
    path = next(paths, None)
    if path is None:
        return None
    try:
        # JSON can contain half of a surrogate pair, which our own files cannot.
        spelled = json.dumps(json.loads(read_all(path)), ensure_ascii=False)
        record = json.loads(spelled.encode(errors="replace"))
    except (OSError, ValueError, RecursionError) as error:
        raise CaptureError(f"{path.name}: {error}") from error
    if not isinstance(record, dict):
        raise CaptureError(f"{path.name}: no JSON object")
    return record


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _common(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if name == "schedule":
            for key, count in _mapping(value).items():
                yield f"profiler.schedule.{key.removeprefix('_')}", count
        elif name == "activities" and isinstance(value, list):
            words = (str(activity).rpartition(".")[2] for activity in value)
            yield "profiler.activities", [_ACTIVITIES.get(word, word) for word in words]
        else:
            yield f"profiler.{name}", value


def _experimental(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for written, value in config.items():
        name = written.removeprefix("_")
        spelled = value
        if name == "aic_metrics":
            spelled = GROUPS.get(str(value), value)
        elif name == "export_type":
            # torch_npu keeps these as sets, whose order differs from process to process.
            spelled = sorted((str(word).capitalize() for word in _listed(value)), reverse=True)
        elif name == "host_sys":
            spelled = sorted(str(word).upper() for word in _listed(value))
        yield f"profiler.experimental.{name}", spelled


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value] if value else []


def _facts(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("torch_npu_version", "cann_version"):
        if name in record:
            yield name, record[name]
    number = str(record.get("rank_id", ""))
    if _RANK.fullmatch(number):
        yield "rank", int(number)
