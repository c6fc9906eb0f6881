"""Which rank of a job this process is, as torchrun and other launchers say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from harness.errors import Problem

_RANK: Final = "RANK"
_WORLD_SIZE: Final = "WORLD_SIZE"
_MOST: Final = 1 << 20


class _Variables(NamedTuple):
    rank: str
    world_size: str
    local_rank: str


_SLURM: Final = _Variables("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
_LAUNCHERS: Final = (_Variables(_RANK, _WORLD_SIZE, "LOCAL_RANK"), _SLURM)
"""The variables of each launcher, those of torch.distributed first."""


class Rank(Struct, frozen=True, kw_only=True):
    """One process of a job."""

    rank: int = 0
    """Its global number, from 0."""
    world_size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Its number among those of its machine, from 0."""


ALONE: Final = Rank()
"""The only process of a run."""


def rank_of(environment: Mapping[str, str]) -> Rank:
    """Return the rank that a launcher's variables name; rank 0 of 1 without them.

    They are RANK, WORLD_SIZE and LOCAL_RANK (torch 2.13, docs of `torchrun`); without these,
    SLURM_PROCID, SLURM_STEP_NUM_TASKS and SLURM_LOCALID (man srun: the variables of a step; a batch
    script outside of srun has no SLURM_STEP_NUM_TASKS, and is one process). Of variables that
    `rank_problems` refuses, nothing is taken.
    """
    if any(rank_problems(environment)):
        return ALONE
    names = next((names for names in _LAUNCHERS if names.rank in environment), None)
    if names is None or names.world_size not in environment:
        return ALONE
    local_rank = environment.get(names.local_rank, "0")
    return Rank(
        rank=int(environment[names.rank]),
        world_size=int(environment[names.world_size]),
        local_rank=int(local_rank) if _is_number(local_rank) else 0,
    )


def rank_problems(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with the variables that name the rank."""
    rank, world_size = environment.get(_RANK), environment.get(_WORLD_SIZE)
    if rank is None and world_size is None:
        yield from _slurm_problems(environment)
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


def _slurm_problems(environment: Mapping[str, str]) -> Iterator[Problem]:
    rank, world_size = environment.get(_SLURM.rank), environment.get(_SLURM.world_size)
    if rank is None or world_size is None:
        return
    if not (_is_number(rank) and _is_number(world_size) and int(rank) < int(world_size)):
        why = f"with {_SLURM.world_size}={world_size} it names no rank"
        fix = f"unset {_SLURM.rank}, or set RANK and WORLD_SIZE"
        yield Problem(setting=_SLURM.rank, given=rank, reason=why, fix=fix)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < len(str(_MOST)) + 1
