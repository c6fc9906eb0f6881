"""Analyse: everything there is to look at in a capture, from one table of analyses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl
from msgspec import Struct

from harness.analyses import kernels, memory, operators, profiler, steps
from harness.capture.capture import Capture

ANALYSES: Final[Mapping[str, Callable[[Capture], pl.DataFrame]]] = {
    "step_breakdown": steps.step_breakdown,
    "device_gaps": steps.device_gaps,
    "stages": operators.stage_times,
    "hot_operators": operators.hot_operators,
    "operator_kernels": operators.operator_kernels,
    "hot_kernels": kernels.hot_kernels,
    "kernels_by_type": kernels.kernels_by_type,
    "kernels_by_shape": kernels.kernels_by_shape,
    "precision_mix": kernels.precision_mix,
    "shape_coverage": operators.shape_coverage,
    "memory_peaks": memory.memory_peaks,
}
"""Every analysis by the name of its file in ``analyses/``; empty ones have none."""


class Views(Struct, frozen=True, kw_only=True):
    """Tables made of a capture to be looked at; the modules beside this one tell their columns."""

    steps: pl.DataFrame
    operators: pl.DataFrame
    kernels: pl.DataFrame
    types: pl.DataFrame
    stages: pl.DataFrame
    memory: pl.DataFrame
    calls: pl.DataFrame
    files: pl.DataFrame
    analyses: dict[str, pl.DataFrame]
    """Every analysis that has rows, by name."""


def views(capture: Capture) -> Views:
    """Return all analyses; those that the summary shows have a field of their own."""
    found = {name: analysis(capture) for name, analysis in ANALYSES.items()}
    return Views(
        steps=found["step_breakdown"],
        operators=found["hot_operators"],
        kernels=found["hot_kernels"],
        types=found["kernels_by_type"],
        stages=found["stages"],
        memory=found["memory_peaks"],
        calls=profiler.profiling_calls(capture),
        files=profiler.analysed_files(capture),
        analyses={name: table for name, table in found.items() if not table.is_empty()},
    )
