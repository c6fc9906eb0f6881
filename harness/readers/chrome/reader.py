"""The reader of torch's chrome traces, compressed or not: CPU, CUDA and ROCm.

Rows, nesting, self time and stacks mean what they mean in `harness.devices.torch_events`, which
reads the same events before they are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from harness import tables
from harness.readers import nesting
from harness.readers.base import CaptureError, CaptureInfo, ReadContext, ReadResult
from harness.readers.call_tree import NO_ROW, CallTree, Marker, StepMarkers, first, is_mark
from harness.readers.cells import SHAPES, WORDS, Codes, call_stack
from harness.readers.chrome.events import FORWARD, SEQUENCE, Event, Events, Kept
from harness.readers.chrome.nccl import communication
from harness.readers.gzip_stream import opened
from harness.readers.json_stream import EventFile
from harness.readers.kernel_launches import linked
from harness.tables import stacks

EVENTS: Final = "traceEvents"
CHUNK_BYTES: Final = 1 << 19
"""What is decoded of so much fits a processor's cache."""
SETTINGS: Final = ("record_shapes", "with_stack", "profile_memory", "with_modules", "with_flops")
"""What torch writes of its settings into the head of a trace."""
_ENDINGS: Final = (".json", ".json.gz")
_HEAD: Final = 1 << 16
_LATEST: Final = 1 << 61
_DEVICES: Final = {
    0: "cpu",
    1: "cuda",
    6: "hip",
    9: "xla",
    12: "xpu",
    13: "mps",
    14: "meta",
    15: "hpu",
    19: "mtia",
    20: "npu",
}
"""torch's numbers for types of devices (c10/core/DeviceType.h); 20 is PrivateUse1."""


class Chrome:
    """Reads the chrome trace of torch.profiler."""

    name = "chrome trace of torch.profiler"

    def recognises(self, path: Path) -> bool:
        """Tell whether a file is named like one and begins like one."""
        if not path.name.endswith(_ENDINGS) or not path.is_file():
            return False
        try:
            with opened(path, []) as file:
                head = file.read(_HEAD)
        except CaptureError:
            return False
        return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(
            word in head for word in (b'"schemaVersion"', b'"traceEvents"')
        )

    def read(self, path: Path, context: ReadContext) -> ReadResult:
        """Read a capture. Raises `CaptureError` if nothing of it can be read."""
        return read(path, context)


def broken(path: Path) -> str:
    """Say why a file named like a trace may have been one; "" if it is whole and is none."""
    notes: list[str] = []
    try:
        with opened(path, notes) as file:
            head = file.read(_HEAD)
    except CaptureError as error:
        return str(error)
    if notes:
        return notes[0]
    text = head.decode("utf-8-sig", errors="replace").strip("\0 \t\r\n")
    if not text:
        return f"{path.name}: empty"
    if len(head) < _HEAD:
        try:
            json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError) as error:
            return f"{path.name}: cut off or broken: {error}"
    return ""


def read(path: Path, context: ReadContext, chunk_bytes: int = CHUNK_BYTES) -> ReadResult:
    """Read a trace. Raises `CaptureError` if nothing of it can be read."""
    notes: list[str] = []
    events = Events()
    with opened(path, notes) as file:
        source = EventFile(file, path.name, Event, chunk_bytes, key=EVENTS)
        for chunk in source.chunks():
            events.add(chunk)
        head = source.beside()
        notes += source.notes
    kept = events.kept(path.name)
    notes += kept.notes
    return _Trace(kept, head, context).reading(notes)


