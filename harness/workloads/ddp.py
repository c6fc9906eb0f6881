"""Data-parallel training of the language model: a replica on each rank, gradients all-reduced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from harness.errors import Problem
from harness.workloads.base import Setup, Step
from harness.workloads.transformer import LanguageModel

if TYPE_CHECKING:
    from torch import nn

Delay = Annotated[float, Meta(ge=0, le=3600, extra={"limit": "that is an hour for each step"})]


class Ddp(LanguageModel, tag="ddp", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Train the language model on several ranks by DistributedDataParallel."""

    slow_rank: Annotated[int, Meta(ge=0, le=1_048_575)] | None = None
    """The rank that is slowed on purpose, to see how a straggler shows; null: none.
    Read by: the workload."""
    slow_seconds: Delay = 0.02
    """How long that rank sleeps at the start of each step's forward, in seconds.
    Read by: the workload."""

    @property
    def is_distributed(self) -> bool:
        """Whether its step needs the process group of a job of several ranks: always."""
        return True

    def rank_problems(self, world_size: int) -> Iterator[Problem]:
        """Yield a slow rank that the job does not have."""
        if self.slow_rank is not None and self.slow_rank >= world_size:
            yield Problem(
                setting="workload.slow_rank",
                given=str(self.slow_rank),
                reason=f"the job has {world_size} rank(s), numbered from 0",
                fix=f"workload.slow_rank={world_size - 1}, or null",
            )

    def build(self, setup: Setup) -> Step:
        """Build a replica of the model, the same on all ranks, and token ids of this rank's own."""
        return self.training(setup, lambda model: self._parallel(model, setup))

    def _parallel(self, model: nn.Module, setup: Setup) -> nn.Module:
        import torch
        from torch.nn.parallel import DistributedDataParallel

        if setup.rank == self.slow_rank:
            model.register_forward_pre_hook(lambda *_: time.sleep(self.slow_seconds))
        # Without a list of devices, it takes that of the parameters, as on the CPU.
        replica = DistributedDataParallel(model)
        # The parameters are those of the seed; the data are the rank's own.
        torch.manual_seed(setup.seed + setup.rank)
        return replica
