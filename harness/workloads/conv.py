"""A small residual network's training step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from harness.errors import Problem
from harness.workloads.base import BuiltWorkload, Count, Repeats, Setup, Step
from harness.workloads.training import TRAINING_STAGES, training_step

if TYPE_CHECKING:
    import torch
    from torch import nn


class Conv(BuiltWorkload, tag="conv", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train a small residual network to classify one fixed batch of random images."""

    batch: Count = 8
    """Images per step. Read by: the workload."""
    image_size: Count = 32
    """Height and width of an image, in pixels. Read by: the workload."""
    channels: Annotated[tuple[Count, ...], Meta(min_length=1)] = (16, 32, 64)
    """Channels of each group of blocks; every group after the first halves the image. Read by:
    the workload."""
    blocks: Repeats = 1
    """Residual blocks per group. Read by: the workload."""
    classes: Count = 10
    """Classes; elements of an output vector. Read by: the workload."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The parts of a training step."""
        return TRAINING_STAGES

    def problems(self) -> Iterator[Problem]:
        """Yield a single image that shrinks to one pixel, which has no variance."""
        halvings = len(self.channels) - 1
        if self.batch == 1 and self.image_size <= 2**halvings:
            yield Problem(
                setting="workload.image_size",
                given=str(self.image_size),
                reason=f"one image is one pixel after {halvings} halvings, and batch "
                "normalisation needs two values per channel",
                fix=f"workload.image_size={2**halvings + 1}",
            )

    def build(self, setup: Setup) -> Step:
        """Build the network, the optimizer and the batch."""
        import torch
        from torch.nn import functional

        model = residual_network(self, setup)
        run = torch.compile(model) if self.compile else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        shape = (self.batch, 3, self.image_size, self.image_size)
        images = torch.randn(shape, device=setup.device, dtype=setup.dtype)
        labels = torch.randint(self.classes, (self.batch,), device=setup.device)
        return training_step(
            setup, lambda: functional.cross_entropy(run(images), labels), optimizer
        )


def _convolution(
    setup: Setup, entering: int, leaving: int, size: int, stride: int
) -> nn.Sequential:
    """Return a convolution that keeps the image's size, but for its stride, and its norm."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(
            entering,
            leaving,
            size,
            stride=stride,
            padding=size // 2,
            bias=False,
            device=setup.device,
            dtype=setup.dtype,
        ),
        nn.BatchNorm2d(leaving, device=setup.device, dtype=setup.dtype),
    )


def residual_network(settings: Conv, setup: Setup) -> nn.Module:
    """Return a model from images to logits."""
    import torch
    from torch import nn

    convolution = partial(_convolution, setup)

    class Block(nn.Module):
        def __init__(self, entering: int, leaving: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                convolution(entering, leaving, 3, stride),
                nn.ReLU(),
                convolution(leaving, leaving, 3, 1),
            )
            # The number of channels changes only where the image is halved.
            same = stride == 1
            self.shortcut = nn.Identity() if same else convolution(entering, leaving, 1, stride)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.body(images) + self.shortcut(images))

    width = settings.channels[0]
    layers: list[nn.Module] = [convolution(3, width, 3, 1), nn.ReLU()]
    for group, leaving in enumerate(settings.channels):
        for block in range(settings.blocks):
            layers.append(Block(width, leaving, 2 if group and not block else 1))
            width = leaving
    classify = nn.Linear(width, settings.classes, device=setup.device, dtype=setup.dtype)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classify)
