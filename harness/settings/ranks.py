"""Which rank of a job this process is, as torchrun and other launchers say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from harness.errors import Problem

_RANK: Final = "RANK"
_WORLD_SIZE: Final = "WORLD_SIZE"
_MOST: Final = 1 << 20


class Rank(Struct, frozen=True, kw_only=True):
    """One process of a job."""

    rank: int = 0
    """Its global number, from 0."""
    world_size: int = 1
    """How many there are."""


def rank_of(environment: Mapping[str, str]) -> Rank:
    """Return the rank that the variables of torch.distributed name; rank 0 of 1 without them.

    They are RANK and WORLD_SIZE (torch 2.13, docs of `torchrun`). Of variables that `rank_problems`
    refuses, nothing is taken.
    """
    if any(rank_problems(environment)) or _RANK not in environment:
        return Rank()
    return Rank(rank=int(environment[_RANK]), world_size=int(environment[_WORLD_SIZE]))


def rank_problems(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the variables that name the rank."""
    rank, world_size = environment.get(_RANK), environment.get(_WORLD_SIZE)
    if rank is None and world_size is None:
        return
    if rank is None or world_size is None:
        there, gone = (_RANK, _WORLD_SIZE) if world_size is None else (_WORLD_SIZE, _RANK)
        why = f"{there} is set without {gone}, so it is not known which rank this is"
        fix = f"set {gone}, too, as torchrun does; or unset {there}"
        yield Problem(setting=there, given=environment[there], reason=why, fix=fix)
    elif not _is_number(world_size) or not 1 <= int(world_size) <= _MOST:
        why, fix = "it must be the number of ranks", "WORLD_SIZE=1, or unset both"
        yield Problem(setting=_WORLD_SIZE, given=world_size, reason=why, fix=fix)
    elif not _is_number(rank) or int(rank) >= int(world_size):
        why = f"it must be a number from 0 to {int(world_size) - 1}, as WORLD_SIZE={world_size}"
        yield Problem(setting=_RANK, given=rank, reason=why, fix="RANK=0, or unset both")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(_MOST)) + 1
