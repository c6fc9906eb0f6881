"""Intake: captures that other programs recorded become a `Capture`; the originals stay as they are.

What was asked of the profiler is taken from its own record, where it left one; nothing is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec import Struct, inspect
from msgspec.structs import replace

from harness import tables
from harness.capture import cycles
from harness.capture.capture import Capture
from harness.errors import Problem, RefusedError
from harness.execution.protocol import Outcome
from harness.readers import READERS
from harness.readers.ascend import folder as ascend
from harness.readers.base import CaptureError, CaptureInfo, ReadContext, Reader, ReadResult
from harness.readers.chrome.reader import Chrome, broken
from harness.settings import schema
from harness.settings.expectations import (
    EXPECTATIONS,
    Expectation,
    ExpectedSettings,
    Target,
    expected_of,
)
from harness.settings.npu import NpuExperimental
from harness.settings.request import Profiler
from harness.settings.schema import show

EXPERIMENTAL: Final = "profiler.experimental."
_RANK: Final = re.compile(r"rank[-_]?(\d{1,6})(?!\d)")
_NOTHING: Final[tuple[object, ...]] = (None, False, "AiCoreNone", [], ())
_SHOWN: Final = 5
_LONG: Final = 60


class Source(Struct, frozen=True):
    """One capture, and what reads it."""

    path: Path
    reader: Reader


class ExternalCapture(Struct, frozen=True, kw_only=True):
    """Captures of one profile, read."""

    source: Path
    captures: tuple[Path, ...]
    read: tuple[ReadResult, ...]
    lost: tuple[str, ...]
    """What could not be read, with the place; empty if all of it could."""
    remarks: tuple[str, ...] = ()
    """What else a person should know."""
    info: CaptureInfo
    emulated: bool


def read(path: Path) -> ExternalCapture:
    """Read a capture, or a folder of several of one profile; writes nothing.

    Raises `RefusedError` where there is none, or none that can be read, or where they do not
    belong together.
    """
    lost: list[str] = []
    sources = list(_sources(path, lost))
    found: list[tuple[Path, ReadResult]] = []
    operators = unranked = 0
    for source in sources:
        rank = _RANK.search(source.path.name)
        context = ReadContext(rank=int(rank[1]) if rank else 0, first_operator=operators)
        try:
            reading = source.reader.read(source.path, context)
        except CaptureError as error:
            lost.append(str(error))
            continue
        found.append((source.path, reading))
        unranked += rank is None and reading.info.rank is None
        lost += reading.notes
        operators += reading.frames["operators"].height if "operators" in reading.frames else 0
    if not found:
        raise RefusedError([_unreadable(path, lost)])
    read_ = tuple(reading for _, reading in found)
    captures = tuple(each for each, _ in found)
    info = _agreed(path, captures, read_)
    known, strange = _known(info.settings)
    strange += _beside(path, captures)
    if unranked > 1:
        strange.append(f"{unranked} captures tell no rank, nor do their names: all count as rank 0")
    return ExternalCapture(
        source=path.absolute(),
        captures=captures,
        read=read_,
        lost=tuple(lost),
        info=replace(info, settings=known),
        remarks=(*(each for one in read_ for each in one.remarks), *strange),
        emulated=any(ascend.emulated(each) for each in captures if each.is_dir()),
    )


def keep(foreign: ExternalCapture, folder: Path) -> Capture:
    """Write the tables into a run folder, and links to the captures; returns what is there."""
    raw = folder / "raw"
    raw.mkdir()
    names = []
    for number, path in enumerate(foreign.captures):
        name = path.name if path.is_file() else f"{path.name.removesuffix(ascend.SUFFIX)}_ascend_pt"
        link = raw / (name if len(foreign.captures) == 1 else f"{number:03d}_{name}")
        link.symlink_to(path.absolute(), target_is_directory=path.is_dir())
        names += [f"raw/{link.name}{each}" for each in _files(path)]
    kept, out = folder / "cycles", folder / "tables"
    cycles.write(foreign.read, kept)
    out.mkdir()
    tables.join_cycles(kept, out)
    info = foreign.info
    return Capture(
        folder=folder,
        expected=expected_settings(info),
        outcome=Outcome(
            status="ok",
            device_name=info.device_name,
            versions=info.versions,
            emulated=foreign.emulated,
        ),
        analysis=Outcome(status="ok"),
        tables={name: pl.read_parquet(out / f"{name}.parquet") for name in tables.SCHEMAS},
        raw=tuple(names),
        event_counts=cycles.total(foreign.read),
        notes=(*foreign.lost, *foreign.remarks),
        lost=foreign.lost,
    )


def expected_settings(info: CaptureInfo) -> ExpectedSettings:
    """Return the settings that captures are checked against, as their metadata reports them."""
    settings = info.settings
    experimental = {
        name.removeprefix(EXPERIMENTAL): value
        for name, value in settings.items()
        if name.startswith(EXPERIMENTAL)
    }
    activities = tuple(settings.get("profiler.activities") or ())
    target = Target(info.device, activities)
    return ExpectedSettings(
        device=info.device,
        activities=activities,
        effective=settings,
        # A check may look at a setting beside its own; where the record has none, at its default.
        experimental=(NpuExperimental().lowered() if info.device == "npu" else {}) | experimental,
        expectations=tuple(expected_of(target, settings, recorded=None, changed=())),
    )


def not_requested(info: CaptureInfo) -> tuple[Expectation, ...]:
    """Return the settings that could have been asked for and were not, by the capture's record."""
    settings = info.settings
    return tuple(
        Expectation(
            setting=each.setting,
            requested=show(settings[each.setting]),
            description=each.description,
        )
        for each in EXPECTATIONS
        if each.setting in settings and settings[each.setting] in _NOTHING
    )


