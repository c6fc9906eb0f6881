"""The bottleneck classes of kernels: their rules, and advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from harness.bottlenecks.counters import CONFLICTS, HALVES, PIPES
from harness.settings.request import Bound

AI_CORES: Final = ("AI_CORE", "AI_VECTOR_CORE", "MIX_AIC", "MIX_AIV")
"""The units of an NPU that have counters."""


class Class(NamedTuple):
    """A class of kernels with the same bottleneck."""

    rule: str
    """When a kernel belongs to the class; names of settings stand for their values."""
    advice: str
    """What to do, in one sentence that names the columns it is based on."""


CLASSES: Final[Mapping[str, Class]] = {
    "communication": Class(
        "it moves data between devices",
        "Communication, whose duration_ns includes the wait for the other ranks: overlap it with"
        " computing, send less, or find the rank that is late.",
    ),
    "ai_cpu": Class(
        "core is AI_CPU",
        "It runs on the AI CPU (core), which has no cube or vector unit: use an operator or a dtype"
        " (input_dtypes) that the AI cores have a kernel for.",
    ),
    "unknown": Class(
        "no pipe was measured, or its kernels have no shapes and are not averaged",
        "Its bottleneck is unknown, for the reason in evidence; if needs names a counter group, add"
        " that group to the sweep.",
    ),
    "bank_conflict": Class(
        "vec is the fullest full pipe, or it would be latency; and the three conflict ratios add up"
        " to bound.conflict",
        "Vector instructions stall on conflicts: vec_bankgroup_cflt_ratio asks for another block"
        " stride, vec_bank_cflt_ratio for other addresses of operands in UB, vec_resc_cflt_ratio"
        " for instructions spread over units.",
    ),
    "icache": Class(
        "scalar is the fullest full pipe, or it would be latency and is no bank_conflict; and"
        " icache_miss_rate reaches bound.icache_miss_rate",
        "Instructions arrive late (icache_miss_rate): the kernel's code is too long or too"
        " branched; unroll less, or split it.",
    ),
    "compute_cube": Class(
        "mac is the fullest full pipe",
        "The cube is busy (mac_ratio): only less work helps, a smaller dtype"
        " (cube_fp16_share, cube_int8_share), or shapes that fill its tiles (input_shapes).",
    ),
    "compute_vector": Class(
        "vec is the fullest full pipe, no bank_conflict",
        "The vector units are busy (vec_ratio): fuse elementwise work, use 16-bit floats where"
        " vector_fp32_share is high, and avoid the conversions that vector_misc_share counts.",
    ),
    "scalar": Class(
        "scalar is the fullest full pipe, no icache",
        "Address arithmetic and control are busy (scalar_ratio): larger tiles, fewer and longer"
        " instructions, shapes known at compile time (input_shapes).",
    ),
    "memory_mte1": Class(
        "mte1 is the fullest full pipe",
        "Moves from L1 to L0 are busy (mte1_ratio): larger base tiles reuse more of what L0 holds;"
        " aic_l0a_write_bw(GB/s) and aic_l0b_write_bw(GB/s) tell which operand.",
    ),
    "memory_mte2": Class(
        "mte2 is the fullest full pipe",
        "Reading main memory is busy (mte2_ratio): fuse with what produces the data, read smaller"
        " dtypes, reuse more (l2_read_hit_rate, intensity); main_memory_gbps against the chip's"
        " peak tells whether more is to be had.",
    ),
    "memory_mte3": Class(
        "mte3 is the fullest full pipe",
        "Writing main memory is busy (mte3_ratio): fuse with what reads the result, write smaller"
        " dtypes; main_memory_write_bytes tells how much is written.",
    ),
    "memory_fixpipe": Class(
        "fixpipe is the fullest full pipe",
        "Moving results out of L0C is busy (fixpipe_ratio): align the output's inner axis"
        " (output_shapes), split less along K, write smaller dtypes (l0c_to_gm_bytes).",
    ),
    "memory_in_turn": Class(
        "no pipe is full; mte2 and mte3 of a vector core add up to bound.together",
        "Reads and writes of main memory fill the time together (mte2_ratio, mte3_ratio), as in a"
        " copy: leave it out, or fuse it.",
    ),
    "unoverlapped": Class(
        "no pipe is full, no memory_in_turn; vec, mte2 and mte3 of a vector core add up to"
        " bound.together",
        "Computing and moving take turns (vec_ratio, mte2_ratio, mte3_ratio): with double buffers"
        " and more, smaller tiles they overlap.",
    ),
    "overhead": Class(
        "no pipe is full, none of these two; mean_ns is below bound.short_us",
        "Too short for anything to be busy (mean_ns, core_time_ratio): starting it costs most;"
        " fuse it with its neighbours, or capture a graph.",
    ),
    "latency": Class(
        "none of these three, no bank_conflict, no icache",
        "No pipe is busy (dominant_ratio): it waits for dependencies, for too few blocks or for"
        " tails; use more cores, larger tiles or deeper pipelines.",
    ),
}
"""Every class. A pipe is full if its ratio reaches its limit in bound.cube or bound.vector."""

_IN_TURN: Final[Mapping[str, tuple[str, ...]]] = {
    "memory_in_turn": ("mte2", "mte3"),
    "unoverlapped": ("vec", "mte2", "mte3"),
}

_OF_PIPE: Final[Mapping[str, str]] = {
    "mac": "compute_cube",
    "vec": "compute_vector",
    "scalar": "scalar",
    "mte1": "memory_mte1",
    "mte2": "memory_mte2",
    "mte3": "memory_mte3",
    "fixpipe": "memory_fixpipe",
}


class Pipe(NamedTuple):
    """One pipe of one half of the core."""

    half: str
    name: str
    ratio: float
    """Its share of the cycles of the longer half."""
    limit: float
    """The ratio from which it counts as full."""

    @property
    def label(self) -> str:
        """The beginning of its column's name: aic_mte2."""
        return f"{self.half}{self.name}"


