"""The second look at traces: the events are written, with what a viewer needs changed in them.

Times are relative to the first event; lanes and arrows have numbers of their own; all else is kept
as it is written. Nothing reads the trace but a viewer.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from harness import files
from harness.view.places import Places
from harness.view.plan import Laid, laid
from harness.view.survey import (
    TIMELESS,
    Event,
    Survey,
    TraceFile,
    arguments,
    events_of,
    survey,
)
from harness.view.times import microseconds

_LEVEL: Final = 1
_OWN_IDS: Final = frozenset({b"C", b"M"})
"""Events whose id is no number of an arrow, but a part of a name."""


class Normalised(Struct, frozen=True, kw_only=True):
    """What was written, and what was not."""

    path: Path
    written: int
    """Events of the traces."""
    total: int
    """Events in the traces."""
    start_ns: int
    """The time that is 0 in it: unix ns, where the traces have them."""
    window_ns: tuple[int, int] | None
    """The start and the end of the chosen steps, from there."""
    lanes: int
    """Lanes that were made."""
    moved: int
    """Complete events in them."""
    broken: int
    far: int
    cut: int
    pointlike: int
    notes: tuple[str, ...]
    """What could not be read."""


def normalise(
    traces: Sequence[TraceFile],
    root: Path,
    path: Path,
    *,
    steps: tuple[int, int] | None = None,
    label: str = "",
) -> Normalised:
    """Write one trace of all these, compressed, at `path` below the folder `root`.

    Args:
        traces: The traces.
        root: The folder of results.
        path: The new trace.
        steps: The first and the last step to keep; null for everything.
        label: What the name of each process begins with.

    Raises:
        CaptureError: A trace cannot be read.
        RefusedError: The traces do not have one of these steps.
        WriteError: The disk is full, or the like.
    """
    seen = survey(traces, label)
    chosen = laid(seen, steps)
    with (
        files.replacing(root, path) as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as out,
    ):
        out.write(_head(chosen, traces))
        separator = b""
        for lines in _lines(traces, seen, chosen):
            if lines:
                out.write(separator + b",\n".join(lines))
                separator = b",\n"
        out.write(b"\n]}\n")
    window = chosen.window_ns
    if window is not None:
        window = (window[0] - chosen.start_ns, window[1] - chosen.start_ns)
    return Normalised(
        path=path,
        written=int(chosen.kept.sum()),
        total=len(seen.kinds),
        start_ns=chosen.start_ns,
        window_ns=window,
        lanes=sum(len(thread.numbers) - 1 for thread in seen.places.threads),
        moved=chosen.moved,
        broken=chosen.broken,
        far=chosen.far,
        cut=chosen.cut,
        pointlike=seen.pointlike,
        notes=seen.notes,
    )


def _head(chosen: Laid, traces: Sequence[TraceFile]) -> bytes:
    """Return the beginning of the file; `start_ns` gives the times of the traces again."""
    made = {
        "start_ns": chosen.start_ns,
        "traces": [[trace.path.name, trace.rank, trace.offset_ns] for trace in traces],
    }
    text = json.dumps({"displayTimeUnit": "ns", "harness": made}).encode(errors="replace")
    return text.removesuffix(b"}") + b',"traceEvents":[\n'


def _lines(traces: Sequence[TraceFile], seen: Survey, chosen: Laid) -> Iterator[list[bytes]]:
    yield list(seen.places.metadata())
    row = 0
    ids: dict[tuple[int, bytes], int] = {}
    keys: dict[str, bytes] = {}
    for number, trace in enumerate(traces):
        for chunk in events_of(trace, []):
            rows = range(row, row + len(chunk))
            lines = _Lines(seen, chosen, number, ids, keys)
            yield [
                lines.line(event, place)
                for event, place, kept in zip(
                    chunk, rows, chosen.kept[row : row + len(chunk)].tolist(), strict=True
                )
                if kept
            ]
            row += len(chunk)


class _Lines:
    """The events of one trace, as they are written."""

    def __init__(
        self,
        seen: Survey,
        chosen: Laid,
        trace: int,
        ids: dict[tuple[int, bytes], int],
        keys: dict[str, bytes],
    ) -> None:
        self._seen, self._chosen, self._trace = seen, chosen, trace
        self._ids, self._keys = ids, keys

    def line(self, event: Event, row: int) -> bytes:
        seen, chosen = self._seen, self._chosen
        thread = seen.places.threads[seen.threads[row]]
        process = seen.places.processes[thread.process]
        changed = {
            "pid": b"%d" % process.number,
            "tid": b"%d" % thread.numbers[chosen.lanes[row]],
        }
        if seen.kinds[row] == TIMELESS:
            # Nothing shows it, and it would be the first time of all.
            changed["ts"] = b"0"
            changed |= _renamed(event, seen.places, thread.process)
        else:
            changed["ts"] = microseconds(int(seen.starts[row]) - chosen.start_ns)
        if "dur" in event or bytes(event["ph"]) == b'"X"':
            changed["dur"] = microseconds(int(seen.durations[row]))
        if bytes(event["ph"]).strip(b'"') not in _OWN_IDS:
            changed |= {key: self._id(event, key) for key in ("id", "bind_id") if key in event}
        parts = {key: bytes(raw) for key, raw in event.items()} | changed
        text = b"{%b}" % b",".join(b"%b:%b" % (self._key(key), raw) for key, raw in parts.items())
        # A decoder that keeps members as they are does not look for bytes that are no UTF-8.
        return text if text.isascii() else text.decode(errors="replace").encode()

    def _id(self, event: Event, key: str) -> bytes:
        """Return a small number for that of an arrow: no float, and never of two traces."""
        own = (self._trace, bytes(event[key]).strip(b'"'))
        return b"%d" % self._ids.setdefault(own, len(self._ids) + 1)

    def _key(self, key: str) -> bytes:
        if key not in self._keys:
            self._keys[key] = msgspec.json.encode(key)
        return self._keys[key]


def _renamed(event: Event, places: Places, process: int) -> dict[str, bytes]:
    """Return the name of a process with its rank, if this event names one."""
    args = arguments(event)
    if bytes(event.get("name", b"")) != b'"process_name"' or not isinstance(args.get("name"), str):
        return {}
    name = places.process_name(places.processes[process], args["name"])
    return {"args": msgspec.json.encode(args | {"name": name})}
