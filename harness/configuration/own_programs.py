"""Rules for requests that concern the user's own program: one that is run, or one that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator

from harness.errors import Problem
from harness.settings.request import Request
from harness.settings.schema import show
from harness.workloads.loop import Loop
from harness.workloads.program import Program


def programs_are_isolated(request: Request) -> Iterator[Problem]:
    """Refuse to run a program in the process of the command."""
    if isinstance(request.workload, Program) and request.execution.kind == "inline":
        yield Problem(
            setting="execution",
            given="inline",
            reason="a program may change or end the process that it runs in; isolated, it has the"
            " terminal, so that a debugger works there, too",
            fix="execution=isolated",
        )


def programs_seed_themselves(request: Request) -> Iterator[Problem]:
    """Refuse a seed that nothing would read."""
    if isinstance(request.workload, Program | Loop) and request.seed:
        yield Problem(
            setting="seed",
            given=str(request.seed),
            reason="it seeds the workloads of the harness; a program seeds its own generators",
            fix="seed=0; torch.manual_seed() in the program seeds it",
        )


def loops_belong_to_programs(request: Request) -> Iterator[Problem]:
    """Refuse, in a command, the workload of a program that calls the harness."""
    if isinstance(request.workload, Loop):
        yield Problem(
            setting="workload",
            given="loop",
            reason="it is the loop of a program that calls harness.profile(), and a command has"
            " none",
            fix="workload=mlp, or -- train.py, which runs a program unchanged",
        )


def loop_of_this_program(request: Request) -> Iterator[Problem]:
    """Refuse other workloads than the loop of the program that asks."""
    if not isinstance(request.workload, Loop):
        yield Problem(
            setting="workload",
            given=str(type(request.workload).__struct_config__.tag),
            reason="harness.profile() records the loop of the program that calls it",
            fix="leave it out; python -m harness runs other workloads",
        )


def runs_in_this_process(request: Request) -> Iterator[Problem]:
    """Refuse what only a process that the harness starts can have."""
    execution = request.execution
    if execution.kind != "inline":
        yield Problem(
            setting="execution",
            given=execution.kind,
            reason="the program that calls harness.profile() runs already",
            fix=f"leave it out, or python -m harness execution={execution.kind} -- train.py",
        )
    if execution.timeout_s is not None:
        yield Problem(
            setting="execution.timeout_s",
            given=show(execution.timeout_s),
            reason="the harness cannot end the program that calls it",
            fix="execution.timeout_s=null; profiler.max_seconds limits a window over a whole block",
        )
    for name, value in request.device.environment.items():
        if os.environ.get(name) != str(value):
            yield Problem(
                setting=f"device.environment.{name}",
                given=str(value),
                reason="the program runs already, and may have loaded torch without it",
                fix=f"export {name}={value} before the program starts",
            )
