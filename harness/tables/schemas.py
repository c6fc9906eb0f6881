"""The tables of a run: their columns, and how they are written. Imports polars only."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl
from polars.exceptions import SchemaError

from harness import files

_SHAPES: Final[pl.DataType] = pl.List(pl.List(pl.Int64))
_TEXTS: Final[pl.DataType] = pl.List(pl.String)
_PAGE: Final = 4096  # bytes that a file system gives at once, or more
_BATCH: Final = 25_000  # rows of a lazy table that are computed and written at a time


def _schema(**columns: pl.DataType | type[pl.DataType]) -> pl.Schema:
    return pl.Schema(columns)


# Times in `_ns` are integer nanoseconds; points in time count from the unix epoch. Sizes are
# bytes. What a source does not record is null. Further columns are kept as they are.
SCHEMAS: Final[Mapping[str, pl.Schema]] = {
    "operators": _schema(
        id=pl.Int64,  # the row's number, unique over all cycles of a run
        step=pl.Int64,  # the workload's counter; null outside of all steps
        stage=pl.String,  # the innermost named cycle of the step that holds the start
        rank=pl.Int32,
        thread=pl.Int64,  # the profiler's own number of the host thread
        name=pl.String,
        input_shapes=_SHAPES,  # per argument; [] for a scalar and for what is no tensor
        input_dtypes=_TEXTS,  # per argument, in the profiler's words; null for none
        start_ns=pl.Int64,
        duration_ns=pl.Int64,
        self_ns=pl.Int64,  # duration less that of the direct children; null if asynchronous
        device_ns=pl.Int64,  # sum over the kernels that it launched itself; null without any
        flops=pl.Int64,  # operations, an estimate from the shapes
        stack_id=pl.Int64,  # a row of `stacks`
    ),
    "kernels": _schema(
        step=pl.Int64,  # of the launch on the host, as are stages
        stage=pl.String,
        rank=pl.Int32,
        device=pl.Int32,  # index of the device
        stream=pl.Int64,
        name=pl.String,
        type=pl.String,  # the source's word: kernel, gpu_memcpy, MatMulV2, …
        core=pl.String,  # the unit of the device that ran it
        start_ns=pl.Int64,  # on the device
        duration_ns=pl.Int64,
        wait_ns=pl.Int64,  # between being ready and starting
        input_shapes=_SHAPES,
        input_dtypes=_TEXTS,
        input_formats=_TEXTS,  # memory layouts
        output_shapes=_SHAPES,
        output_dtypes=_TEXTS,
        output_formats=_TEXTS,
        operator=pl.Int64,  # `id` of the operator that launched it
        correlation=pl.Int64,  # the driver's number, shared by a launch and what it launched
    ),
    "steps": _schema(
        step=pl.Int64,
        rank=pl.Int32,
        phase=pl.String,  # warmup (untimed), baseline, unrecorded (timed, no profiler), wait,
        #                      profiler_warmup or active; beside: made meanwhile, not counted
        start_ns=pl.Int64,  # on the host
        duration_ns=pl.Int64,
        compute_ns=pl.Int64,  # device time under kernels
        communication_ns=pl.Int64,  # device time under communication
        overlapped_ns=pl.Int64,  # device time under both
        idle_ns=pl.Int64,  # device time under neither
    ),
    "memory": _schema(
        rank=pl.Int32,
        time_ns=pl.Int64,
        device=pl.String,  # cpu, cuda:0, npu:0
        kind=pl.String,  # alloc or free
        bytes=pl.Int64,  # positive for an allocation, negative for a release
        total_allocated=pl.Int64,  # bytes of the device in use afterwards
        total_reserved=pl.Int64,  # bytes that its allocator holds afterwards
        operator=pl.Int64,  # `id` of the innermost operator open on that thread
    ),
    "communication": _schema(
        step=pl.Int64,
        rank=pl.Int32,
        name=pl.String,
        type=pl.String,  # allreduce, send, …
        group=pl.String,
        start_ns=pl.Int64,
        duration_ns=pl.Int64,
        transit_ns=pl.Int64,  # moving data
        wait_ns=pl.Int64,  # waiting for the other ranks
        bytes=pl.Int64,
    ),
    "stacks": _schema(
        stack_id=pl.Int64,  # made from the frames: equal stacks, equal ids, in every run
        frames=_TEXTS,  # innermost first
    ),
    "lines": _schema(
        rank=pl.Int32,
        start_ns=pl.Int64,  # of the time in which it was the innermost line of the user's code
        duration_ns=pl.Int64,
        file=pl.String,  # relative to where Python finds modules
        line=pl.Int64,
        function=pl.String,
        text=pl.String,  # what is written there
    ),
}
"""Every table of a run with the columns that all readers share, in order."""
ADDED: Final = frozenset({"lines"})
"""Tables that a run folder of an earlier version does not have: they are empty there."""


def empty(name: str) -> pl.DataFrame:
    """Return the table `name` without rows. Raises KeyError for an unknown table."""
    return SCHEMAS[name].to_frame()


def frame(name: str, columns: Mapping[str, object]) -> pl.DataFrame:
    """Build the table `name` from columns (lists or series) of one length.

    The table's columns are cast to their type; missing ones are null. Other columns follow them.
    Raises KeyError for an unknown table, polars' errors for values of a wrong type.
    """
    schema = SCHEMAS[name]
    dtypes = {column: schema[column] for column in columns if column in schema}
    table = pl.DataFrame(dict(columns), schema_overrides=dtypes)
    return pl.concat([empty(name), table], how="diagonal")


def write(table: pl.DataFrame | pl.LazyFrame, path: Path, root: Path) -> None:
    """Write `table` to `path`, whose stem is the table's name, as parquet, all or nothing.

    A lazy table is computed batch by batch, and never whole in memory. A reader never sees a
    half-written file, even if this process is killed. Folders below `root` are made.
    Raises KeyError for an unknown table, SchemaError for a missing column or a wrong type,
    WriteError if the disk is full, or the like.
    """
    schema = table.lazy().collect_schema()
    for column, dtype in SCHEMAS[path.stem].items():
        if schema.get(column) != dtype:
            actual = schema.get(column, "no such column")
            raise SchemaError(f"{path.stem}.{column} must be {dtype}, found {actual}")
    _replace(table, path, root)


def _replace(table: pl.DataFrame | pl.LazyFrame, path: Path, root: Path) -> None:
    with files.replacing(root, path) as file:
        into(table, file)


def into(table: pl.DataFrame | pl.LazyFrame, file: BinaryIO) -> None:
    """Write a table of any columns to an open file as parquet. Raises OSError if that fails."""
    # Polars takes a path for a pattern; a file is a file.
    with _system_errors(file):
        if isinstance(table, pl.LazyFrame):
            with pl.Config(streaming_chunk_size=_BATCH):
                table.sink_parquet(file, compression="zstd", row_group_size=_BATCH)
        else:
            table.write_parquet(file, compression="zstd")


def write_together(contents: Mapping[Path, pl.DataFrame | bytes], root: Path) -> None:
    """Write tables of any columns, and other files; none takes its place before all are written.

    The first is closed, and takes its place, last. Raises WriteError if the disk is full.
    """
    with ExitStack() as together:
        for path, content in contents.items():
            file = together.enter_context(files.replacing(root, path))
            with files.failing_at(path):
                if isinstance(content, bytes):
                    file.write(content)
                    file.flush()
                else:
                    into(content, file)


@contextmanager
def _system_errors(file: BinaryIO) -> Iterator[None]:
    """Let what the system answered to polars be an OSError: polars has it in a text at most."""
    try:
        yield
    except pl.exceptions.ComputeError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            # "Invalid thrift: transport error" may be a full disk: then, no more can be written.
            os.lseek(file.fileno(), 0, os.SEEK_END)
            files.write_all(file.fileno(), bytes(_PAGE))
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def keep(tables: Mapping[str, pl.DataFrame], folder: Path, root: Path) -> None:
    """Replace the folder's content by tables of any columns, as ``folder/<name>.parquet``.

    What was there goes when all of them are written.
    """
    for name, table in tables.items():
        _replace(table, folder / f"{name}.parquet", root)
    if folder.is_dir() and not folder.is_symlink():
        with files.failing_at(folder):
            _remove_others(folder, {f"{name}.parquet" for name in tables})


def _remove_others(folder: Path, kept: AbstractSet[str]) -> None:
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not kept:
        folder.rmdir()


def read(path: Path) -> pl.DataFrame:
    """Return a table that `write` wrote. Raises OSError, or polars' errors, if that cannot be."""
    with files.regular(path, follow=False) as file:
        return pl.read_parquet(file)


