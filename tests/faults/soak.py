"""Many runs in one folder, and a long sweep: nothing may grow, and nothing be left.

    python -m tests.faults.soak [--runs N]

N runs in one outputs folder, one after the other, then a sweep of N jobs in one process. Prints the
memory and the open descriptors of the sweep's process in its first and its last tenth.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.faults.scene import Left, Scene, run, tiny

_PERIOD_S = 0.25
_GROWTH = 1.05
"""The last tenth may hold so much more memory than the second tenth."""


class Sample(NamedTuple):
    """What a process holds."""

    kib: int
    """Resident memory."""
    descriptors: int


def main() -> int:
    """Return 1 if something has grown, or was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    count = parser.parse_args().runs
    wrong = [*_runs(count), *_sweep(count)]
    for line in wrong:
        print(f"WRONG  {line}")
    return 1 if wrong else 0


def _runs(count: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="harness-soak-") as name:
        scene = Scene(Path(name))
        seconds = []
        for _ in range(count):
            left = run(scene, *tiny())
            seconds.append(left.seconds)
            yield from _not_whole(left)
        tenth = max(1, count // 10)
        first, last = median(seconds[:tenth]), median(seconds[-tenth:])
        print(f"{count} runs in one folder: {first:.2f} s each at first, {last:.2f} s at last")
        if len(scene.run_folders()) != count:
            yield f"{len(scene.run_folders())} of {count} runs have a folder"
        names = {path.name for path in scene.outputs.iterdir()}
        if extra := {name for name in names if name != "latest" and not name.startswith("20")}:
            yield f"left in outputs/: {', '.join(sorted(extra))}"


def _sweep(count: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="harness-soak-") as name:
        scene = Scene(Path(name))
        with (scene.folder / "out").open("wb") as out, (scene.folder / "err").open("wb") as err:
            scene.descriptors = {"stdout": out, "stderr": err}
            process = scene.start("-m", *tiny(f"seed=range({count})"))
            samples = list(_sampled(process))
            left = scene.end(process)
        yield from _not_whole(left)
        tenth = max(1, len(samples) // 10)
        early, late = samples[tenth : 2 * tenth] or samples, samples[-tenth:]
        kib = [median(sample.kib for sample in part) for part in (early, late)]
        descriptors = [median(sample.descriptors for sample in part) for part in (early, late)]
        print(
            f"a sweep of {count} jobs: {left.seconds / count:.2f} s a job;"
            f" {kib[0] / 1024:.1f} MiB in the second tenth, {kib[1] / 1024:.1f} in the last;"
            f" {descriptors[0]:.0f} descriptors, {descriptors[1]:.0f} at last"
        )
        if len(left.records) != count:
            yield f"{len(left.records)} of {count} jobs have a record"
        if kib[1] > kib[0] * _GROWTH:
            yield "the memory of the sweep's process has grown"
        if descriptors[1] > descriptors[0]:
            yield "the descriptors of the sweep's process have grown"


def _sampled(process: subprocess.Popen[bytes]) -> Iterator[Sample]:
    home = Path("/proc") / str(process.pid)
    while process.poll() is None:
        status = (home / "status").read_text(encoding="ascii")
        resident = status.partition("VmRSS:")[2].split()
        if resident:  # a process that ends has none
            yield Sample(int(resident[0]), sum(1 for _ in (home / "fd").iterdir()))
        time.sleep(_PERIOD_S)


def _not_whole(left: Left) -> Iterator[str]:
    if left.code != 0:
        yield f"exit code {left.code}: {left.err[-300:]}"
    yield from left.wrong


if __name__ == "__main__":
    sys.exit(main())
