"""How the ranks of a job hear of each other: by files in its run folder, in any launcher.

A barrier of the program's process group would be in the profile, and hangs if a rank is gone.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from harness import files
from harness.errors import RefusedError, WriteError
from harness.execution.protocol import SCHEMA_VERSION, Outcome, Plan, json_of, read_json
from harness.paths import RunFolder

INTERRUPTED: Final = "interrupted"
"""Why a job is to end that a person or a scheduler has stopped."""
_LATE: Final = (
    "rank {ranks} had not made its steps {limit} s after this one, which then ended"
    " (execution.exit_barrier_timeout_s)"
)
_PERIOD_S: Final = 0.02


def stopping(grace_s: float) -> str:
    """Return what a person is told who has stopped a run: what takes the time now."""
    return (
        f"stopping: what was recorded is written, for at most {grace_s:g} s (execution.grace_s);"
        " once more ends it at once"
    )


class StopOrder(Struct, frozen=True, kw_only=True):
    """Why a job of several ranks is to end; the first one stands."""

    schema_version: int = SCHEMA_VERSION
    rank: int | None = None
    """The rank that has ended the job; null if it was stopped from outside."""
    reason: str


def order_stop(job: RunFolder, order: StopOrder) -> None:
    """Let all ranks of a job end, unless they are told so already."""
    path = job.stop_order
    unfinished = path.with_name(f".{os.getpid()}{files.UNFINISHED}")
    # On a full disk the others are not told, and end by their own limits.
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        unfinished.write_bytes(json_of(order))
        try:
            os.link(unfinished, path)
        finally:
            unfinished.unlink()


def stop_order(job: RunFolder) -> StopOrder | None:
    """Return why a job is to end; None if it goes on."""
    if not job.stop_order.exists():
        return None
    try:
        return read_json(job.stop_order, StopOrder)
    except RefusedError:
        return StopOrder(reason="stopped")


class RankWatch(Struct, frozen=True, kw_only=True):
    """What one rank of a job knows of the others."""

    folder: RunFolder
    """Its own run folder."""
    rank: int
    world_size: int

    def stop_reason(self) -> str:
        """Say why this rank is to end before its time, "" if it goes on."""
        order = stop_order(self.folder.of_job)
        if order is None:
            return ""
        if order.rank is None:
            return order.reason
        return f"stopped, since rank {order.rank} has ended the job: {order.reason}"

    def tell_others(self, outcome: Outcome) -> None:
        """Let the other ranks end, too, if this one has not ended well."""
        if outcome.status == "ok":
            return
        interrupted = outcome.status == "interrupted"
        rank = None if interrupted else self.rank
        reason = INTERRUPTED if interrupted else outcome.reason
        order_stop(self.folder.of_job, StopOrder(rank=rank, reason=reason))

    def wait_at_end(self, limit_s: float | None) -> tuple[str, ...]:
        """Wait until every rank has made its steps, or the job is to end; within the limit.

        Returns:
            What is to be said of ranks that did not come.
        """
        with suppress(OSError, WriteError):
            self.folder.finished.touch()
        until = None if limit_s is None else time.monotonic() + limit_s
        while missing := self._unfinished():
            if stop_order(self.folder.of_job) is not None:
                return ()
            if until is not None and time.monotonic() > until:
                note = _LATE.format(ranks=", ".join(map(str, missing)), limit=f"{limit_s or 0:g}")
                return (note,)
            time.sleep(_PERIOD_S)
        return ()

    def _unfinished(self) -> list[int]:
        job = self.folder.of_job
        others = (rank for rank in range(self.world_size) if rank != self.rank)
        return [rank for rank in others if not job.rank(rank).finished.exists()]


def watch_of(plan: Plan) -> RankWatch | None:
    """Return what a process watches of the others; None if it is alone."""
    recording = plan.recording
    if recording.world_size == 1:
        return None
    folder = RunFolder(Path(plan.folder))
    return RankWatch(folder=folder, rank=recording.rank, world_size=recording.world_size)
