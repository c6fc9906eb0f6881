"""A workload that does something bad in a phase of a run, and how to ask for it."""

from __future__ import annotations

from textwrap import indent
from typing import Final

from tests.faults.scene import Scene

PHASES: Final = {"build": 0, "warm-up": 1, "baseline": 3, "profiler warm-up": 8, "recording": 10}
"""The call of the step that is in each phase of the default schedule; 0 for the factory's."""
BEFORE_A_STEP: Final = frozenset({"build", "warm-up"})
"""Phases that begin before any step has ended."""

MODULE: Final = "does_harm"
_SOURCE: Final = """
import os, signal, sys, time
import torch

def harm():
{body}

def factory(device, dtype, seed):
    if {at} == 0:
        harm()
    matrix = torch.ones(8, 8)
    calls = 0
    def step():
        nonlocal calls
        calls += 1
        if calls == {at}:
            harm()
        return matrix @ matrix
    return step
"""


def harmful(scene: Scene, phase: str, code: str, *words: str) -> tuple[str, ...]:
    """Return the words of a run whose workload does harm in a phase.

    `code` is the body of a function; it runs where torch, os, signal, sys and time are imported.
    """
    source = _SOURCE.format(body=indent(code.strip(), "    "), at=PHASES[phase])
    (scene.folder / f"{MODULE}.py").write_text(source, encoding="utf-8")
    return ("profiler=level0", "workload=callable", f"workload.target={MODULE}:factory", *words)