class _Trace:
    """Everything that a trace says, on the way to tables."""

    def __init__(self, kept: Kept, head: Mapping[str, Any], context: ReadContext) -> None:
        self._kept, self._head, self._context = kept, head, context
        base = head.get("baseTimeNanoseconds", 0)
        offset = base if isinstance(base, int) and abs(base) < _LATEST else 0
        self._frames = {
            name: kept.frames.pop(name).with_columns(pl.col("start_ns") + offset)
            for name in list(kept.frames)
        }
        self._names = kept.codes["name"].texts()
        self._told = _told(head, kernels=not self._frames["kernels"].is_empty())
        rank = self._told.rank
        self._rank = context.rank if rank is None else rank

    def reading(self, notes: list[str]) -> ReadResult:
        found = self._frames.pop("operators")
        marking = pl.Series([is_mark(each) for each in self._names], dtype=pl.Boolean)
        marked = marking.gather(found["name"])
        marks = self._marks(found.filter(marked))
        rows = nesting.order(found["start_ns"], found["duration_ns"])
        found = _apart(found, rows.filter(~marked.gather(rows)))
        shown, table = self._operators(found)
        del found, marked, rows  # together as large as the tables
        ranges = ("thread", "start_ns", "duration_ns")
        nested = pl.concat([self._frames[each].select(ranges) for each in ("frames", "launches")])
        host = CallTree(shown, nested, marks)
        del shown, nested
        kernels = self._kernels(host)
        both = linked(kernels, host, marks, self._context, self._rank, dispatched=False)
        del kernels
        frames = {"memory": self._memory(host), "stacks": table, "steps": _steps(marks, self._rank)}
        del host
        frames |= self._with_arguments(*both)
        moved = communication(frames["kernels"])
        if moved is not None:
            frames["communication"] = moved
        return ReadResult(
            frames=frames, event_counts=self._kept.event_counts, notes=tuple(notes), info=self._told
        )

    def _marks(self, found: pl.DataFrame) -> StepMarkers:
        rows = found.select(
            "start_ns",
            end_ns=pl.col("start_ns") + pl.col("duration_ns"),
            name=self._names.gather(found["name"]),
        )
        return StepMarkers([Marker(*row) for row in rows.rows()], self._context)

    def _operators(self, found: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        codes = self._kept.codes
        calls = [call_stack(each) for each in _values(codes["stack"], _text)]
        of_row: pl.Series = found["stack"]
        if not any(calls) and not self._frames["frames"].is_empty():
            calls, of_row = self._python_stacks(found)
        ids, table = stacks.identified(calls)
        kept = found.select(
            *("thread", "start_ns", "duration_ns", "external", "shapes", "dtypes"),
            stack_id=pl.Series(ids, dtype=pl.Int64).gather(of_row),
            name=self._names.gather(found["name"]),
            flops=found["flops"].set(found["flops"] == 0, None),
            **{
                SEQUENCE: found[SEQUENCE],
                FORWARD: found[FORWARD].set(found[FORWARD] == 0, None),
                **{name: found[code] for name, (code, _) in _OWN_TEXTS.items()},
            },
        )
        used = kept["stack_id"].drop_nulls().unique()
        return kept, table.filter(pl.col("stack_id").is_in(used.implode()))

    def _with_arguments(
        self, kernels: pl.DataFrame, operators: pl.DataFrame
    ) -> dict[str, pl.DataFrame]:
        """Put what operators were called with in place of its numbers; kernels have it, too."""
        codes = self._kept.codes
        shapes = pl.Series(_values(codes["shapes"], _shapes), dtype=SHAPES)
        dtypes = pl.Series(_values(codes["dtypes"], _words), dtype=WORDS)
        operator = kernels["operator"] - self._context.first_operator
        called = operators.select(pl.col("shapes", "dtypes").gather(operator))
        own = [
            _gathered(operators[name], codes[code], parse)
            for name, (code, parse) in _OWN_TEXTS.items()
        ]
        operators = operators.with_columns(
            *own,
            input_shapes=shapes.gather(operators["shapes"]),
            input_dtypes=dtypes.gather(operators["dtypes"]),
        )
        optional = [operators[name] for name in (SEQUENCE, FORWARD, *_OWN_TEXTS)]
        untold = [each.name for each in optional if each.null_count() == len(each)]
        return {
            "operators": operators.drop("external", "shapes", "dtypes", *untold),
            "kernels": kernels.with_columns(
                input_shapes=shapes.gather(called["shapes"]),
                input_dtypes=dtypes.gather(called["dtypes"]),
            ).hstack(self._kept.arguments.rename(_free)),
        }

    def _python_stacks(self, found: pl.DataFrame) -> tuple[list[list[str]], pl.Series]:
        """Return the stacks of Python's functions that hold each operator's start."""
        frames = self._frames["frames"]
        nothing = frames[:0].select("thread", "start_ns", "duration_ns")
        python = CallTree(frames, nothing, StepMarkers([], ReadContext()))
        inner = python.innermost(found["thread"], found["start_ns"])
        rows = inner.drop_nulls().unique().sort().to_list()
        paths, places = python.paths(rows)
        names = self._names.to_list()
        stacks_ = [[names[each] for each in path] for path in paths]
        of_row = inner.fill_null(NO_ROW).replace_strict([NO_ROW, *rows], [0, *places])
        return stacks_, of_row

    def _kernels(self, host: CallTree) -> pl.DataFrame:
        """Add the operator that launched each kernel, and when.

        By the driver's call of the same correlation; where the trace has none, by the start of
        the arrow between them; where it has none either, by the operator's own number.
        """
        kernels = self._frames.pop("kernels")
        calls, arrows = self._frames.pop("launches"), self._frames.pop("flows")
        sent = first(calls["correlation"], kernels["correlation"])
        placed = kernels.with_columns(
            thread=calls["thread"].gather(sent),
            host_ns=calls["start_ns"].gather(sent),
            call=calls["external"].gather(sent),
        )
        if sent.has_nulls() and not arrows.is_empty():
            arrow = first(arrows["correlation"], kernels["correlation"])
            placed = placed.with_columns(
                thread=pl.coalesce("thread", arrows["thread"].gather(arrow)),
                host_ns=pl.coalesce("host_ns", arrows["start_ns"].gather(arrow)),
            )
        del calls, arrows
        # Old traces repeat the driver's number as that of the operator.
        given = pl.coalesce("call", "external")
        number = pl.when(given != pl.col("correlation")).then(given)
        inner = host.numbered(placed.select(number).to_series())
        if inner.has_nulls():
            others = inner.is_null().arg_true()
            times = placed.select(pl.col("thread", "host_ns").gather(others))
            inner = inner.scatter(others, host.innermost(*times))
        names = self._kept.codes["kind"].texts()
        return placed.select(
            "device",
            "stream",
            "start_ns",
            "duration_ns",
            "correlation",
            "host_ns",
            name=self._names.gather(placed["name"]),
            type=names.gather(placed["kind"]),
            inner=inner,
            step_id=pl.lit(None, pl.Int64),
        )

    def _memory(self, host: CallTree) -> pl.DataFrame:
        found = self._frames["memory"].sort("start_ns", maintain_order=True)
        kinds = found["device_type"].replace_strict(
            _DEVICES, default="device", return_dtype=pl.String
        )
        index = pl.when(pl.col("device_id") >= 0).then(
            pl.concat_str(pl.lit(":"), pl.col("device_id").cast(pl.String))
        )
        rows = host.innermost(found["thread"], found["start_ns"])
        columns: dict[str, object] = {
            "rank": pl.repeat(self._rank, found.height, dtype=pl.Int32, eager=True),
            "time_ns": found["start_ns"],
            "device": found.select(pl.concat_str(kinds, index.fill_null(""))).to_series(),
            "kind": found.select(
                pl.when(pl.col("bytes") < 0).then(pl.lit("free")).otherwise(pl.lit("alloc"))
            ).to_series(),
            **{name: found[name] for name in ("bytes", "total_allocated", "total_reserved")},
            "operator": rows + self._context.first_operator,
        }
        return tables.frame("memory", columns)


def _apart(found: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Return some rows of a frame; it loses column by column, so that it is not there twice."""
    return pl.DataFrame([found.drop_in_place(name).gather(rows) for name in found.columns])


def _steps(marks: StepMarkers, rank: int) -> pl.DataFrame:
    rows = marks.ranges()
    columns: dict[str, object] = {
        "step": [step for _, _, step in rows],
        "rank": [rank] * len(rows),
        "phase": ["active"] * len(rows),
        "start_ns": [start for start, _, _ in rows],
        "duration_ns": [end - start for start, end, _ in rows],
    }
    return tables.frame("steps", columns)


def _free(name: str) -> str:
    return f"args.{name}" if name in tables.SCHEMAS["kernels"] else name


def _told(head: Mapping[str, Any], *, kernels: bool) -> CaptureInfo:
    """Return what a trace says of its origin; torch calls ROCm's devices cuda, too."""
    devices = head.get("deviceProperties")
    names = [
        str(each["name"])
        for each in (devices if isinstance(devices, list) else [])
        if isinstance(each, dict) and "name" in each
    ]
    spread = head.get("distributedInfo")
    rank = spread.get("rank") if isinstance(spread, dict) else None
    versions = {
        word.removesuffix("_version"): str(head[word])
        for word in head
        if word.endswith("_version") and isinstance(head[word], str | int)
    }
    return CaptureInfo(
        device="cuda" if names or kernels else "cpu",
        device_name=names[0] if names else "",
        host=str(head.get("host_name", "")),
        rank=rank if isinstance(rank, int) and 0 <= rank < 1 << 31 else None,
        versions=versions,
        settings={f"profiler.{name}": bool(head[name]) for name in SETTINGS if name in head},
    )


def _values(codes: Codes, parse: Callable[[Any], Any]) -> list[Any]:
    """Parse the distinct texts of an argument; null for what is none of its kind."""
    found = []
    for text in codes:
        try:
            value = json.loads(text)
            found.append(None if value is None else parse(value))
        except (ValueError, TypeError, RecursionError):
            found.append(None)
    return found


def _gathered(numbers: pl.Series, codes: Codes, parse: Callable[[Any], Any]) -> pl.Series:
    texts = pl.Series(_values(codes, parse), dtype=pl.String)
    return texts.gather(numbers).alias(numbers.name)


def _shapes(value: list[Any]) -> list[list[int]] | None:
    """A list of tensors has no shape of its own, as in torch's own tables."""
    found = [[_size(size) for size in shape] if _flat(shape) else [] for shape in _list(value)]
    return found or None


def _flat(shape: Any) -> bool:
    return not any(isinstance(each, list) for each in _list(shape))


def _size(value: Any) -> int:
    if not isinstance(value, int) or abs(value) > _LATEST:
        raise TypeError(value)
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _words(value: list[Any]) -> list[str | None] | None:
    return [str(each) or None for each in _list(value)] or None


def _json(value: Any) -> str:
    return json.dumps(value)


def _text(value: Any) -> str | None:
    return str(value) or None


_OWN_TEXTS: Final[Mapping[str, tuple[str, Callable[[Any], str | None]]]] = {
    "Concrete Inputs": ("concrete", _json),
    "Input Strides": ("strides", _json),
    "module": ("module", _text),
}
"""Columns of operators that no other source has: where their numbers are, and what these mean."""
