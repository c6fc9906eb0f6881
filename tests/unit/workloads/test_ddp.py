"""Data-parallel training is that of one process which sees the batches of all ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from msgspec.structs import replace
from torch.nn import functional

from harness.workloads.ddp import Ddp
from harness.workloads.transformer import language_model
from tests.conftest import LIMIT_S, ROOT, environment
from tests.support.building import setup

DDP = Ddp(batch=3, sequence=5, layers=2, heads=2, width=8, vocabulary=20)
RANKS, STEPS, SEED = 2, 3, 7
SETUP = replace(setup(DDP), dtype=torch.float64, seed=SEED)
TRAINED = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from msgspec.structs import replace
from tests.unit.workloads.test_ddp import DDP, SEED, SETUP, STEPS

def keep(optimizer, _args, _kwargs):
    (group,) = optimizer.param_groups
    seen.append([(item.grad.clone(), item.detach().clone()) for item in group["params"]])

seen = []
register_optimizer_step_post_hook(keep)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
torch.manual_seed(SEED)
step = DDP.build(replace(SETUP, rank=rank, world_size={RANKS}))
for _ in range(STEPS):
    step()
torch.save(seen, f"{{rank}}.pt")
torch.distributed.destroy_process_group()
"""


def trained_by_one_process() -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """The gradients and parameters after each step, with all sequences in one batch."""
    torch.manual_seed(SEED)
    model = language_model(DDP, SETUP)
    batches = []
    for rank in range(RANKS):
        torch.manual_seed(SEED + rank)
        batches.append(torch.randint(DDP.vocabulary, (DDP.batch, DDP.sequence + 1)))
    ids = torch.cat(batches)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    seen = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits = model(ids[:, :-1]).flatten(0, 1)
        torch.autograd.backward(functional.cross_entropy(logits, ids[:, 1:].flatten()))
        optimizer.step()
        seen.append(
            [
                (item.grad.clone(), item.detach().clone())
                for item in model.parameters()
                if item.grad is not None
            ]
        )
    return seen


def test_gradients_and_parameters_are_those_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINED, encoding="utf-8")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(RANKS))
    subprocess.run(
        [*launcher, "train.py"],
        cwd=tmp_path,
        env=environment() | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        timeout=LIMIT_S,
        check=True,
    )
    one = trained_by_one_process()
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS)]
    for step in range(STEPS):
        assert len(ranks[0][step]) == len(ranks[1][step]) == len(one[step]) > 0
        for first, second, whole in zip(ranks[0][step], ranks[1][step], one[step], strict=True):
            assert whole[0].any()
            for left, right, expected in zip(first, second, whole, strict=True):
                assert torch.equal(left, right)
                # Sums in another order differ in the last digits; AdamW makes more of them.
                torch.testing.assert_close(left, expected, rtol=1e-6, atol=1e-9)
