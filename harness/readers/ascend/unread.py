"""Say why nothing in a folder can be read, by the files that are there and those that are not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from harness.readers.ascend import layout
from harness.readers.ascend.files import FILES
from harness.readers.ascend.folder import profiler_info
from harness.readers.base import CaptureError

_FILES: Final = {
    "Text": (layout.KERNELS, layout.TIMELINE),
    "Db": ("ascend_pytorch_profiler*.db",),
}
"""What every analysis of an export writes."""
_OF_RANKS: Final = (
    "msprof-analyze made it from captures of several ranks, and it has no operators: read the"
    " captures themselves"
)
_OTHERS: Final = {
    "profiler_info": "the profiler's settings",
    "profiler_metadata": "what the program noted",
    "step_trace": "times of steps",
    "communication_statistic": "time of communication by name",
}
_TIME: Final = re.compile(r"(_slice_\d+)?_\d{14,}$")
_RANK: Final = re.compile(r"_\d{1,9}$")
_SHOWN: Final = 5


def why(folder: Path) -> str:
    """Return which files are missing, what is there instead, and where they can be had."""
    if layout.is_raw(folder):
        return (
            f"msprof has not exported it: there is no {layout.MSPROF_OUTPUT} in it. Run msprof"
            " --export=on --output=FOLDER on a machine with CANN"
        )
    missing, evidence = _missing(folder)
    present = [path.name for path in _present(folder)]
    there = f"{layout.OUTPUT} has only {_listed(present)}" if present else _without_output(folder)
    fix = "call torch_npu.profiler.profiler.analyse(FOLDER) on a machine with CANN"
    if not any(path.is_dir() for path in folder.glob("PROF_*")):
        return (
            f"{missing} not there{evidence}: {there}, and there is no PROF_* folder to make more"
            " from. Copy the whole capture again"
        )
    if present or (folder / layout.OUTPUT).is_dir():
        return f"{missing} not there{evidence}: {there}; its PROF_* folder is there: {fix}"
    return f"torch_npu has not analysed it yet: {there}: {fix}"


def known_files(path: Path) -> list[str]:
    """Name what is in a folder without captures that an analysis wrote, and say what it holds."""
    if not path.is_dir():
        return []
    summaries = [f"{folder.name}: {_OF_RANKS}" for folder in layout.cluster_outputs(path)]
    files = sorted(file for file in path.iterdir() if file.is_file())
    return summaries or [f"{file.name}: {why}" for file in files if (why := of_file(file))]


def of_file(path: Path) -> str:
    """Return what a file of an analysis holds that cannot be read by itself; "" for any other."""
    if path.name.startswith("cluster_"):
        return _OF_RANKS
    stem = _TIME.sub("", path.stem)
    holds = FILES.get(f"{_RANK.sub('', stem)}{path.suffix}") or _OTHERS.get(_RANK.sub("", stem))
    return f"it holds {holds}: read the capture that it is from, which has kernels" if holds else ""


def _without_output(folder: Path) -> str:
    there = (folder / layout.OUTPUT).is_dir()
    return f"{layout.OUTPUT} is empty" if there else f"there is no {layout.OUTPUT}"


def _missing(folder: Path) -> tuple[str, str]:
    """Return the files that the capture's own record calls for, and that this is its word."""
    try:
        exports = (profiler_info(folder) or {}).get("profiler.experimental.export_type") or []
    except CaptureError:
        exports = []
    stated = [export for export in exports if export in _FILES]
    names = [name for export in stated or _FILES for name in _FILES[export]]
    verb = "are" if len(names) > 1 else "is"
    joined = ", ".join(names) if stated else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{joined} {verb}", f" (its export_type is {', '.join(stated)})" if stated else ""


def _present(folder: Path) -> list[Path]:
    output = folder / layout.OUTPUT
    return sorted(output.iterdir()) if output.is_dir() else []


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
