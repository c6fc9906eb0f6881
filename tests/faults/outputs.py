"""Faults: what a command prints cannot be printed."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.faults import sources
from tests.faults.scene import Fault, Left, Scene, tiny


def _full(scene: Scene, name: str) -> None:
    scene.descriptors[name] = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115


def _broken_pipe(scene: Scene, name: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    scene.descriptors[name] = os.fdopen(writing, "wb", buffering=0)


def _closed(scene: Scene, number: int) -> None:
    """Let a shell close the descriptor: `Popen` cannot."""
    scene.python = ("sh", "-c", f'exec "$@" {number}>&-', "sh", *scene.python)


def _encoding(scene: Scene, **variables: str) -> None:
    scene.environment |= variables


OUTPUTS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "standard output is full": lambda scene: _full(scene, "stdout"),
    "standard error is full": lambda scene: _full(scene, "stderr"),
    "standard output is a broken pipe": lambda scene: _broken_pipe(scene, "stdout"),
    "standard error is a broken pipe": lambda scene: _broken_pipe(scene, "stderr"),
    "standard output is closed": lambda scene: _closed(scene, 1),
    "standard error is closed": lambda scene: _closed(scene, 2),
    "standard input is closed": lambda scene: _closed(scene, 0),
    "the output takes ASCII alone": lambda scene: _encoding(scene, PYTHONIOENCODING="ascii"),
    "the output takes Latin-1 alone": lambda scene: _encoding(scene, PYTHONIOENCODING="latin-1"),
    "the locale is C": lambda scene: _encoding(scene, LC_ALL="C", PYTHONUTF8="0", LANG="C"),
}


def _read(scene: Scene) -> tuple[str, ...]:
    return ("read", f"{sources.copied('first', scene)}/raw/trace.json.gz")


def _merge(scene: Scene) -> tuple[str, ...]:
    runs = (sources.copied(name, scene) for name in ("first", "second"))
    return ("merge", *runs, "--out", "outputs/merged")


def _always(*words: str) -> Callable[[Scene], tuple[str, ...]]:
    return lambda _: words


_COMMANDS: Final[Mapping[str, tuple[Callable[[Scene], tuple[str, ...]], int]]] = {
    "run": (_always(*tiny()), 0),
    "sweep": (_always("-m", *tiny("seed=1,2")), 0),
    "read": (_read, 0),
    "merge": (_merge, 0),
    "check": (_always("check", "device=npu"), 0),
    "--help": (_always("--help"), 0),
    "--version": (_always("--version"), 0),
    "a refusal": (_always("profiler.levle=1", "wörkload=1"), 2),
}


def faults() -> Iterator[Fault]:
    """Return the faults of this file."""
    for kind, spoil in OUTPUTS.items():
        for command, (words, code) in _COMMANDS.items():
            measures = command in {"run", "sweep", "read"}
            yield Fault(
                kind=kind,
                phase=command,
                act=functools.partial(unprintable, spoil=spoil, words=words),
                codes=frozenset({code}),
                statuses=frozenset({"ok"} if measures else {None}),
                keeps=frozenset({"operators", "raw", "summary"} if measures else ()),
            )


def unprintable(
    scene: Scene,
    *,
    spoil: Callable[[Scene], None],
    words: Callable[[Scene], tuple[str, ...]],
) -> Left:
    typed = words(scene)
    spoil(scene)
    left = scene.end(scene.start(*typed))
    for stream in scene.descriptors.values():
        stream.close()
    return left
