"""One trace of all ranks, for a viewer: a process for each rank, written as a stream.

No analysis reads it. Times are relative to the first event; the numbers of threads and arrows are
made anew, since those of two ranks may be the same.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Raw, Struct

from harness import files, tables
from harness.across.clocks import Clocks, clocks
from harness.capture.foreign import check_run
from harness.capture.run_record import record_of
from harness.errors import Problem, RefusedError
from harness.paths import RunFolder
from harness.readers.gzip_stream import opened
from harness.readers.json_stream import EventFile
from harness.report.section import Section
from harness.report.units import duration
from harness.view.sources import traces_in
from harness.view.survey import TraceFile
from harness.view.times import nanoseconds

_NULL: Final = Raw(b"null")
_EVENTS: Final = "traceEvents"
_CHUNK: Final = 1 << 20
_NS: Final = 1000
_KEPT: Final = ("name", "cat", "ph", "dur", "bp", "s", "args")
_BASE: Final = "baseTimeNanoseconds"


class _Time(Struct, gc=False):
    ph: str = ""
    ts: Raw = _NULL


class _Event(Struct, gc=False):
    ph: Raw = _NULL
    name: Raw = _NULL
    cat: Raw = _NULL
    pid: Any = None
    tid: Any = None
    id: Any = None
    ts: Raw = _NULL
    dur: Raw = _NULL
    bp: Raw = _NULL
    s: Raw = _NULL
    args: Raw = _NULL


class _File(Struct, frozen=True):
    """A trace of a rank: where its times begin, and its first time, in unix nanoseconds."""

    path: Path
    base_ns: int
    first_ns: int | None


def merged_trace(job: RunFolder) -> Section:
    """Write the merged trace of a folder with ranks, and return what is to be said of it.

    Raises:
        RefusedError: There are no traces of ranks in it.
        CaptureError: A trace cannot be read.
        WriteError: The disk is full, or the like.
    """
    ranks = _ranks(job)
    notes: list[str] = []
    traces = {rank: [_timed(path, notes) for path in traces_in(job.rank(rank))] for rank in ranks}
    if not any(traces.values()):
        reason = "there is no trace of a rank in it"
        fix = "name the folder of a job, or of an import of several ranks"
        raise RefusedError(
            [Problem(setting="--merged-trace", given=str(job.path), reason=reason, fix=fix)]
        )
    aligned = clocks(_collectives(job), {rank: _host(job.rank(rank)) for rank in ranks})
    firsts = [
        file.first_ns + aligned.offsets_ns[rank]
        for rank, of_rank in traces.items()
        for file in of_rank
        if file.first_ns is not None
    ]
    start_ns = min(firsts, default=0)
    with (
        files.replacing(job.path, job.merged_trace) as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as packed,
    ):
        packed.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
        for number, (rank, of_rank) in enumerate(traces.items()):
            shift_ns = aligned.offsets_ns[rank] - start_ns
            packed.write(b",\n" * (number > 0) + _named_process(rank))
            _Rank(rank, shift_ns).write(of_rank, packed)
        packed.write(b"\n]}\n")
    without = tuple(rank for rank, of_rank in traces.items() if not of_rank)
    return Section(
        title="Merged trace",
        notes=(f"{job.merged_trace}: for viewing only", *_said(aligned, without), *notes),
    )


def _ranks(job: RunFolder) -> list[int]:
    ranks = sorted(int(path.name) for path in job.ranks.glob("*/") if path.name.isdecimal())
    for rank in ranks:
        check_run(job.rank(rank).path)
    return ranks


def rank_traces(job: RunFolder) -> tuple[list[TraceFile], list[str]]:
    """Return the traces of a folder with ranks, on one clock, and what is to be said of them.

    Raises:
        RefusedError: The folder of a rank leads out of itself.
    """
    ranks = _ranks(job)
    aligned = clocks(_collectives(job), {rank: _host(job.rank(rank)) for rank in ranks})
    traces = {rank: traces_in(job.rank(rank)) for rank in ranks}
    without = tuple(rank for rank, of_rank in traces.items() if not of_rank)
    files_of_ranks = [
        TraceFile(path, rank, aligned.offsets_ns[rank])
        for rank, of_rank in traces.items()
        for path in of_rank
    ]
    return files_of_ranks, list(_said(aligned, without))


def _timed(path: Path, notes: list[str]) -> _File:
    """Look through a trace for its first time."""
    first: int | None = None
    with opened(path, notes) as file:
        source = EventFile(file, path.name, _Time, _CHUNK, key=_EVENTS)
        for chunk in source.chunks():
            times = (nanoseconds(bytes(event.ts)) for event in chunk if event.ph != "M")
            known = [time for time in times if time is not None]
            first = min([*known, *([] if first is None else [first])], default=None)
        base = source.beside().get(_BASE, 0)
    notes += source.notes
    base_ns = base if isinstance(base, int) else 0
    return _File(path, base_ns, None if first is None else first + base_ns)


class _Rank:
    """The events of one rank, as they are written."""

    def __init__(self, rank: int, shift_ns: int) -> None:
        self._rank, self._shift_ns = rank, shift_ns
        self._threads: dict[tuple[str, str], int] = {}

    def write(self, traces: Sequence[_File], out: gzip.GzipFile) -> None:
        """Write the events of the rank's traces, chunk by chunk, each after a comma."""
        for number, trace in enumerate(traces):
            with opened(trace.path, []) as file:
                source = EventFile(file, trace.path.name, _Event, _CHUNK, key=_EVENTS)
                for chunk in source.chunks():
                    lines = [*self._lines(chunk, trace.base_ns + self._shift_ns, number)]
                    out.write(b"".join(lines))

    def _lines(self, events: Sequence[_Event], shift_ns: int, number: int) -> Iterator[bytes]:
        for event in events:
            thread = self._threads.setdefault((str(event.pid), str(event.tid)), len(self._threads))
            place = b'"pid":%d,"tid":%d' % (self._rank, thread)
            if bytes(event.ph) == b'"M"':
                if bytes(event.name) == b'"thread_name"':
                    yield b',\n{"ph":"M","name":"thread_name",%b,"args":%b}' % (place, event.args)
                continue
            time = nanoseconds(bytes(event.ts))
            if time is None:
                continue
            whole, part = divmod(time + shift_ns, _NS)
            yield b',\n{%b,"ts":%d.%03d%b}' % (place, whole, part, self._others(event, number))

    def _others(self, event: _Event, number: int) -> bytes:
        parts = [
            b',"%b":%b' % (name.encode(), raw)
            for name in _KEPT
            if (raw := getattr(event, name)) is not _NULL
        ]
        if event.id is not None:
            # An arrow joins what has the same number: never across ranks, or across traces.
            parts.append(b',"id":%b' % json.dumps(f"{self._rank}.{number}.{event.id}").encode())
        return b"".join(parts)