def scan(path: Path) -> pl.LazyFrame:
    """Return a table that `write` wrote, of which only what is needed is read."""
    # A path is no pattern: a folder may be called [proj].
    return pl.scan_parquet(path, glob=False)


def join_cycles(cycles_dir: Path, out_dir: Path, root: Path) -> None:
    """Join ``cycles_dir/<number>/<table>.parquet`` into ``out_dir/<table>.parquet``.

    Rows are in the order of the cycles' numbers. Every table of `SCHEMAS` is written, an absent
    one without rows. A column that only some cycles have is null in the others. A stack that
    occurs in several cycles is written once. Folders below `root` are made, as in `write`.
    """
    folders = (path for path in cycles_dir.glob("*/") if path.name.isdecimal())
    cycles = sorted(folders, key=lambda path: int(path.name))
    for name in SCHEMAS:
        files = [path for cycle in cycles if (path := cycle / f"{name}.parquet").exists()]
        frames = [empty(name).lazy(), *map(scan, files)]
        # Relaxed: a further column may have whole numbers in one cycle and only nulls in another.
        table = pl.concat(frames, how="diagonal_relaxed")
        if name == "stacks":
            table = table.unique("stack_id", keep="first", maintain_order=True)
        write(table, out_dir / f"{name}.parquet", root)
