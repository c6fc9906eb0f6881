"""Building a workload in a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.workloads.base import BuiltWorkload, Setup, Step


class Stages:
    """Records the stages that a step enters."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.open = 0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.entered.append(name)
        self.open += 1
        yield
        self.open -= 1


def setup(workload: BuiltWorkload, stage: Stages | None = None) -> Setup:
    return Setup(
        device=torch.device("cpu"),
        dtype=getattr(torch, workload.dtype),
        seed=7,
        stage=stage or Stages(),
    )


def build(workload: BuiltWorkload, stage: Stages | None = None, *, seed: int = 7) -> Step:
    torch.manual_seed(seed)
    return workload.build(setup(workload, stage))
