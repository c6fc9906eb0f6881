"""Tell the processes of a file apart: a thread and a correlation belong to one process.

torch writes a trace for each process. Tools merge them: sglang puts the rank before each process id
(``[TP00-DP01] 4711``, python/sglang/srt/utils/profile_merger.py), others name the processes after
their rank. Each process is read by itself, so that no kernel goes to another process's operator.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

from harness.readers.base import CaptureError
from harness.readers.call_tree import TORCH_MARK
from harness.readers.chrome.events import EventTables
from harness.readers.chrome.metadata import Metadata

_HOST: Final = ("operators", "frames", "launches", "memory")
_BRACKETS: Final = re.compile(r"^\[([^\]]{1,80})\]")
_RANK: Final = re.compile(r"\brank[-_ :#=]{0,2}(\d{1,6})(?!\d)", re.IGNORECASE)
_ONE_NUMBER: Final = re.compile(r"[A-Za-z_ ]*?(\d{1,6})")
_SHOWN: Final = 5


class Process(NamedTuple):
    """The events of one process, and its rank; None if the file has but one process."""

    rank: int | None
    tables: EventTables


def apart(event_tables: EventTables, file: str) -> tuple[list[Process], list[str]]:
    """Return the processes of a file, by rank, and remarks.

    Raises:
        CaptureError: A kernel's process is not known, or several ranks have one process id.
    """
    frames = event_tables.frames
    numbers = pl.concat([frames[name]["process"].unique() for name in _HOST]).unique().sort()
    _refuse_merged(event_tables, file)
    if len(numbers) <= 1:
        return [Process(None, event_tables)], []
    ids = list(event_tables.codes["process"])
    labels = _labels(ids, event_tables.metadata)
    hosts = numbers.to_list()
    labelled = all(number in labels for number in hosts)
    owners = _owners(frames, hosts, labels if labelled else {}, ids, file)
    ranks = _ranks({number: labels.get(number, "") for number in hosts}, ids)
    processes = [
        Process(ranks[number], _part(event_tables, number, owners))
        for number in sorted(hosts, key=ranks.__getitem__)
    ]
    return processes, _remarks(file, hosts, ranks, labels if labelled else {}, ids)


def _refuse_merged(event_tables: EventTables, file: str) -> None:
    """Refuse ranks that were merged under one process id, as containers give to all of them.

    Within a process a step has one range, and an operator's number or a correlation is given once.
    """
    operators, codes = event_tables.frames["operators"], event_tables.codes
    steps = [number for name, number in codes["name"].items() if name.startswith(TORCH_MARK)]
    marks = operators.filter(pl.col("name").is_in(steps)).sort("process", "name", "start_ns")
    before = pl.col("start_ns").shift(1), pl.col("duration_ns").shift(1)
    twice = marks.filter(
        (pl.col("process") == pl.col("process").shift(1))
        & (pl.col("name") == pl.col("name").shift(1))
        & (pl.col("start_ns") < before[0] + before[1])
        & (pl.col("start_ns") > before[0])
    )
    if twice.is_empty():
        return
    launches = event_tables.frames["launches"]
    numbered = (
        operators.select("process", number="external"),
        launches.select("process", number="correlation"),
    )
    if any(frame.filter(pl.col("number") > 0).is_duplicated().any() for frame in numbered):
        name = list(codes["name"])[twice["name"][0]]
        id_ = list(codes["process"])[twice["process"][0]]
        raise CaptureError(
            f"{file}: process {id_} has {name} twice at the same time, and the same numbers of"
            " operators or calls twice: the traces of several ranks were merged under one process"
            " id, and nothing tells them apart. Read the trace of each rank by itself"
        )


def _labels(ids: Sequence[str], metadata: Metadata) -> dict[int, str]:
    """Return the rank's label of each process that has one."""
    labels = {}
    for number, id_ in enumerate(ids):
        for text in (id_, *metadata.labels.get(id_, ())):
            match = _BRACKETS.match(text) or _RANK.search(text)
            if match:
                labels[number] = match[1]
                break
    return labels


