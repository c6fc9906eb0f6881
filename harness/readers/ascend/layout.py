"""Where the files of a capture are: torch_npu's, MindSpore's and msprof's folders, or bare files.

All are found by the names that torch_npu gives them. msprof's names have a time in them, and where
a file is large, the number of a slice (msprof's reference of profile data files).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.readers import gzip_stream
from harness.readers.ascend import csv_files
from harness.readers.base import CaptureError
from harness.readers.sqlite import opened

SUFFIX: Final = "_ascend_pt"
"""How torch_npu ends the name of a capture."""
OUTPUT: Final = "ASCEND_PROFILER_OUTPUT"
MSPROF_OUTPUT: Final = "mindstudio_profiler_output"
CLUSTER_OUTPUT: Final = "cluster_analysis_output"
"""msprof-analyze's summary of several ranks."""
TIMELINE: Final = "trace_view.json"
KERNELS: Final = "kernel_details.csv"
OPERATORS: Final = "operator_details.csv"
DATABASE: Final = "ascend_pytorch_profiler.db"

_SUFFIXES: Final = (SUFFIX, "_ascend_ms")
_RAW: Final = re.compile(r"PROF_\w+")
_OF_MSPROF: Final = {KERNELS: "op_summary", TIMELINE: "msprof"}
_SAME_NAME: Final = ("op_statistic", "api_statistic", "task_time", "l2_cache", "npu_module_mem")
_DATABASES: Final = re.compile(r"(ascend_(pytorch|mindspore)_profiler.*|msprof_[\d_]+)\.db")
_OF_RANK: Final = re.compile(r"ascend_(pytorch|mindspore)_profiler_\d+\.db")
_HEAD: Final = 1 << 16
_BLOCK: Final = 16 << 20
_OF_TORCH: Final = (b'"schemaVersion"', b'"deviceProperties"')
_OF_ASCEND: Final = (b'"Ascend Hardware"', b'"async_npu"')
_LONGEST: Final = max(map(len, _OF_ASCEND))
_HEADINGS: Final = {
    KERNELS: {"Name", "Start Time(us)", "Duration(us)"},
    OPERATORS: {"Name", "Host Self Duration(us)", "Host Total Duration(us)"},
}
"""Columns that only this file has together."""
_TABLES: Final = ("TASK", "PYTORCH_API", "COMPUTE_TASK_INFO")


def output_folder(capture: Path) -> Path | None:
    """Return the folder of the analysed files, null if there is none."""
    for name in (OUTPUT, MSPROF_OUTPUT):
        if (capture / name).is_dir():
            return capture / name
    return capture if _is_flat(capture) else None


def outputs(capture: Path) -> list[Path]:
    """Return all analysed files, by their names; a bare file is the only one."""
    if capture.is_file():
        return [capture]
    folder = output_folder(capture)
    files = [] if folder is None else [path for path in folder.iterdir() if path.is_file()]
    if (path := database(capture)) is not None and path not in files:
        files.append(path)
    return sorted(files)


def output(capture: Path, name: str) -> Path | None:
    """Return a file of the analysed capture, null if there is none.

    torch_npu writes a file only if it has rows: an absent file may mean that nothing happened.
    """
    return next(iter(slices(capture, name)), None)


def slices(capture: Path, name: str) -> list[Path]:
    """Return the files that have what torch_npu writes into one: msprof cuts large ones."""
    if not capture.is_dir():
        return [capture] if bare_kind(capture) == name else []
    folder = output_folder(capture)
    if folder is None:
        return []
    for path in (folder / name, *([folder / f"{TIMELINE}.gz"] if name == TIMELINE else [])):
        if path.is_file():
            return [path]
    stem, _, ending = name.rpartition(".")
    if name not in _OF_MSPROF and stem not in _SAME_NAME:
        return []
    pattern = re.compile(rf"{_OF_MSPROF.get(name, stem)}(_slice_\d+)?_([\d_]+)\.{ending}")
    matches = [
        (match, path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))
    ]
    # Each export has another time; the last is whole by itself.
    last = max((match[2] for match, _ in matches), default="")
    return sorted(path for match, path in matches if match[2] == last and path.is_file())


def written_name(capture: Path, name: str) -> str:
    """Return how the program that exported a capture names a file."""
    if output_folder(capture) in {None, capture / OUTPUT}:
        return name
    stem, _, ending = name.rpartition(".")
    return (
        f"{_OF_MSPROF.get(name, stem)}_*.{ending}" if (capture / MSPROF_OUTPUT).is_dir() else name
    )


