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
from harness.capture import parts as readings
from harness.capture.capture import Capture
from harness.errors import Problem, RefusedError
from harness.execution.protocol import Outcome
from harness.readers import READERS
from harness.readers.ascend import folder as ascend
from harness.readers.base import CaptureError, Origin, Reader, Reading, Told
from harness.readers.chrome.reader import Chrome, broken
from harness.settings import schema
from harness.settings.expectations import DEMANDS, Asked, Evidence, Target, demanded
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


class Foreign(Struct, frozen=True, kw_only=True):
    """Captures of one profile, read."""

    source: Path
    captures: tuple[Path, ...]
    read: tuple[Reading, ...]
    lost: tuple[str, ...]
    """What could not be read, with the place; empty if all of it could."""
    remarks: tuple[str, ...] = ()
    """What else a person should know."""
    told: Told
    emulated: bool


def read(path: Path) -> Foreign:
    """Read a capture, or a folder of several of one profile; writes nothing.

    Raises `RefusedError` where there is none, or none that can be read, or where they do not
    belong together.
    """
    lost: list[str] = []
    sources = list(_sources(path, lost))
    found: list[tuple[Path, Reading]] = []
    operators = unranked = 0
    for source in sources:
        rank = _RANK.search(source.path.name)
        origin = Origin(rank=int(rank[1]) if rank else 0, first_operator=operators)
        try:
            reading = source.reader.read(source.path, origin)
        except CaptureError as error:
            lost.append(str(error))
            continue
        found.append((source.path, reading))
        unranked += rank is None and reading.told.rank is None
        lost += reading.notes
        operators += reading.frames["operators"].height if "operators" in reading.frames else 0
    if not found:
        raise RefusedError([_unreadable(path, lost)])
    read_ = tuple(reading for _, reading in found)
    captures = tuple(each for each, _ in found)
    told = _agreed(path, captures, read_)
    known, strange = _known(told.settings)
    strange += _beside(path, captures)
    if unranked > 1:
        strange.append(f"{unranked} captures tell no rank, nor do their names: all count as rank 0")
    return Foreign(
        source=path.absolute(),
        captures=captures,
        read=read_,
        lost=tuple(lost),
        told=replace(told, settings=known),
        remarks=(*(each for one in read_ for each in one.remarks), *strange),
        emulated=any(ascend.emulated(each) for each in captures if each.is_dir()),
    )


def keep(foreign: Foreign, folder: Path) -> Capture:
    """Write the tables into a run folder, and links to the captures; returns what is there."""
    raw = folder / "raw"
    raw.mkdir()
    names = []
    for number, path in enumerate(foreign.captures):
        name = path.name if path.is_file() else f"{path.name.removesuffix(ascend.SUFFIX)}_ascend_pt"
        link = raw / (name if len(foreign.captures) == 1 else f"{number:03d}_{name}")
        link.symlink_to(path.absolute(), target_is_directory=path.is_dir())
        names += [f"raw/{link.name}{each}" for each in _files(path)]
    parts, out = folder / "parts", folder / "tables"
    readings.keep(foreign.read, parts)
    out.mkdir()
    tables.join_parts(parts, out)
    told = foreign.told
    return Capture(
        folder=folder,
        asked=asked(told),
        outcome=Outcome(
            status="ok",
            device_name=told.device_name,
            versions=told.versions,
            emulated=foreign.emulated,
        ),
        analysis=Outcome(status="ok"),
        tables={name: pl.read_parquet(out / f"{name}.parquet") for name in tables.SCHEMAS},
        raw=tuple(names),
        coverage=readings.total(foreign.read),
        notes=(*foreign.lost, *foreign.remarks),
        lost=foreign.lost,
    )


def asked(told: Told) -> Asked:
    """Return what captures are judged by."""
    settings = told.settings
    experimental = {
        name.removeprefix(EXPERIMENTAL): value
        for name, value in settings.items()
        if name.startswith(EXPERIMENTAL)
    }
    activities = tuple(settings.get("profiler.activities") or ())
    target = Target(told.device, activities)
    return Asked(
        device=told.device,
        activities=activities,
        effective=settings,
        # A check may look at a setting beside its own; where the record has none, at its default.
        experimental=(NpuExperimental().lowered() if told.device == "npu" else {}) | experimental,
        evidence=tuple(demanded(target, settings, recorded=None, changed=())),
    )


def not_asked(told: Told) -> tuple[Evidence, ...]:
    """Return the settings that could have been asked for and were not, by the capture's record."""
    settings = told.settings
    return tuple(
        Evidence(setting=each.setting, asked=show(settings[each.setting]), demand=each.phrase)
        for each in DEMANDS
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


def _agreed(path: Path, captures: Sequence[Path], found: Sequence[Reading]) -> Told:
    """Return what all captures tell; refuse those that were asked for different things."""
    first = found[0].told
    for capture, reading in zip(captures, found, strict=True):
        told = reading.told
        if (told.device, told.settings) != (first.device, first.settings):
            both = {**first.settings, **told.settings}
            names = [name for name in both if told.settings.get(name) != first.settings.get(name)]
            names = names or [f"device: {first.device}, {told.device}"]
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
    return Problem(setting="read", given=str(path), allowed=why, fix=fix)


def _unreadable(path: Path, lost: Sequence[str]) -> Problem:
    if not lost:
        return _no_capture(path, "no capture is in it, and it has no run.json")
    more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return _no_capture(path, f"nothing of it can be read: {'; '.join(lost[:_SHOWN])}{more}")


def _files(path: Path) -> list[str]:
    if path.is_file():
        return [""]
    return sorted(f"/{each.relative_to(path)}" for each in path.rglob("*") if each.is_file())
