"""The flame graph: which lines of code the operators' self time belongs to."""

from __future__ import annotations

from typing import Final

import polars as pl

from harness.analyses.code import own_function
from harness.report.html.figure import Flame, Frame, Kind
from harness.report.units import duration
from harness.tables.selection import within_steps

STACKS: Final = 20_000
"""Pairs of a stack and an operator that are drawn, those with the most time."""
SMALLEST: Final = 2_000
"""A frame with less than one part in so many of all time is joined with its like."""


class _Node:
    __slots__ = ("children", "group", "total")

    def __init__(self, group: Kind) -> None:
        self.group: Kind = group
        self.total = 0
        self.children: dict[str, _Node] = {}


def flame(operators: pl.DataFrame, stacks: pl.DataFrame) -> Flame | None:
    """Return the operators' self time by the stack that called them; None without stacks.

    The innermost frame is the operator itself. A frame's time is that of all operators below it,
    within the recorded steps; operators without a stack are left out, and counted in the note.
    """
    rows = within_steps(operators.select("step", "name", "stack_id", "self_ns"))
    weights = (
        rows.drop_nulls(["stack_id", "self_ns"])
        .group_by("stack_id", "name")
        .agg(pl.col("self_ns").sum())
        .filter(pl.col("self_ns") > 0)
        .sort("self_ns", "stack_id", "name", descending=[True, False, False])
    )
    if weights.is_empty():
        return None
    frames_of = dict(stacks.select("stack_id", "frames").iter_rows())
    root = _Node("other")
    for stack, name, weight in weights.head(STACKS).iter_rows():
        _add(root, frames_of.get(stack) or [], name, weight)
    return Flame(
        title="Self time of operators by the code that called them",
        note=_note(rows, weights, root.total),
        frames=tuple(_frames(root)),
    )


def _note(rows: pl.DataFrame, weights: pl.DataFrame, drawn: int) -> str:
    note = "the outermost function is above; choose a frame to make it as wide as the figure"
    without = int(rows["self_ns"].sum()) - int(weights["self_ns"].sum())
    if without > 0:
        note += f"; operators without a stack, {duration(without)}, are left out"
    rest = int(weights["self_ns"].sum()) - drawn
    return f"{note}; {duration(rest)} in further stacks are not drawn" if rest else note


def _add(root: _Node, frames: list[str], operator: str, weight: int) -> None:
    root.total += weight
    node = root
    for frame in reversed(frames):
        node = node.children.setdefault(frame, _Node(_group(frame)))
        node.total += weight
    leaf = node.children.setdefault(operator, _Node("operator"))
    leaf.total += weight


def _group(frame: str) -> Kind:
    if frame.startswith("nn.Module: "):
        return "module"
    if own_function([frame]):
        return "own"
    return "library"


def _frames(root: _Node) -> list[Frame]:
    """Return the tree as a list, parents first, the widest child first."""
    frames = [Frame("all operators with a stack", -1, root.total, "other")]
    smallest = root.total / SMALLEST
    waiting = [(root, 0)]
    while waiting:
        node, place = waiting.pop()
        children = sorted(node.children.items(), key=lambda item: (-item[1].total, item[0]))
        small = [child for _, child in children if child.total < smallest]
        for name, child in children:
            if child.total >= smallest:
                waiting.append((child, len(frames)))
                frames.append(Frame(name, place, child.total, child.group))
        if small:
            total = sum(child.total for child in small)
            frames.append(Frame(f"({len(small):,} smaller frames)", place, total, "other"))
    return frames
