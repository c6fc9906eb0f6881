"""Import captures that other programs recorded; the originals stay as they are.

The settings that were requested are those that a capture's metadata reports; nothing is assumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, inspect
from msgspec.structs import replace

from harness import files, tables
from harness.capture import cycles
from harness.capture.capture_record import CaptureRecord, ReaderReport
from harness.capture.foreign import check_capture
from harness.capture.run_folder import remove
from harness.capture.sources import no_capture, rank_of, sources, traces
from harness.devices import READABLE
from harness.errors import Problem, RefusedError
from harness.execution.protocol import Outcome, write_json
from harness.paths import RunFolder
from harness.readers.ascend import folder as ascend
from harness.readers.ascend import layout, unread
from harness.readers.base import CaptureError, CaptureInfo, ReadContext, ReadResult
from harness.readers.chrome.reader import Chrome
from harness.settings import schema
from harness.settings.expectations import (
    EXPECTATIONS,
    Expectation,
    ExpectedSettings,
    Recording,
    expected_of,
)
from harness.settings.npu import NpuExperimental
from harness.settings.request import Profiler
from harness.settings.schema import show
from harness.waits import waiting

EXPERIMENTAL: Final = "profiler.experimental."
_PLACE: Final = re.compile(
    r"(^|[._])(path|dir|directory|folder|file|worker|host|hostname|rank|pid)(_?(name|id|path))?$",
    re.IGNORECASE,
)
"""The names of parameters that say where a process ran or wrote; each rank has its own."""
_OFF: Final[tuple[object, ...]] = (None, False, "AiCoreNone", [], ())
_SHOWN: Final = 5
_LONG: Final = 60


class ExternalCapture(Struct, frozen=True, kw_only=True):
    """Captures of one profile, as their readers read them."""

    source: Path
    rank: int | None = None
    """The one rank of the folder that was read; null for all that is there."""
    captures: tuple[Path, ...]
    results: tuple[ReadResult, ...]
    lost: tuple[str, ...]
    """What could not be read, with file and place."""
    remarks: tuple[str, ...] = ()
    """What else a user should know."""
    info: CaptureInfo
    emulated: bool


def read(path: Path, rank: int | None = None) -> ExternalCapture:
    """Read a capture, or a folder of several captures of one profile; write nothing.

    With a rank, only the captures of that rank in the folder are read.

    Raises:
        RefusedError: There is no capture that can be read, or the captures do not belong together.
    """
    # A link may lead to another capture tomorrow.
    path = path.resolve()
    check_capture(path)
    lost: list[str] = []
    captures: list[Path] = []
    results: list[ReadResult] = []
    operators = unranked = 0
    beside: list[str] = []
    for source in sources(path, lost, beside, rank):
        known = rank_of(source.path, path)
        context = ReadContext(rank=known or 0, first_operator=operators)
        try:
            result = source.reader.read(source.path, context)
        except CaptureError as error:
            lost.append(str(error))
            continue
        captures.append(source.path)
        results.append(result)
        unranked += known is None and result.info.rank is None
        lost += result.notes
        operators += result.frames["operators"].height if "operators" in result.frames else 0
    if not results:
        there = [*lost, *beside] or unread.known_files(path)
        raise RefusedError([_unreadable(path, there)])
    results = _of_one_device(results)
    named = zip((file.name for file in captures), (result.info for result in results), strict=True)
    info = agreed(path, list(named))
    settings, remarks = _checkable(info.settings)
    remarks += [*beside, *(_beside(path, captures, unranked) if rank is None else ())]
    return ExternalCapture(
        source=path,
        rank=rank,
        captures=tuple(captures),
        results=tuple(results),
        lost=tuple(lost),
        info=replace(info, settings=settings),
        remarks=(*(remark for result in results for remark in result.remarks), *remarks),
        emulated=any(map(ascend.emulated, captures)),
    )


def keep(
    capture: ExternalCapture, folder: Path, asked: ExpectedSettings | None = None
) -> CaptureRecord:
    """Write what `load_capture` needs: tables, records, links to the originals.

    The capture is judged by what was `asked` for; null: by what its metadata reports.
    """
    run, info = RunFolder(folder), capture.info
    expected = asked or expected_settings(info)
    record = CaptureRecord(source=str(capture.source), rank=capture.rank, expected=expected)
    write_json(record, run.capture)
    trouble = expected.asked.trouble if expected.asked else ""
    outcome = Outcome(
        status="failed" if trouble else "ok",
        reason=trouble,
        device_name=info.device_name,
        versions=info.versions,
        emulated=capture.emulated,
    )
    write_json(outcome, run.outcome)
    write_json(Outcome(status="ok"), run.analysis)
    _link(capture.captures, run)
    remove(run.cycles)
    with waiting("writing tables"):
        cycles.write(capture.results, run)
        tables.join_cycles(run.cycles, run.tables, run.path)
    reported = ReaderReport(
        event_counts=cycles.total(capture.results),
        lost=capture.lost,
        remarks=capture.remarks,
        settings=info.settings,
    )
    record = replace(record, reported=reported)
    write_json(record, run.capture)
    return record


def missing_originals(folder: Path) -> list[Path]:
    """Return the captures that an imported capture was read from and that are no longer there."""
    links = sorted(RunFolder(folder).raw.glob("*"))
    return [link.readlink() for link in links if link.is_symlink() and not link.exists()]


def _link(captures: Sequence[Path], run: RunFolder) -> None:
    """Let ``raw/`` lead to the originals."""
    remove(run.raw)
    files.make_folder(run.path, run.raw)
    for number, path in enumerate(captures):
        name = path.name
        if path.is_dir():
            name = f"{name.removesuffix(layout.SUFFIX)}{layout.SUFFIX}"
        link = run.raw / (name if len(captures) == 1 else f"{number:03d}_{name}")
        with files.failing_at(link):
            link.symlink_to(path.absolute(), target_is_directory=path.is_dir())


def expected_settings(info: CaptureInfo) -> ExpectedSettings:
    """Return the settings that captures are checked against, as their metadata reports them."""
    settings = info.settings
    experimental = {
        name.removeprefix(EXPERIMENTAL): value
        for name, value in settings.items()
        if name.startswith(EXPERIMENTAL)
    }
    activities = tuple(settings.get("profiler.activities") or ())
    device = READABLE[info.device]
    recording = Recording(activities=activities, reports_overflow=device.reports_overflow)
    return ExpectedSettings(
        device=info.device,
        activities=activities,
        effective=settings,
        # A check may look at a setting beside its own; where none is reported, at its default.
        experimental=device.experimental().lowered() | experimental,
        expectations=tuple(expected_of(recording, settings, recorded=None, changed=())),
    )


def not_requested(settings: Mapping[str, Any]) -> tuple[Expectation, ...]:
    """Return the settings that could have been requested and were not, by the metadata."""
    return tuple(
        Expectation(
            setting=rule.setting,
            requested=show(settings[rule.setting]),
            description=rule.description,
        )
        for rule in EXPECTATIONS
        if rule.setting in settings and settings[rule.setting] in _OFF
    )


def _beside(path: Path, captures: Sequence[Path], unranked: int) -> Iterator[str]:
    """Yield what is to be said of a folder's captures together, and of what is beside them."""
    yield from _unread_traces(path, captures)
    yield from _unread_summaries(path)
    if unranked > 1:
        yield f"{unranked} captures report no rank, nor do their names: all are rank 0"


