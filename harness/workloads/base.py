"""What a workload is: its settings, and how to build its step. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from harness.errors import Problem

if TYPE_CHECKING:
    import torch

DType = Literal["float32", "bfloat16", "float16", "float64"]
Count = Annotated[int, Meta(ge=1)]
Step = Callable[[], object]
"""One step of a workload; what it returns is dropped."""


class Setup(Struct, frozen=True, kw_only=True):
    """What the harness hands to a workload that is being built, inside the child process."""

    device: torch.device
    """Where parameters and inputs belong."""
    dtype: torch.dtype
    """The element type of parameters and inputs."""
    seed: int
    """Already given to ``torch.manual_seed``; for generators of the workload's own."""
    stage: Callable[[str], AbstractContextManager[None]]
    """``with stage("forward"): …`` names a part of the step, in the trace and in the tables."""


class Workload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name"):
    """The settings that all workloads share. A subclass adds its sizes and `build`."""

    steps: Count | None = None
    """Steps after warm-up and baseline; null: as many as the schedule needs. Read by: plan."""
    warmup_steps: Annotated[int, Meta(ge=0)] = 2
    """Steps before anything is timed or profiled. Read by: run."""
    dtype: DType = "float32"
    """Element type of parameters and inputs. Read by: the workload."""
    compile: bool = False
    """Run the model through ``torch.compile``. Read by: the workload."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The names that the step gives to its parts, in order."""
        raise NotImplementedError

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between settings that are each right by themselves."""
        yield from ()

    def build(self, setup: Setup) -> Step:
        """Allocate the model and its inputs on ``setup.device``; return the step.

        Called once per run, in the child process. The step must leave no work queued on the
        device that a synchronisation at its end would not wait for.
        """
        raise NotImplementedError
