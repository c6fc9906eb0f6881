"""The table of all faults."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults import disks, folders, outputs, places, stopping, workloads
from tests.faults.scene import Fault, Left, Scene

FILES = (stopping, disks, outputs, workloads, folders, places)


def all_faults() -> list[Fault]:
    """Return every fault, in the order of the files."""
    return list(itertools.chain.from_iterable(file.faults() for file in FILES))


def quick() -> Iterator[Fault]:
    """Return the selection that every test run makes: of each kind, one phase.

    The phase is the first in which the kind's harm is done by the workload or the file system, the
    fourth of its phases otherwise; it is the same in every run.
    """
    for _, group in itertools.groupby(all_faults(), key=lambda fault: fault.kind):
        phases = list(group)
        yield phases[min(len(phases) - 1, 4)]


def made(fault: Fault) -> tuple[Left, list[str]]:
    """Make a fault in a scene of its own; return what was left, and what is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="harness-fault-") as folder:
        left = fault.act(Scene(Path(folder)))
    return left, fault.judged(left)