def _named_process(rank: int) -> bytes:
    named: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": rank, "args": {"name": f"rank {rank}"}},
        {"ph": "M", "name": "process_sort_index", "pid": rank, "args": {"sort_index": rank}},
    ]
    return b",\n".join(map(msgspec.json.encode, named))


def _collectives(job: RunFolder) -> pl.DataFrame:
    path = job.analysis_table("collectives")
    if path.exists():
        return tables.read(path)
    columns = {"collective": pl.Int64(), "type": pl.String(), "rank": pl.Int32()}
    return pl.DataFrame(schema={**columns, "start_ns": pl.Int64(), "duration_ns": pl.Int64()})


def _host(run: RunFolder) -> str:
    record = record_of(run.path)
    return record.host if record else ""


def _said(aligned: Clocks, without: Sequence[int]) -> Iterator[str]:
    """Say how well the clocks agree, and of which ranks there is no trace."""
    if aligned.residual_ns is None:
        yield "no collective of several ranks is known: the clocks of hosts are not aligned"
    else:
        moved = _moved(aligned.offsets_ns)
        yield (
            f"{moved}; the ranks leave a collective within {duration(aligned.residual_ns)} of each"
            f" other (median of {aligned.collectives:,})"
        )
        if aligned.unaligned:
            listed = ", ".join(map(str, aligned.unaligned))
            yield f"ranks {listed} share no collective with the first host: not aligned"
    if without:
        yield f"of ranks {', '.join(map(str, without))} there is no trace"


def _moved(offsets_ns: Mapping[int, int]) -> str:
    moved = {rank: offset for rank, offset in offsets_ns.items() if offset}
    if not moved:
        return "one clock, or clocks that agree: no time was moved"
    listed = ", ".join(f"rank {rank} by {duration(offset)}" for rank, offset in moved.items())
    return f"clocks were aligned by the ends of collectives ({listed})"
