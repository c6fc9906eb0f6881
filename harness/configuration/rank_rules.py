"""Which settings do not go with the number of ranks, or with the launcher that has started them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from harness.devices import TARGETS
from harness.errors import Problem
from harness.settings.ranks import rank_of, rank_problems
from harness.settings.request import Request
from harness.settings.schema import show

_MASTER: Final = ("MASTER_ADDR", "MASTER_PORT")
"""Where torch.distributed looks for rank 0 (torch 2.13, docs of `init_process_group`)."""


def world_size_of(request: Request) -> int:
    """Return how many ranks the job has that a request describes."""
    execution = request.execution
    return execution.nproc if execution.kind == "torchrun" else rank_of(os.environ).world_size


def problems_of_ranks(request: Request) -> Iterator[Problem]:
    """Yield all of them."""
    yield from rank_problems(os.environ)
    yield from _launcher(request)
    yield from _who_records(request)
    yield from _distributed(request)
    yield from request.workload.rank_problems(world_size_of(request))
    yield from _emulated_devices(request)


def _launcher(request: Request) -> Iterator[Problem]:
    execution, outside = request.execution, rank_of(os.environ).world_size
    if execution.kind != "torchrun" and execution.nproc != 1:
        yield Problem(
            setting="execution.nproc",
            given=str(execution.nproc),
            reason=f"execution={execution.kind} runs one process",
            fix=f"execution=torchrun execution.nproc={execution.nproc}",
        )
    if execution.kind == "torchrun" and outside > 1:
        yield _started_already("torchrun", "each of them would start ranks of its own")


def ranks_are_isolated(request: Request) -> Iterator[Problem]:
    """Refuse to run a rank in the process of the command."""
    if request.execution.kind == "inline" and rank_of(os.environ).world_size > 1:
        yield _started_already("inline", "a rank that hangs must be stopped from outside")


def _started_already(kind: str, why: str) -> Problem:
    outside = rank_of(os.environ).world_size
    return Problem(
        setting="execution",
        given=kind,
        reason=f"a launcher has started {outside} ranks, of which this is one; {why}",
        fix="execution=isolated, or start one process: python -m harness execution=torchrun"
        f" execution.nproc={outside}",
    )


def _who_records(request: Request) -> Iterator[Problem]:
    ranks, world_size = request.profiler.ranks, world_size_of(request)
    if ranks is None:
        return
    unknown = [rank for rank in ranks if rank >= world_size]
    if unknown:
        why = f"there is no rank {unknown[0]}: the job has {world_size} rank(s), numbered from 0"
    elif len(set(ranks)) < len(ranks):
        why = "a rank is listed twice"
    else:
        return
    yield Problem(
        setting="profiler.ranks", given=show(ranks), reason=why, fix="profiler.ranks=null for all"
    )


def _distributed(request: Request) -> Iterator[Problem]:
    workload = request.workload
    if not workload.is_distributed or request.execution.kind == "torchrun":
        return
    name = str(type(workload).__struct_config__.tag)
    missing = [variable for variable in _MASTER if variable not in os.environ]
    if world_size_of(request) == 1:
        yield Problem(
            setting="workload",
            given=name,
            reason="it runs on several ranks, and this is one process",
            fix="execution=torchrun execution.nproc=2",
        )
    elif missing:
        yield Problem(
            setting=missing[0],
            given="",
            reason=f"workload={name} finds the other ranks by {' and '.join(_MASTER)}, and"
            f" {' and '.join(missing)} is not set",
            fix="export MASTER_ADDR=HOST_OF_RANK_0 MASTER_PORT=29500 before srun",
        )


def _emulated_devices(request: Request) -> Iterator[Problem]:
    rehearsal, nproc = request.rehearsal, request.execution.nproc
    needed = request.device.index + nproc
    has_devices = TARGETS[request.device.name].has_kernels
    if rehearsal.emulate and has_devices and nproc > 1 and needed > rehearsal.devices:
        yield Problem(
            setting="rehearsal.devices",
            given=str(rehearsal.devices),
            reason=f"each of the {nproc} ranks takes an NPU of its own, from"
            f" device.index={request.device.index} on",
            fix=f"rehearsal.devices={needed}",
        )