class Verdict(NamedTuple):
    """The bottleneck of a kernel, and the evidence."""

    dominant_pipe: str | None
    dominant_ratio: float | None
    bound: str
    evidence: str
    needs: str | None


def judge(row: Mapping[str, Any], bound: Bound) -> Verdict:
    """Classify the kernels of a row of the table of bottlenecks.

    Args:
        row: Ratios by the columns' names (0 to 1, null where not measured), core, averaged,
            mean_ns, communicates; aic_scale and aiv_scale, the half's time as a share of the
            longer half's.
        bound: The thresholds.
    """
    if row["communicates"]:
        return _unmeasured("communication", "it moves data between devices")
    if row["core"] == "AI_CPU":
        return _unmeasured("ai_cpu", "core AI_CPU")
    if not row["averaged"]:
        return _unmeasured("unknown", "kernels without shapes are not averaged")
    pipes = list(_pipes(row, bound))
    if not pipes:
        if row["core"] in AI_CORES:
            return _unmeasured("unknown", "no pipe was measured", "PipeUtilization")
        return _unmeasured("unknown", f"no counters on {row['core'] or 'this device'}")
    full = [pipe for pipe in pipes if pipe.ratio >= pipe.limit]
    top = max(full or pipes, key=lambda pipe: pipe.ratio)
    name, evidence, needs = _cause(row, bound, pipes, top if full else None)
    highest = max(pipes, key=lambda pipe: pipe.ratio)
    return Verdict(
        dominant_pipe=highest.label,
        dominant_ratio=highest.ratio,
        bound=name,
        evidence=evidence or _compared(top),
        needs=needs,
    )


def _unmeasured(name: str, evidence: str, needs: str | None = None) -> Verdict:
    return Verdict(None, None, name, evidence, needs)


def _pipes(row: Mapping[str, Any], bound: Bound) -> Iterator[Pipe]:
    """Yield the pipes that were measured."""
    cube, vector = bound.cube, bound.vector
    of_cube = {
        "mac": cube.mac,
        "scalar": cube.scalar,
        "mte1": cube.mte1,
        "mte2": cube.mte2,
        "fixpipe": cube.fixpipe,
    }
    of_vector = {
        "vec": vector.vec,
        "scalar": vector.scalar,
        "mte2": vector.mte2,
        "mte3": vector.mte3,
    }
    limits = {"aic_": of_cube, "aiv_": of_vector, "": of_vector | of_cube}
    for half, names in PIPES.items():
        for name in names:
            ratio = row[f"{half}{name}_ratio"]
            if ratio is not None:
                scale = row[f"{half}scale"] if half else 1.0
                yield Pipe(half, name, ratio * scale, limits[half][name])


def _cause(
    row: Mapping[str, Any], bound: Bound, pipes: Sequence[Pipe], full: Pipe | None
) -> tuple[str, str, str | None]:
    """Return the class, the evidence, and the counter group that might change them.

    `full` is the fullest full pipe. If the evidence is empty, the pipe's ratio is the evidence.
    """
    vector = [half for half in HALVES if any(p.half == half and p.name == "vec" for p in pipes)]
    conflicts = _measured(row, [f"{half}{name}" for half in vector for name in CONFLICTS])
    misses = _measured(row, [f"{half}icache_miss_rate" for half in HALVES])
    worst = max(misses, key=lambda name: misses[name], default=None)
    total = sum(conflicts.values())
    conflicting = bool(conflicts) and total >= bound.conflict
    missing = worst is not None and misses[worst] >= bound.icache_miss_rate
    stalls = f"{' + '.join(conflicts)} {total:.3f} ≥ {bound.conflict:g}"
    late = f"{worst} {misses[worst]:.3f} ≥ {bound.icache_miss_rate:g}" if worst else ""
    needs = "ResourceConflictRatio" if vector and not conflicts else None
    if full is not None:
        if full.name == "vec":
            return ("bank_conflict", stalls, None) if conflicting else ("compute_vector", "", needs)
        if full.name == "scalar" and missing:
            return "icache", late, None
        return _OF_PIPE[full.name], "", None
    for name, together in _IN_TURN.items():
        for half in vector:
            parts = [pipe for pipe in pipes if pipe.half == half and pipe.name in together]
            busy = sum(pipe.ratio for pipe in parts)
            if len(parts) == len(together) and busy >= bound.together:
                texts = " + ".join(f"{pipe.label}_ratio" for pipe in parts)
                return name, f"{texts} {busy:.3f} ≥ {bound.together:g}", None
    mean_us = row["mean_ns"] / 1e3
    if mean_us < bound.short_us:
        return "overhead", f"mean_ns {mean_us:.3g} µs < {bound.short_us:g} µs", None
    if conflicting:
        return "bank_conflict", stalls, None
    if missing:
        return "icache", late, needs
    return "latency", "", needs


def _measured(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    """Return the values that were measured."""
    return {name: row[name] for name in names if row.get(name) is not None}


def _compared(pipe: Pipe) -> str:
    sign = "≥" if pipe.ratio >= pipe.limit else "<"
    return f"{pipe.label}_ratio {pipe.ratio:.3f} {sign} {pipe.limit:g}"
