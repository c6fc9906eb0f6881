"""The table of all faults."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.faults import disks, folders, outputs, places, results, stopping, workloads
from tests.faults.scene import Fault, Left, Scene

_OF_A_FAMILY = 4
_PHASE = 4
"""The place of the phase that is made; of most kinds, it is the recording."""
FILES = (stopping, disks, outputs, workloads, folders, places, results)


def all_faults() -> list[Fault]:
    """Return every fault, in the order of the files."""
    return list(itertools.chain.from_iterable(file.faults() for file in FILES))


def quick() -> Iterator[Fault]:
    """Return the selection that every test run makes, within some three minutes.

    Of each family of kinds, such as links or exceptions, four kinds; of each kind, one phase.
    """
    for _, kinds in itertools.groupby(_one_of_each_kind(), key=_family):
        family = list(kinds)
        yield from family[:: -(-len(family) // _OF_A_FAMILY)]


def _one_of_each_kind() -> Iterator[Fault]:
    for _, group in itertools.groupby(all_faults(), key=lambda fault: fault.kind):
        phases = list(group)
        yield phases[min(len(phases) - 1, _PHASE)]


def _family(fault: Fault) -> str:
    family, colon, _ = fault.kind.partition(":")
    return family if colon else fault.kind


def made(fault: Fault) -> tuple[Left, list[str]]:
    """Make a fault in a scene of its own; return what was left, and what is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="harness-fault-") as folder:
        left = fault.act(Scene(Path(folder)))
    return left, fault.judged(left)
