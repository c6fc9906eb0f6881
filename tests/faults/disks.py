"""Faults: a disk that is full, or has no inodes left, at every size that a command needs."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults import sources
from tests.faults.scene import Fault, Left, Scene, run, tiny

SIZES_KIB: Final = (4, 12, 20, 28, 36, 44, 52, 64, 76, 88, 100, 116, 132, 160, 200, 260)
"""From a disk that takes no record to one that takes a whole small run."""
INODES: Final = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28)
"""The root folder is one of them."""


def faults() -> Iterator[Fault]:
    """Return the faults of this file."""
    for command in ("run", "sweep", "read", "merge"):
        for kib in SIZES_KIB:
            yield _fault("full disk", command, f"{kib} KiB", f"size={kib}k")
        for inodes in INODES:
            yield _fault("no inodes", command, f"{inodes} inodes", f"nr_inodes={inodes}")


def _fault(kind: str, command: str, room: str, option: str) -> Fault:
    return Fault(
        kind=kind,
        phase=f"{command}, {room}",
        act=functools.partial(_on_a_small_disk, command=command, option=option),
        codes=frozenset({0, 1}),
        statuses=frozenset({None, "failed", "ok"}),
    )


def _on_a_small_disk(scene: Scene, *, command: str, option: str) -> Left:
    words = _prepared(scene, command)
    with mounted(scene.outputs, option):
        left = run(scene, *words)
    if left.code == 1 and "no space left" not in (left.out + left.err).lower():
        return left.and_wrong(f"the full disk is not named: {left.err[-300:]}")
    return left


def _prepared(scene: Scene, command: str) -> Sequence[str]:
    """Return the words of a command; puts what it starts from where there is room."""
    if command == "run":
        return tiny()
    if command == "sweep":
        return ("-m", *tiny("seed=1,2"))
    first, second = (sources.copied(name, scene) for name in ("first", "second"))
    if command == "read":
        return ("read", f"{first}/raw/trace.json.gz")
    return ("merge", first, second, "--out", "outputs/merged")


@contextmanager
def mounted(folder: Path, option: str) -> Iterator[None]:
    """Mount a small file system in memory there; what it holds is copied back at the end."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "small", str(folder)], check=True)
    kept = folder.with_name("kept")
    try:
        yield
    finally:
        shutil.copytree(folder, kept, symlinks=True)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
        kept.rename(folder)
