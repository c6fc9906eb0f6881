"""The interface of a workload: its settings, and how to build its step. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from harness.errors import Problem

if TYPE_CHECKING:
    import torch

DType = Literal["float32", "bfloat16", "float16", "float64"]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1, extra={"limit": "no memory holds a larger tensor"})]
Repeats = Annotated[
    int, Meta(ge=1, le=1_000_000, extra={"limit": "one step would take longer than a day"})
]
"""How often a step does something."""
Steps = Annotated[
    int, Meta(ge=0, le=1_000_000, extra={"limit": "each step leaves a line in steps.jsonl"})
]
SomeSteps = Annotated[
    int, Meta(ge=1, le=1_000_000, extra={"limit": "each step leaves a line in steps.jsonl"})
]
"""Steps, one at least."""
Step = Callable[[], object]
"""One step of a workload; its return value is dropped."""


class Setup(Struct, frozen=True, kw_only=True):
    """What the harness passes to a workload's `build`, inside the child process."""

    device: torch.device
    """Where parameters and inputs belong."""
    dtype: torch.dtype
    """The element type of parameters and inputs."""
    seed: int
    """For the workload's own generators; ``torch.manual_seed`` was already called with it."""
    stage: Callable[[str], AbstractContextManager[None]]
    """``with stage("forward"): …`` names a part of the step, in the trace and in the tables."""
    rank: int = 0
    """Of the process, in a job of several."""
    world_size: int = 1
    """How many processes that job has."""


class Workload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name"):
    """The settings that all workloads share."""

    steps: SomeSteps | None = None
    """Steps after warm-up and baseline; null: as many as the schedule needs. Read by: plan."""
    warmup_steps: Steps = 2
    """Steps before anything is timed or profiled. Read by: run."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The names that the step gives to its parts, in order, as far as they are known."""
        return ()

    @property
    def is_distributed(self) -> bool:
        """Whether its step needs the process group of a job of several ranks."""
        return False

    @property
    def is_one_step(self) -> bool:
        """Whether all of it is recorded as one step, so that there is nothing to repeat."""
        return False

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of settings that are valid alone, but not together."""
        yield from ()

    def rank_problems(self, world_size: int) -> Iterator[Problem]:  # noqa: ARG002 - for subclasses
        """Yield the problems of settings that do not fit the number of ranks."""
        yield from ()


class BuiltWorkload(Workload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workload whose step the harness builds and calls. A subclass adds its sizes and `build`."""

    dtype: DType = "float32"
    """Element type of parameters and inputs. Read by: the workload."""
    compile: bool = False
    """Run the model through ``torch.compile``. Read by: the workload."""

    def build(self, setup: Setup) -> Step:
        """Allocate the model and its inputs on ``setup.device``; return the step.

        Called once per run, in the child process. A synchronisation after the step must wait for
        all work that the step queued on the device.
        """
        raise NotImplementedError