def _ranks(labels: Mapping[int, str], ids: Sequence[str]) -> dict[int, int]:
    """Return the rank of each process: the number in its label, or its place among the others."""
    numbers = {
        number: int(match[1])
        for number, label in labels.items()
        if (match := _ONE_NUMBER.fullmatch(label))
    }
    if len(numbers) == len(labels) == len(set(numbers.values())):
        return numbers
    order = sorted(labels, key=lambda number: (_natural(labels[number]), _natural(ids[number])))
    return {number: rank for rank, number in enumerate(order)}


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts the numbers in texts by their value."""
    parts = re.split(r"(\d{1,18})", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _owners(
    frames: Mapping[str, pl.DataFrame],
    hosts: Sequence[int],
    labels: Mapping[int, str],
    ids: Sequence[str],
    file: str,
) -> pl.Series:
    """Return the process that launched each kernel: that of its label, else by its correlation."""
    kernels = frames["kernels"]
    by_label: dict[str, list[int]] = {}
    for number in hosts:
        by_label.setdefault(labels.get(number, ""), []).append(number)
    sole = {
        number: by_label[label][0]
        for number, label in labels.items()
        if len(by_label.get(label, ())) == 1
    }
    owners = kernels["process"].replace_strict(sole, default=None, return_dtype=pl.Int32)
    unowned = owners.is_null().arg_true()
    if unowned.is_empty():
        return owners
    launched = kernels.select(pl.col("correlation", "process").gather(unowned))
    matches = _by_correlation(launched, frames, hosts)
    unclear = matches.filter(pl.col("owner").is_null())
    if not unclear.is_empty():
        raise CaptureError(_unclear(file, hosts, ids, unclear))
    return owners.scatter(unowned, matches["owner"])


def _by_correlation(
    kernels: pl.DataFrame, frames: Mapping[str, pl.DataFrame], hosts: Sequence[int]
) -> pl.DataFrame:
    """Add the one process that has a call of each kernel's correlation, or that has its own id."""
    calls = pl.concat(
        [frames[name].select("correlation", "process") for name in ("launches", "flows")]
    )
    calls = calls.drop_nulls().filter(pl.col("process").is_in(list(hosts))).unique()
    callers = calls.group_by("correlation").agg(
        caller=pl.col("process").first(), callers=pl.col("process").len()
    )
    with_callers = kernels.join(callers, on="correlation", how="left", maintain_order="left")
    own = calls.with_columns(own=pl.col("process"))
    joined = with_callers.join(
        own, on=["correlation", "process"], how="left", maintain_order="left"
    )
    return joined.with_columns(
        owner=pl.when(pl.col("callers") == 1).then("caller").otherwise("own")
    )


def _unclear(file: str, hosts: Sequence[int], ids: Sequence[str], unclear: pl.DataFrame) -> str:
    names = ", ".join(sorted((ids[number] for number in hosts), key=_natural)[:_SHOWN])
    shared = unclear.filter(pl.col("callers") > 1)
    why = (
        f"correlation {shared['correlation'][0]} is of a call in several of them"
        if shared.height
        else f"no process has a call of correlation {unclear['correlation'][0]}"
    )
    return (
        f"{file}: it has the events of {len(hosts)} processes ({names}), and nothing in it says"
        f" which of them launched {unclear.height:,} kernels: {why}, and the processes of the"
        " kernels name no rank. Read the trace of each rank by itself"
    )


def _part(event_tables: EventTables, number: int, owners: pl.Series) -> EventTables:
    of_kernels = owners == number
    frames = {
        name: frame.filter(of_kernels if name == "kernels" else pl.col("process") == number)
        for name, frame in event_tables.frames.items()
    }
    arguments = event_tables.arguments
    if arguments.width:
        arguments = arguments.filter(of_kernels)
    return event_tables._replace(frames=frames, arguments=arguments)


def _remarks(
    file: str,
    hosts: Iterable[int],
    ranks: Mapping[int, int],
    labels: Mapping[int, str],
    ids: Sequence[str],
) -> list[str]:
    order = sorted(hosts, key=ranks.__getitem__)
    listed = ", ".join(f"{ranks[number]}: {ids[number]}" for number in order[:_SHOWN])
    more = f" and {len(order) - _SHOWN} more" if len(order) > _SHOWN else ""
    how = "by their labels" if labels else "in the order of their ids, since none names its rank"
    return [f"{file}: {len(order)} processes, each read as a rank, {how} ({listed}{more})"]
