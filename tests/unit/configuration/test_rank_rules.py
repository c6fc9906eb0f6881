"""Settings that do not go with the number of ranks, or with who has started them, are refused."""

from __future__ import annotations

import pytest

from tests.support.composing import composed, problems_of

TORCHRUN = ("execution=torchrun", "execution.nproc=2")


@pytest.mark.parametrize(
    ("overrides", "setting", "fix"),
    [
        (("execution.nproc=2",), "execution.nproc", "execution=torchrun execution.nproc=2"),
        (("workload=ddp",), "workload", "execution=torchrun execution.nproc=2"),
        ((*TORCHRUN, "profiler.ranks=[0,2]"), "profiler.ranks", "profiler.ranks=null for all"),
        ((*TORCHRUN, "profiler.ranks=[0,0]"), "profiler.ranks", "profiler.ranks=null for all"),
        (
            (*TORCHRUN, "workload=ddp", "workload.slow_rank=2"),
            "workload.slow_rank",
            "workload.slow_rank=1, or null",
        ),
        (
            ("execution=torchrun", "execution.nproc=3", "device=npu", "rehearsal.emulate=true"),
            "rehearsal.devices",
            "rehearsal.devices=3",
        ),
    ],
)
def test_what_does_not_fit_the_ranks_is_refused(
    overrides: tuple[str, ...], setting: str, fix: str
) -> None:
    (problem,) = problems_of(*overrides)
    assert (problem.setting, problem.fix) == (setting, fix)


@pytest.mark.parametrize("kind", ["torchrun", "inline"])
def test_a_rank_of_a_launcher_starts_no_ranks_and_is_isolated(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    (problem,) = problems_of(f"execution={kind}")
    assert problem.setting == "execution"
    assert problem.fix.startswith("execution=isolated")


def test_ddp_below_srun_needs_to_know_where_rank_0_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("MASTER_ADDR", "node1")
    (problem,) = problems_of("workload=ddp")
    assert problem.setting == "MASTER_PORT"
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert problems_of("workload=ddp") == []


def test_some_of_the_ranks_may_record() -> None:
    assert composed(*TORCHRUN, "profiler.ranks=[1]").profiler.ranks == (1,)
