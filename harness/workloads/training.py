"""The step that all training workloads share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.workloads.base import Setup, Step

if TYPE_CHECKING:
    import torch

TRAINING_STAGES = ("forward", "backward", "optimizer")


def training_step(
    setup: Setup, loss_of: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer
) -> Step:
    """Return a step of `TRAINING_STAGES` that returns its loss."""
    import torch

    def step() -> torch.Tensor:
        with setup.stage("forward"):
            loss = loss_of()
        with setup.stage("backward"):
            torch.autograd.backward(loss)
        with setup.stage("optimizer"):
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    return step
