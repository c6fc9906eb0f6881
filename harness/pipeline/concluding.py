"""A capture is concluded: run.json is true while it is got and checked, and after.

polars and all that reads, checks and analyses are imported where there is a capture: `prepare` does
that while a child process starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from msgspec import Struct

from harness.capture.kept_record import kept
from harness.capture.run_record import Delivery, RunRecord
from harness.report.section import Section

if TYPE_CHECKING:
    import polars as pl

    from harness.capture.capture import Capture


class Finished(Struct, frozen=True, kw_only=True):
    """A run that is over, and the sections that show it."""

    record: RunRecord
    summary: tuple[Section, ...]
    traceback: str
    """The workload's, if it raised."""
    analyses: Mapping[str, pl.DataFrame]
    """The tables of its analyses, by name; empty ones included."""


def concluded(
    record: RunRecord,
    folder: Path,
    captured: Callable[[], Capture],
    more: tuple[Delivery, ...] = (),
) -> Finished:
    """Get the capture, check it, and write the results; run.json is true meanwhile, and after.

    `record` is its first state. `more` is added to the delivery that the checks find.
    """
    with kept(record, folder) as ending:
        capture = captured()

        from harness.pipeline.results import written

        results = written(record, capture, more)
        ending.record = results.record
    return Finished(
        record=results.record,
        summary=results.sections,
        traceback=capture.outcome.traceback,
        analyses=results.analyses,
    )


def prepare() -> None:
    """Import what concludes a capture in a thread of its own, while there is nothing else to do.

    A thread, so that output is passed on meanwhile, and an interrupt cuts no import short.
    """
    # Where the system grants no thread, they are imported when they are needed.
    with suppress(RuntimeError):
        Thread(target=_import_results, name="harness-prepare").start()


def _import_results() -> None:
    import harness.pipeline.results  # noqa: F401 - so that it is there when it is needed