def _unread_traces(path: Path, captures: Sequence[Path]) -> list[str]:
    """Name the Chrome traces of a folder whose captures are torch_npu's: they are not read."""
    if path in captures or not captures[0].is_dir():
        return []
    remarks = []
    for trace in traces(path):
        if any(trace.is_relative_to(capture) for capture in captures):
            continue
        try:
            if Chrome().recognises(trace):
                why = "torch_npu's captures are beside it: read it by itself"
                remarks.append(f"{trace.name}: not read, since {why}")
        except OSError as error:
            remarks.append(f"{trace.name}: cannot be read: {error.strerror}")
    return remarks


def _unread_summaries(path: Path) -> list[str]:
    """Name msprof-analyze's summaries: they have nothing that the captures do not have."""
    if path.is_file():
        return []
    return [
        f"{folder.name}: not read: msprof-analyze made it from captures, which are read themselves"
        for folder in layout.cluster_outputs(path)
    ]


def _checkable(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Leave out, and name, the values that their setting cannot have: no check applies to them."""
    types = _types(Profiler, "profiler.") | _types(NpuExperimental, EXPERIMENTAL)
    checkable, remarks = {}, []
    for name, value in settings.items():
        type_ = types.get(name)
        if type_ is not None and value is not None and list(schema.problems(value, type_, name)):
            remarks.append(f"{name}: {show(value)[:_LONG]} is unknown, so it is not checked")
        else:
            checkable[name] = value
    return checkable, remarks


def _types(of: type[Struct], prefix: str) -> dict[str, inspect.Type]:
    fields = inspect.type_info(of)
    assert isinstance(fields, inspect.StructType)
    return {f"{prefix}{field.encode_name}": field.type for field in fields.fields}


def _of_one_device(results: list[ReadResult]) -> list[ReadResult]:
    """Give the ranks without events of a device the one device of the others.

    Such a rank launched nothing, or its device was not recorded; it is of the same job.
    """
    devices = {result.info.device for result in results} - {"cpu"}
    if len(devices) != 1:
        return results
    (device,) = devices
    return [replace(result, info=replace(result.info, device=device)) for result in results]


def agreed(path: Path, infos: Sequence[tuple[str, CaptureInfo]]) -> CaptureInfo:
    """Return what all captures report, each with its name.

    Raises:
        RefusedError: They were recorded with different settings, or on different kinds of devices.
    """
    # A capture whose record is gone states nothing that could differ.
    stating = [(name, info) for name, info in infos if info.settings] or infos
    first_name, first = stating[0]
    for name, info in infos:
        names = _differing(first.settings, info.settings) if info.settings else []
        if names or info.device != first.device:
            differ = ", ".join(names[:_SHOWN]) or f"device: {first.device}, {info.device}"
            why = f"{first_name} and {name} are not of one profile: they differ in {differ}"
            raise RefusedError([no_capture(path, why, "read each by itself")])
    shared = {
        name: value
        for name, value in first.settings.items()
        if all(info.settings.get(name) == value for _, info in stating)
    }
    return replace(first, settings=shared)


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the settings that differ; those of one process, such as where it writes, may."""
    return [
        name
        for name in {**first, **second}
        if first.get(name) != second.get(name)
        and not (_PLACE.search(name) or all(map(_is_path, (first.get(name), second.get(name)))))
    ]


def _is_path(value: object) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)


def _unreadable(path: Path, lost: Sequence[str]) -> Problem:
    if not lost:
        return no_capture(path, "there is neither a capture nor a run in it")
    more = f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return no_capture(path, f"nothing in it can be read: {'; '.join(lost[:_SHOWN])}{more}")
