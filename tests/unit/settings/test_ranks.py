"""The rank of a process comes from its variables; half of them, or nonsense, is refused."""

from __future__ import annotations

import pytest

from harness.settings.ranks import Rank, rank_of, rank_problems


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, Rank()),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Rank(rank=0, world_size=1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, Rank(rank=3, world_size=8)),
        (
            {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"},
            Rank(rank=3, world_size=8, local_rank=1),
        ),
        (
            {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"},
            Rank(rank=5, world_size=8, local_rank=1),
        ),
        # torchrun as a task of srun: its ranks count.
        (
            {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "RANK": "8", "WORLD_SIZE": "16"},
            Rank(rank=8, world_size=16),
        ),
        # A batch script, before its srun.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Rank()),
    ],
)
def test_the_rank_is_that_of_the_job(variables: dict[str, str], rank: Rank) -> None:
    assert rank_of(variables) == rank
    assert list(rank_problems(variables)) == []


@pytest.mark.parametrize(
    ("variables", "setting", "fix"),
    [
        ({"RANK": "1"}, "RANK", "set WORLD_SIZE, too, as torchrun does; or unset RANK"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE", "set RANK, too, as torchrun does; or unset WORLD_SIZE"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK", "RANK=0, or unset both"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK", "RANK=0, or unset both"),
        ({"RANK": "²", "WORLD_SIZE": "2"}, "RANK", "RANK=0, or unset both"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE", "WORLD_SIZE=1, or unset both"),
        ({"RANK": "0", "WORLD_SIZE": "9" * 5000}, "WORLD_SIZE", "WORLD_SIZE=1, or unset both"),
        ({"RANK": "", "WORLD_SIZE": "2"}, "RANK", "RANK=0, or unset both"),
        (
            {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "2"},
            "SLURM_PROCID",
            "unset SLURM_PROCID, or set RANK and WORLD_SIZE",
        ),
    ],
)
def test_what_names_no_rank_is_refused(variables: dict[str, str], setting: str, fix: str) -> None:
    (problem,) = rank_problems(variables)
    assert (problem.setting, problem.fix) == (setting, fix)
    assert rank_of(variables) == Rank()
