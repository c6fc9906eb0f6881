"""Say what a JSON file is that holds no trace of torch.profiler, and what to do with it.

The marks were taken from what each program writes: viztracer's ``viztracer_metadata`` and its kind
FEE, XLA's process names, nsys' tables, Chakra's ``schema``, rocprof's ``BeginNs``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness.readers.base import CaptureError
from harness.readers.chrome.events import EventTables
from harness.readers.chrome.metadata import Unknown
from harness.readers.gzip_stream import opened

_SHOWN: Final = 5
_LONG: Final = 60
_HEAD: Final = 1 << 16


class Origin(NamedTuple):
    """A kind of file that is known, and is not read."""

    mark: re.Pattern[bytes]
    """In its first bytes."""
    what: str
    fix: str


def _origin(mark: bytes, what: str, fix: str) -> Origin:
    return Origin(re.compile(mark, re.DOTALL), what, fix)


_TRACE: Final = "read the trace that torch.profiler wrote (export_chrome_trace)"
_ORIGINS: Final = (
    _origin(
        rb'"schema"\s*:\s*"[^"]*".{0,4000}"nodes"\s*:\s*\[|\[pytorch\|profiler\|execution_',
        "an execution trace (Chakra), which has no times of devices",
        "read the Kineto trace that was recorded beside it",
    ),
    _origin(
        rb'"pid"\s*:\s*"(?:CPU|CUDA) functions"',
        "the list of events of torch.autograd.profiler (torch before 1.8.1, or without Kineto)",
        "record with torch.profiler, and read its export_chrome_trace",
    ),
    _origin(rb'viztracer|"cat"\s*:\s*"(?:FEE|fee)"', "a trace of viztracer", _TRACE),
    _origin(
        rb'"/(?:host|device|job):|"(?:highres-ticks|run_environment|tensorflow)"',
        "a trace of JAX or TensorFlow (XLA's profiler)",
        "open it in XProf or Perfetto; harness reads traces of torch.profiler",
    ),
    _origin(
        rb'"BeginNs"|"rocprofiler-sdk-tool"|"(?:\d+ )?(?:CPU )?HIP API"|"Start_Timestamp"|rocpd_',
        "output of rocprof",
        "record with torch.profiler on ROCm, and read its export_chrome_trace",
    ),
    _origin(
        rb'Nsight Systems|CUPTI_ACTIVITY_KIND|"cat"\s*:\s*"(?:nvtx|cuda_api)"'
        rb'|"Total Time \(ns\)"|"(?:CudaEvent|NvtxEvent)"',
        "an export of NVIDIA Nsight Systems (nsys)",
        _TRACE,
    ),
    _origin(
        rb'"(?:Ascend Hardware|CANN)"',
        "a timeline of CANN (trace_view.json or msprof)",
        "read the folder *_ascend_pt or PROF_* that it is from",
    ),
    _origin(rb'"cat"\s*:\s*"dynamo_timed"', "a log of torch.compile's phases", _TRACE),
    _origin(
        rb'"(?:device_traces|segments)"\s*:\s*\[|^\x80[\x02-\x05].{0,400}(?:segments|device_traces)',
        "a memory snapshot of torch",
        "open it at pytorch.org/memory_viz",
    ),
    _origin(
        rb'"cat"\s*:\s*"(?:devtools|disabled-by-default|blink|v8|cc,|toplevel)|"cpu-disabled-by-default',
        "a trace of the browser Chrome",
        _TRACE,
    ),
    _origin(
        rb'^\s*\[\s*\[\s*\d+\s*,\s*(?:-1|[0-3]|"\w+")\s*,|^\s*\[\s*\[\s*\d+\s*(?:,\s*\d+\s*){3,}',
        "a memory timeline of torch (export_memory_timeline)",
        "read the trace that was recorded with it",
    ),
)


def _head(path: Path) -> tuple[bytes, list[str]]:
    """Return the first bytes of a file, unpacked, and what is damaged in them.

    Raises:
        CaptureError: It cannot be opened.
    """
    damage: list[str] = []
    with opened(path, damage) as file:
        return file.read(_HEAD), damage


def broken(path: Path) -> str:
    """Say why a file that is named like a trace is none; "" if it is another, unknown file."""
    try:
        head, damage = _head(path)
    except CaptureError as error:
        return str(error)
    if damage:
        return damage[0]
    text = head.decode("utf-8-sig", errors="replace").strip("\0 \t\r\n")
    if not text:
        return f"{path.name}: empty"
    if len(head) < _HEAD:
        try:
            json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError) as error:
            return f"{path.name}: cut off or broken: {error}"
    return ""


def not_read(path: Path) -> str:
    """Say what a file is that is known and not read, and what to do; "" if that is not known."""
    try:
        what = origin(_head(path)[0])
    except CaptureError:
        return ""
    return what and f"{path.name}: not read: {what}"


_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_WITHOUT: Final = (b"[]", b"{}", b"null")


def unrecognised(path: Path) -> str:
    """Say by its first bytes what a file is that no reader recognises."""
    try:
        head, damage = _head(path)
    except CaptureError as error:
        return str(error)
    text = head.removeprefix(b"\xef\xbb\xbf").strip(b"\0 \t\r\n")
    if damage:
        return "it is cut off or damaged: its compressed text ends too soon"
    if not text:
        return "the file is empty"
    if head.startswith(_UTF16):
        return "its text is UTF-16: save it as UTF-8"
    if head.startswith(b"SQLite format 3"):
        return "a database without any table that torch_npu or msprof writes"
    if path.suffix == ".gz" and not path.name.endswith(".json.gz"):
        return "compressed files other than .json.gz are not read: unpack it (gunzip)"
    if b"".join(text.split()) in _WITHOUT:
        return "there is no event in it: the profiler recorded nothing, or it is no trace"
    return "no reader recognises it"


_EMPTY: Final = frozenset({"labels", "instants", "Trace", "trace", "overhead"})
"""What Kineto writes though nothing was recorded."""


def origin(text: bytes) -> str:
    """Say what a file is by its first bytes, and what to do; "" if that is not known."""
    for kind in _ORIGINS:
        if kind.mark.search(text):
            return f"it is {kind.what}: {kind.fix}"
    return ""


def understood(
    event_tables: EventTables, head: Mapping[str, Any], name: str, notes: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return what is lost, and what is only to be said, of a trace's events.

    Args:
        event_tables: The events.
        head: What stands beside them.
        name: The file's name.
        notes: What could not be read.

    Raises:
        CaptureError: Nothing in the file is torch's or a device's.
    """
    frames, unknown = event_tables.frames, event_tables.metadata.unknown
    if all(frames[table].is_empty() for table in ("operators", "kernels", "memory")):
        if all(frames[table].is_empty() for table in ("frames", "launches")):
            raise CaptureError("; ".join([f"{name}: {_nothing_read(event_tables, head)}", *notes]))
        return [f"{name}: it has neither operators nor kernels"], []
    lost, remarks = [], []
    kinds = {kind: ranges for kind, ranges in unknown.items() if kind or ranges.on_device}
    others = {kind: ranges for kind, ranges in unknown.items() if kind not in kinds}
    if kinds:
        lost.append(f"{name}: events that are not understood, and not read: {_listed(kinds)}")
    if others:
        remarks.append(f"{name}: events without a kind are not read: {_listed(others)}")
    return lost, remarks


