"""What the checks share: their results, and why captures are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import polars as pl
from msgspec import Struct

from harness.capture.capture import Capture
from harness.capture.run_record import DeliveryStatus
from harness.devices import READABLE
from harness.devices.base import ProfilerFacts, Target


class CheckResult(Struct, frozen=True):
    """The verdict of a check."""

    status: DeliveryStatus
    arrived: str
    """What arrived, as a figure."""
    reason: str = ""
    """When not delivered: why it may be so, and what to do."""


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


def unread(capture: Capture) -> str:
    """Say why a capture that is analysed after the run came out empty; "" if it did not."""
    profiler = profiler_of(capture)
    if not profiler.analysed_after_run:
        return ""
    if not capture.cycle_folders:
        return (
            f"{profiler.name} left no capture: its profiler did not start, or swallowed an error;"
            " see harness.log"
        )
    if capture.analysis is not None and capture.analysis.reason:
        return (
            f"the analysis of the captures failed: {capture.analysis.reason};"
            " python -m harness read RUN tries again"
        )
    return ""
