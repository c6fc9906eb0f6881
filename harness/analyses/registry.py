"""Every analysis, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from harness.analyses import code, kernels, memory, operators, profiler, steps, wall_time
from harness.analyses.pieces import pieces
from harness.capture.capture import Capture
from harness.waits import waiting

ANALYSES: Final[Mapping[str, Callable[[Capture], pl.DataFrame]]] = {
    "step_breakdown": steps.step_breakdown,
    "device_gaps": steps.device_gaps,
    "stages": operators.stage_times,
    "functions": code.functions,
    "hot_operators": operators.hot_operators,
    "operator_kernels": operators.operator_kernels,
    "hot_kernels": kernels.hot_kernels,
    "kernels_by_type": kernels.kernels_by_type,
    "kernels_by_shape": kernels.kernels_by_shape,
    "precision_mix": kernels.precision_mix,
    "shape_coverage": operators.shape_coverage,
    "memory_peaks": memory.memory_peaks,
    "profiling_calls": profiler.profiling_calls,
    "analysed_files": profiler.analysed_files,
}
"""Each analysis by the name of its file in ``analyses/``; an empty table gets no file."""

OF_PIECES: Final[Mapping[str, Callable[[Capture, pl.DataFrame], pl.DataFrame]]] = {
    "wall_time": wall_time.wall_time,
    "wall_time_operators": wall_time.wall_time_operators,
    "wall_time_modules": wall_time.wall_time_modules,
    "wall_time_lines": wall_time.wall_time_lines,
}
"""Analyses of the capture and of the pieces that its steps are cut into, by name likewise."""


def run_analyses(capture: Capture) -> dict[str, pl.DataFrame]:
    """Return the table of every analysis, by name; some may be empty."""
    with waiting("analysing what was recorded"):
        cut = pieces(capture)
        of_pieces = {name: analysis(capture, cut) for name, analysis in OF_PIECES.items()}
        return of_pieces | {name: analysis(capture) for name, analysis in ANALYSES.items()}