def _nothing_read(event_tables: EventTables, head: Mapping[str, Any]) -> str:
    metadata = event_tables.metadata
    words = {
        "head": list(head),
        "events": [{"cat": kind} for kind in event_tables.event_counts],
        "names": [name for names in metadata.labels.values() for name in names],
    }
    if what := origin(json.dumps(words).encode()):
        return f"no event of torch.profiler is in it: {what}"
    others = [kind for kind in event_tables.event_counts if kind not in _EMPTY]
    if others and not metadata.unknown:
        return (
            f"no event of torch.profiler is in it, only of the kinds {', '.join(others[:_SHOWN])}:"
            " the program that wrote it is not known"
        )
    if not metadata.unknown:
        return (
            "no event of an operator or a device is in it: the profiler recorded nothing, or"
            " exported before its first step ended"
        )
    return (
        f"no event of torch.profiler is in it: {_listed(metadata.unknown)}; the program that wrote"
        " it is not known"
    )


def _listed(unknown: Mapping[str, Unknown]) -> str:
    parts = [
        f"{kind.count:,} of the kind {name or '(none)'} (the first: {kind.name[:_LONG]})"
        for name, kind in list(unknown.items())[:_SHOWN]
    ]
    more = f", and {len(unknown) - _SHOWN} more kinds" if len(unknown) > _SHOWN else ""
    return ", ".join(parts) + more
