"""What the checks share: their results, and how they count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import polars as pl
from msgspec import Struct

from harness.capture.capture import Capture
from harness.capture.run_record import DeliveryStatus
from harness.devices import READABLE
from harness.devices.base import ProfilerFacts, Target
from harness.readers.base import CaptureError
from harness.readers.gzip_stream import opened


class CheckResult(Struct, frozen=True):
    """The verdict of a check."""

    status: DeliveryStatus
    arrived: str
    """What arrived, as a figure."""
    reason: str = ""
    """When not delivered: why it may be so, and what to do."""


_CHUNK: Final = 1 << 22


DeliveryCheck = Callable[[Capture], CheckResult]


def share(part: int, whole: int, what: str) -> str:
    """Say how many of how many."""
    return f"{part:,} of {whole:,} {what} ({part / whole:.1%})" if whole else f"no {what}"


def filled(column: pl.Series) -> int:
    """Return how many values are not null."""
    return len(column) - column.null_count()


def by_share(part: int, whole: int, what: str, why: str) -> CheckResult:
    """Return missing, partial or delivered, by how many have it."""
    status: DeliveryStatus = "missing" if part == 0 else "delivered" if part == whole else "partial"
    return CheckResult(status, share(part, whole, what), "" if status == "delivered" else why)


def words_in(blocks: Iterable[bytes], word: bytes) -> int:
    """Count a word in a stream of bytes, without holding it."""
    count, rest = 0, b""
    for block in blocks:
        count += (rest + block).count(word)
        rest = (rest + block)[-len(word) + 1 :]
    return count


def target_of(capture: Capture) -> Target:
    """Return the device that was recorded."""
    return READABLE[capture.expected.device]


def profiler_of(capture: Capture) -> ProfilerFacts:
    """Return the facts about the profiler that recorded."""
    return target_of(capture).profiled_by


def words_in_traces(capture: Capture, word: bytes) -> int:
    """Count a word in the traces that torch's profiler exported."""
    return sum(words_in(_blocks(capture.folder / name), word) for name in _traces(capture))


def _traces(capture: Capture) -> list[str]:
    """Return the traces of a run by their names, and of an imported capture all its files."""
    return [name for name in capture.raw if capture.source or Path(name).name.startswith("trace")]


def _blocks(path: Path) -> Iterator[bytes]:
    notes: list[str] = []
    with opened(path, notes) as file:
        while block := file.read(_CHUNK):
            yield block
    if notes:
        raise CaptureError("; ".join(notes))
