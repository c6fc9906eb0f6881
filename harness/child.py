"""The child process: takes a plan, runs it, leaves everything on disk.

Its parent starts it as ``main(plan.json, descriptor)``; progress goes to the descriptor as JSON
lines, what the workload prints to the standard streams.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path

import msgspec

from harness.records import Plan, Progress, write_json


def main(plan_path: str, descriptor: int) -> None:
    """Execute the plan at `plan_path`; the outcome lies in outcome.json beside it."""
    _die_with_parent()
    faulthandler.enable()
    # The parent forwards Ctrl-C; a default handler may have been replaced by an ignoring shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(plan_path).parent
    plan = msgspec.json.decode(Path(plan_path).read_bytes(), type=Plan)

    from harness.session import execute

    with os.fdopen(descriptor, "wb", buffering=0) as pipe:

        def tell(progress: Progress) -> None:
            pipe.write(msgspec.json.encode(progress) + b"\n")

        outcome = execute(plan, tell)
    write_json(outcome, folder / "outcome.json")


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: a killed run leaves none behind."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
