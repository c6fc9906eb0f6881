"""docs/faults.md: what each fault leads to, as it was seen."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.faults.scene import Fault, Left

_HEAD = """# Faults

What happens when something goes wrong, as `make faults` saw it: {count} faults of {kinds} kinds,
each made through the real command on a small CPU workload. In every case: no traceback of harness's
own, no process left, no unfinished file, no file outside of the folder touched, and `run.json`
agrees with the exit code. Two things are no contradiction: a command that is stopped after its run
has ended exits with 130, and `run.json` says how the run ended; a refusal (2) leaves an earlier
record as it was.

- **exit code**: of the command; after a SIGKILL, of the `read` that takes in what is left.
- **record**: `status` in `run.json`; – where no run had begun.
- **kept**: what was captured before the fault, and is in the run folder.

| fault | in the phase | exit code | record | kept |
| --- | --- | --- | --- | --- |
"""
_TAIL = """
## What is not made here

A disk that returns I/O errors, a file system that disappears (NFS), a machine that loses power, and
memory that runs out under the kernel's killer: each needs a machine of its own. A SIGKILL of the
child stands for the last one.
"""


def _together(phases: Sequence[str]) -> str:
    """Join phases; those that begin with the same word of a command say it once."""
    groups: dict[str, list[str]] = {}
    for phase in phases:
        command, _, detail = phase.rpartition(", ")
        groups.setdefault(command, []).append(detail)
    texts = (
        f"{command}: " * bool(command) + ", ".join(details) for command, details in groups.items()
    )
    return "; ".join(texts)


def page(results: Sequence[tuple[Fault, Left]]) -> str:
    """Return the page; phases of a kind that end alike share a row."""
    kinds = {fault.kind for fault, _ in results}
    rows = []
    for kind, group in itertools.groupby(results, key=lambda result: result[0].kind):
        alike: dict[tuple[str, str, str], list[str]] = {}
        for fault, left in group:
            status = left.record.status if left.record else "–"
            alike.setdefault((str(left.code), status, left.kept), []).append(fault.phase)
        rows += [
            f"| {kind} | {_together(phases)} | {code} | {status} | {kept} |"
            for (code, status, kept), phases in alike.items()
        ]
    head = _HEAD.format(count=len(results), kinds=len(kinds))
    return head + "\n".join(rows) + "\n" + _TAIL