def _sources(path: Path, lost: list[str]) -> Iterator[Source]:
    """Yield the captures at or below a path, in the order of their time or name."""
    try:
        if not path.exists():
            raise RefusedError([_no_capture(path, "there is no such file or folder")])
        candidates = _candidates(path)
    except OSError as error:
        raise RefusedError([_no_capture(path, f"cannot be read: {error.strerror}")]) from error
    for each in candidates:
        try:
            reader = next((reader for reader in READERS if reader.recognises(each)), None)
        except OSError as error:
            lost.append(f"{each.name}: cannot be read: {error.strerror}")
            continue
        if reader is not None:
            yield Source(each, reader)
        elif each.is_dir():
            lost.append(
                f"{each.name}: torch_npu has not analysed it: on a machine with CANN,"
                " torch_npu.profiler.profiler.analyse(FOLDER) does"
            )
        elif each == path:
            lost.append(f"{each.name}: no reader knows it")
        elif why := broken(each):
            lost.append(why)


def _candidates(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.name == ascend.OUTPUT:
        path = path.absolute().parent
    if (path / ascend.OUTPUT).is_dir():  # whatever it was renamed to
        return [path]
    return ascend.captures(path) or _traces(path)


def _traces(path: Path) -> list[Path]:
    return sorted(each for ending in ("json", "json.gz") for each in path.rglob(f"*.{ending}"))


def _beside(path: Path, captures: Sequence[Path]) -> list[str]:
    """Name the chrome traces of a folder whose captures are torch_npu's: they are not read."""
    if path in captures or not captures[0].is_dir():
        return []
    found = []
    for each in _traces(path):
        if any(part.endswith(ascend.SUFFIX) for part in each.relative_to(path).parts):
            continue
        try:
            if Chrome().recognises(each):
                why = "torch_npu's captures are beside it: read it by itself"
                found.append(f"{each.name}: not read, since {why}")
        except OSError as error:
            found.append(f"{each.name}: cannot be read: {error.strerror}")
    return found


def _known(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Leave out, and name, the values that are none of their setting: no check could judge them."""
    types = _types(Profiler, "profiler.") | _types(NpuExperimental, EXPERIMENTAL)
    known, strange = {}, []
    for name, value in settings.items():
        type_ = types.get(name)
        if type_ is not None and value is not None and list(schema.problems(value, type_, name)):
            strange.append(f"{name}: {show(value)[:_LONG]} is not known, so it is not judged")
        else:
            known[name] = value
    return known, strange


def _types(of: type[Struct], prefix: str) -> dict[str, inspect.Type]:
    fields = inspect.type_info(of)
    assert isinstance(fields, inspect.StructType)
    return {f"{prefix}{field.encode_name}": field.type for field in fields.fields}


def _agreed(path: Path, captures: Sequence[Path], found: Sequence[ReadResult]) -> CaptureInfo:
    """Return what all captures tell; refuse those that were asked for different things."""
    first = found[0].info
    for capture, reading in zip(captures, found, strict=True):
        info = reading.info
        if (info.device, info.settings) != (first.device, first.settings):
            both = {**first.settings, **info.settings}
            names = [name for name in both if info.settings.get(name) != first.settings.get(name)]
            names = names or [f"device: {first.device}, {info.device}"]
            differ = ", ".join(names[:_SHOWN])
            why = (
                f"{captures[0].name} and {capture.name} are no captures of one profile; they"
                f" differ in {differ}"
            )
            raise RefusedError([_no_capture(path, why, "read each by itself")])
    return first


def _no_capture(path: Path, why: str, fix: str = "") -> Problem:
    fix = fix or (
        "python -m harness read PATH: a chrome trace of torch (.json, .json.gz), a folder"
        " *_ascend_pt, a folder of these, or a run folder"
    )
    return Problem(setting="read", given=str(path), reason=why, fix=fix)


def _unreadable(path: Path, lost: Sequence[str]) -> Problem:
    if not lost:
        return _no_capture(path, "no capture is in it, and it has no run.json")
    more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return _no_capture(path, f"nothing of it can be read: {'; '.join(lost[:_SHOWN])}{more}")


def _files(path: Path) -> list[str]:
    if path.is_file():
        return [""]
    return sorted(f"/{each.relative_to(path)}" for each in path.rglob("*") if each.is_file())
