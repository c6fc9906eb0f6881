"""Completeness: is every file of a capture whole, as far as that can be checked?

JSON and the head of a database show it. A table does not: it counts as whole if a cross-check with
another file holds; if there is none, it is reported as not checkable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from harness.capture.capture import Capture
from harness.capture.run_record import READ, Consistency, Delivery, DeliveryStatus
from harness.files import read_all, regular
from harness.readers.ascend import folder as ascend
from harness.readers.sqlite import cut_off

_BY_READER: Final = ("trace_view.json",)
"""Files that a reader reads to the end; it notes where one ends early."""
_KINDS: Final = frozenset({".csv", ".json", ".db"})
_TABLES: Final = (".csv", ".db")
_SHOWN: Final = 5


def completeness(capture: Capture, consistent: Sequence[Consistency]) -> tuple[Delivery, ...]:
    """Judge whether all of a capture's files are whole; nothing if there are none."""
    lost = list(capture.lost)
    named = {line.partition(":")[0] for line in lost}
    broken = {name for check in consistent if check.fails for name in check.files}
    confirmed = {name for check in consistent if check.status == "holds" for name in check.files}
    whole: set[str] = set()
    unknown: set[str] = set()
    for path in _files(capture):
        if path.name in named:
            continue
        by_reader = path.name in _BY_READER or not (capture.cycle_folders or path.suffix in _TABLES)
        why = _early_end(path, by_reader=by_reader)
        if why is None and path.name not in confirmed | broken:
            unknown.add(path.name)
        elif why:
            lost.append(f"{path.name}: {why}")
            named.add(path.name)
        else:
            whole.add(path.name)
    whole -= broken | unknown | named
    if broken - named:
        lost.append(f"{', '.join(sorted(broken - named))}: other files contradict it")
    if not (whole or unknown or lost):
        return ()
    return (_judged(whole, sorted(unknown), lost),)


def _judged(whole: set[str], unknown: Sequence[str], lost: Sequence[str]) -> Delivery:
    status: DeliveryStatus
    arrived = f"{len(whole)} file(s) whole"
    if lost:
        status, arrived, reason = "partial", f"a part of it; {arrived}", "; ".join(lost)
    elif unknown:
        status, more = "not_checkable", len(unknown) - _SHOWN
        names = ", ".join(unknown[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        reason = (
            "completeness could not be checked: nothing in the capture shows whether lines are"
            f" missing at the end of {names}"
        )
    else:
        status, reason = "delivered", ""
    return Delivery(
        setting=READ,
        requested="the whole capture",
        arrived=arrived,
        status=status,
        expectation="nothing in its files is broken or cut off",
        reason=reason,
    )


def _files(capture: Capture) -> Iterator[Path]:
    if not capture.cycle_folders:
        # The reader of a trace has read it to the end.
        yield from (capture.folder / name for name in capture.raw)
    for folder in capture.cycle_folders:
        yield from sorted(folder.glob("profiler_*.json"))
        yield from (path for path in ascend.outputs(folder) if path.suffix in _KINDS)


def _early_end(path: Path, *, by_reader: bool) -> str | None:
    """Say how a file ends too early: "" if it does not, None if that cannot be checked."""
    try:
        if by_reader:
            return ""
        if path.suffix == ".csv":
            return None if _last_byte(path) == b"\n" else "cut off in its last line"
        return cut_off(path) if path.suffix == ".db" else _broken_json(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _last_byte(path: Path) -> bytes:
    with regular(path) as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read()


def _broken_json(path: Path) -> str:
    try:
        json.loads(read_all(path))
    except (ValueError, RecursionError) as error:
        return f"cut off or broken: {error}"
    return ""
