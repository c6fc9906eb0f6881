"""A multilayer perceptron's training step, and the step that all training workloads share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.workloads.base import Count, Setup, Step, Workload

if TYPE_CHECKING:
    import torch


class Mlp(Workload, tag="mlp", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a multilayer perceptron to classify one fixed batch of random vectors."""

    batch: Count = 128
    """Vectors per step. Read by: the workload."""
    in_features: Count = 256
    """Elements of an input vector. Read by: the workload."""
    width: Count = 512
    """Elements between two layers. Read by: the workload."""
    out_features: Count = 64
    """Classes; elements of an output vector. Read by: the workload."""
    layers: Count = 4
    """Linear layers, the last one included. Read by: the workload."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The parts of a training step."""
        return TRAINING_STAGES

    def build(self, setup: Setup) -> Step:
        """Build the layers, the optimizer and the batch."""
        import torch
        from torch import nn
        from torch.nn import functional

        widths = [self.in_features, *[self.width] * (self.layers - 1), self.out_features]
        modules: list[nn.Module] = []
        for entering, leaving in pairwise(widths):
            modules += [
                nn.Linear(entering, leaving, device=setup.device, dtype=setup.dtype),
                nn.ReLU(),
            ]
        model = nn.Sequential(*modules[:-1])
        run = torch.compile(model) if self.compile else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        inputs = torch.randn(self.batch, self.in_features, device=setup.device, dtype=setup.dtype)
        labels = torch.randint(self.out_features, (self.batch,), device=setup.device)
        return training_step(
            setup, lambda: functional.cross_entropy(run(inputs), labels), optimizer
        )


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