def database(capture: Path) -> Path | None:
    """Return the capture's database, null if there is none."""
    if not capture.is_dir():
        return capture if bare_kind(capture) == DATABASE else None
    folders = {folder for folder in (output_folder(capture), capture) if folder is not None}
    paths = (path for folder in folders for path in folder.iterdir())
    # msprof's own has no operators: torch_npu's comes first by its name, msprof's latest last.
    files = sorted(path for path in paths if _DATABASES.fullmatch(path.name) and path.is_file())
    of_msprof = [path for path in files if path.name.startswith("msprof")]
    return next(iter([path for path in files if path not in of_msprof] + of_msprof[::-1]), None)


def bare_kind(path: Path) -> str:
    """Return the name that torch_npu gives to a file with this content; "" if it is none."""
    try:
        if path.suffix == ".csv":
            names = set(csv_files.columns(path))
            return next((kind for kind, needed in _HEADINGS.items() if needed <= names), "")
        if path.name.endswith((".json", ".json.gz")):
            return TIMELINE if _is_timeline(path) else ""
        if path.suffix == ".db":
            with opened(path) as tables:
                return DATABASE if any(map(tables.has, _TABLES)) else ""
    except (CaptureError, OSError):
        pass
    return ""


def captures(path: Path) -> list[Path]:
    """Return the folders of captures at or below `path`, whatever their names."""
    if path.name in {OUTPUT, MSPROF_OUTPUT}:
        path = path.absolute().parent
    if not is_capture(path):
        return list(_below(path))
    if output_folder(path) not in {path, None} or is_raw(path):
        return [path]
    return [*_parts(path), *(folder for folder in _below(path) if not is_raw(folder))]


def is_capture(path: Path) -> bool:
    """Tell whether a folder is a capture, by its name or by what is in it."""
    if not path.is_dir() or path.name == CLUSTER_OUTPUT:
        return False
    if _is_readable(path):
        return True
    # Where msprof exported and torch_npu did not, msprof's folder within is the capture.
    is_named = path.name.endswith(_SUFFIXES) or (path / OUTPUT).is_dir()
    return is_raw(path) or (is_named and not any(map(_is_readable, _below(path))))


def is_raw(path: Path) -> bool:
    """Tell whether a folder has the name of CANN's own data."""
    return bool(_RAW.fullmatch(path.name))


def cluster_outputs(path: Path) -> list[Path]:
    """Return the folders ``cluster_analysis_output`` at or below `path`."""
    if path.name == CLUSTER_OUTPUT and path.is_dir():
        return [path]
    return sorted(folder for folder in path.rglob(CLUSTER_OUTPUT) if folder.is_dir())


def _is_readable(capture: Path) -> bool:
    if any(output(capture, name) for name in (TIMELINE, KERNELS, OPERATORS)):
        return True
    return database(capture) is not None


def _below(path: Path) -> Iterator[Path]:
    with os.scandir(path) as entries:
        folders = sorted((entry for entry in entries if entry.is_dir()), key=lambda e: e.name)
    for entry in folders:
        folder = Path(entry.path)
        try:
            capture = is_capture(folder)
        except OSError:
            # Whoever reads it names it.
            capture = True
        if capture:
            yield from _parts(folder)
        elif not entry.is_symlink() and entry.name != CLUSTER_OUTPUT:
            yield from _below(folder)


def _parts(capture: Path) -> list[Path]:
    """Return a capture, or the databases of several ranks that were put into one folder."""
    if output_folder(capture) not in {capture, None}:
        return [capture]
    of_ranks = sorted(path for path in capture.iterdir() if _OF_RANK.fullmatch(path.name))
    return of_ranks if len(of_ranks) > 1 else [capture]


def _is_flat(folder: Path) -> bool:
    """Tell whether analysed files are in a folder itself."""
    if not folder.is_dir():
        return False
    of_msprof = re.compile(r"op_summary_(slice_\d+_)?[\d_]+\.csv|msprof_(slice_\d+_)?[\d_]+\.json")
    names = {KERNELS, OPERATORS, TIMELINE, f"{TIMELINE}.gz"}
    return any(
        (path.name in names or of_msprof.fullmatch(path.name)) and path.is_file()
        for path in folder.iterdir()
    )


def _is_timeline(path: Path) -> bool:
    """Look for the names of torch_npu's processes and flows; torch's own traces begin otherwise."""
    with gzip_stream.opened(path, []) as file:
        head = file.read(_HEAD)
        text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        if any(word in head for word in _OF_TORCH) or not text.startswith((b"[", b"{")):
            return False
        if re.fullmatch(r"(trace_view|msprof_[\d_]+)\.json(\.gz)?", path.name):
            return True
        while head:
            if any(word in head for word in _OF_ASCEND):
                return True
            block = file.read(_BLOCK)
            head = head[-_LONGEST:] + block if block else b""
    return False
