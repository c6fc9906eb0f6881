"""A multilayer perceptron's training step."""

from __future__ import annotations

from itertools import pairwise

from harness.workloads.base import BuiltWorkload, Count, Repeats, Setup, Step
from harness.workloads.training import TRAINING_STAGES, training_step


class Mlp(BuiltWorkload, tag="mlp", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a multilayer perceptron to classify one fixed batch of random vectors."""

    batch: Count = 128
    """Vectors per step. Read by: the workload."""
    in_features: Count = 256
    """Elements of an input vector. Read by: the workload."""
    width: Count = 512
    """Elements between two layers. Read by: the workload."""
    out_features: Count = 64
    """Classes; elements of an output vector. Read by: the workload."""
    layers: Repeats = 4
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
