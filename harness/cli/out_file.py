"""Where a command may write: a file, and never in the place of what was measured."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

from harness.errors import Problem
from harness.paths import ComparisonFolder, MergedFolder, RunFolder, SweepFolder

_HERE: Final = Path()
_RUN: Final = RunFolder(_HERE)
_SWEEP: Final = SweepFolder(_HERE)
_SHOWN: Final = frozenset({_RUN.report, _RUN.redacted_report, _RUN.view})
"""What is made anew from a run at any time."""
_RECORDS: Final = (
    *(_RUN.record, _SWEEP.record, MergedFolder(_HERE).record),
    ComparisonFolder(_HERE).record,
)
_OF_SWEEP: Final = (_SWEEP.tables, _SWEEP.slurm_record, _SWEEP.slurm)
_OWN: Final = frozenset({*_RUN.replaced, *_RECORDS, *_OF_SWEEP} - _SHOWN)


def file_problems(named: Mapping[str, str], read: Sequence[Path] = ()) -> Iterator[Problem]:
    """Yield what is wrong with the files that a command is to write.

    Args:
        named: By flag.
        read: What the command reads; no file may take its place.
    """
    for flag, text in named.items():
        if why := _why_not(text, read):
            fix = "name a file in it" if _is_folder(text) else "name another file"
            yield Problem(setting=flag, given=text, reason=why, fix=fix)
    for (flag, text), (other, its) in combinations(named.items(), 2):
        if os.path.realpath(text) == os.path.realpath(its):
            why = f"{other} is the same file"
            yield Problem(setting=flag, given=text, reason=why, fix="name two files")


def _why_not(text: str, read: Sequence[Path]) -> str:
    path = Path(text)
    if _is_folder(text):
        return "it must be a file, and this is a folder"
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        return "it is no regular file, and what is written would take its place"
    if any(path.exists() and one.exists() and path.samefile(one) for one in read):
        return "this is what the command reads"
    return _in_results(path)


def _is_folder(text: str) -> bool:
    return text.endswith("/") or Path(text).is_dir()


def folder_problems(text: str | None) -> Iterator[Problem]:
    """Yield why a comparison may not be kept in the folder of ``--out``."""
    if text is None:
        return
    path = Path(text)
    why = _in_results(path)
    if any((path / record).exists() for record in _RECORDS[:-1]):
        why = "it has results of its own, and their report would be replaced"
    if why:
        yield Problem(setting="--out", given=text, reason=why, fix="name another folder")


def _in_results(path: Path) -> str:
    """Return why nothing may be written to a path: it belongs to a folder of results."""
    place = Path(os.path.realpath(path.parent)) / path.name
    for folder in place.parents:
        own = place.relative_to(folder).parts[0]
        if Path(own) in _OWN and any((folder / record).exists() for record in _RECORDS):
            return f"it is a part of the results in {folder}"
    return ""
