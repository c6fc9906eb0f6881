"""Ids of stacks: equal stacks have equal ids in every run. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from harness import tables

_LEFT_OUT: Final = (
    ("autograd/__init__", "_make_grads"),
    ("autograd/__init__", "backward"),
    ("torch/tensor", "backward"),
    ("_internal/common_utils", "prof_callable"),
    ("_internal/common_utils", "prof_func_call"),
    ("_internal/common_utils", "prof_meth_call"),
)


def kept(frame: str) -> bool:
    """Tell whether torch shows a frame, by the rule of its `_filter_stack_entry`."""
    return not any(file in frame and function in frame for file, function in _LEFT_OUT)


def stack_id(frames: Sequence[str]) -> int:
    """Make an id from the frames, so that a stack has one id in all cycles, ranks and runs."""
    digest = hashlib.blake2b("\n".join(frames).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def identified(stacks: Iterable[Sequence[str]]) -> tuple[list[int | None], pl.DataFrame]:
    """Return the id of each stack, null for one without frames, and the table `stacks`."""
    ids: list[int | None] = []
    frames_by_id: dict[int, list[str]] = {}
    for stack in stacks:
        frames = [frame for frame in stack if kept(frame)]
        ids.append(stack_id(frames) if frames else None)
        if frames:
            frames_by_id[stack_id(frames)] = frames
    columns = {"stack_id": list(frames_by_id), "frames": list(frames_by_id.values())}
    return ids, tables.frame("stacks", columns)
