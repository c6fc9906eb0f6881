"""Faults: two runs in one place, and places with odd names."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from tests.faults.scene import Fault, Left, Scene, run, tiny, wait_until
from tests.faults.workload import harmful

_WHOLE: Final = frozenset({"operators", "raw", "summary"})
_NAMES: Final[Mapping[str, str]] = {
    "brackets": "[proj]",
    "a star": "a*b",
    "a question mark": "g?",
    "a space and a quote": "it's mine",
    "a newline": "two\nlines",
    "an escape character": "red\x1b[31m",
    "255 bytes": "n" * 255,
    "braces": "{a,b}",
    "a percent sign": "%s%d",
    "a tilde": "~",
}


def faults() -> Iterator[Fault]:
    """Return the faults of this file."""
    for kind, name in _NAMES.items():
        yield Fault(
            kind=f"a folder's name with {kind}",
            phase="run in it",
            act=functools.partial(_run_in, name=name),
            codes=frozenset({0}),
            statuses=frozenset({"ok"}),
            keeps=_WHOLE,
        )
    yield Fault(
        kind="two runs in one folder",
        phase="recording",
        act=_two,
        codes=frozenset({0}),
        statuses=frozenset({"ok"}),
        keeps=_WHOLE,
    )
    for kind in ("a file", "a folder", "a dangling link", "a stale link of another process"):
        yield Fault(
            kind=f"outputs/latest is {kind}",
            phase="run",
            act=functools.partial(_latest, kind=kind),
            codes=frozenset({0, 1, 2}),
            statuses=frozenset({"ok", None}),
        )


def _run_in(scene: Scene, *, name: str) -> Left:
    scene.folder = scene.folder / name
    scene.folder.mkdir()
    return run(scene, *tiny())


def _two(scene: Scene) -> Left:
    """Start a second run in the folder of one that records; it must be refused."""
    words = harmful(scene, "recording", "time.sleep(6)", "--out", "outputs/one")
    first = scene.start(*words)
    wait_until((scene.outputs / "one" / "steps.jsonl").exists, first)
    time.sleep(0.5)
    second = scene.start(*words)
    _, error = second.communicate()
    left = scene.end(first)
    if second.returncode != 2:
        text = error.decode(errors="replace")
        return left.and_wrong(f"the second run ended with {second.returncode}: {text[-300:]}")
    return left


def _latest(scene: Scene, *, kind: str) -> Left:
    scene.outputs.mkdir()
    latest = scene.outputs / "latest"
    if kind == "a file":
        latest.write_text("mine", encoding="utf-8")
    elif kind == "a folder":
        latest.mkdir()
    else:
        latest.symlink_to("nowhere")
    if kind.startswith("a stale"):
        for process in range(os.getpid(), os.getpid() + 400):
            (scene.outputs / f".latest.{process}").symlink_to("nowhere")
        stale = set(scene.outputs.glob(".latest.*"))
        left = run(scene, *tiny())
        ours = {f"an unfinished file is left: {path.name}" for path in stale}
        return replace(left, wrong=tuple(text for text in left.wrong if text not in ours))
    return run(scene, *tiny())
