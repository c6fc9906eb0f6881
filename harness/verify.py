"""Verify: for each demand of the plan, look for the evidence in the capture.

A check takes a capture and gives a finding; it never looks at the request for its answer.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
from msgspec import Struct

from harness.records import Capture, Delivery, DeliveryStatus, Evidence

FLOPS_FORMULAS = frozenset(
    {
        "aten::mm",
        "aten::addmm",
        "aten::bmm",
        "aten::baddbmm",
        "aten::conv2d",
        "aten::mul",
        "aten::add",
    }
)
"""Operators that torch 2.13 estimates flops for (torch/csrc/profiler/util.cpp, computeFlops)."""

NESTED = (
    "another profiler that runs inside the workload takes all events; stop it, or profile"
    " without the harness"
)


PERF = (
    "torch drops every event where the system offers no perf events (virtual machines,"
    " kernel.perf_event_paranoid); ask without profiler.experimental.performance_events"
)


class Finding(Struct, frozen=True):
    """What a check found."""

    status: DeliveryStatus
    arrived: str
    """The evidence's figure."""
    why: str = ""
    """When not delivered: known reasons, and what to do."""


Check = Callable[[Capture], Finding]


def verify(capture: Capture) -> tuple[Delivery, ...]:
    """Judge every demand of the capture's plan."""
    accept = capture.plan.request.delivery.accept
    return tuple(
        _delivery(evidence, _find(capture, evidence), accept) for evidence in capture.plan.evidence
    )


def _find(capture: Capture, evidence: Evidence) -> Finding:
    check = CHECKS.get(evidence.setting)
    if check is None:
        return Finding("not_checkable", "", "the harness has no check for this setting yet")
    return check(capture)


def _delivery(evidence: Evidence, finding: Finding, accept: tuple[str, ...]) -> Delivery:
    return Delivery(
        setting=evidence.setting,
        asked=evidence.asked,
        arrived=finding.arrived,
        status=finding.status,
        evidence=evidence.demand,
        why=finding.why,
        accepted=finding.status == "partial" and evidence.setting in accept,
    )


def _share(part: int, whole: int, what: str) -> str:
    return f"{part:,} of {whole:,} {what} ({part / whole:.1%})" if whole else f"no {what}"


def _filled(column: pl.Series) -> int:
    return len(column) - column.null_count()


def _by_share(part: int, whole: int, what: str, why: str) -> Finding:
    status: DeliveryStatus = "missing" if part == 0 else "delivered" if part == whole else "partial"
    return Finding(status, _share(part, whole, what), "" if status == "delivered" else why)


def _activities(capture: Capture) -> Finding:
    counts = {
        "host": (capture.tables["operators"].height, "operators"),
        "device": (capture.tables["kernels"].height, "kernels"),
    }
    asked = capture.plan.profiler.activities
    empty = [name for name in asked if counts[name][0] == 0]
    arrived = ", ".join(f"{counts[name][0]:,} {counts[name][1]}" for name in asked)
    if not empty:
        return Finding("delivered", arrived)
    perf = bool(capture.plan.profiler.experimental.get("performance_events"))
    why = {
        "host": f"no operator was recorded: {PERF}"
        if perf
        else f"no operator was recorded: {NESTED}; or the step runs nothing of torch's",
        "device": "no kernel was recorded: the step launches none, another tool holds CUPTI, or"
        " its buffers overflowed (see harness.log)",
    }
    status: DeliveryStatus = "missing" if len(empty) == len(asked) else "partial"
    return Finding(status, arrived, "; ".join(why[name] for name in empty))


def _schedule(capture: Capture) -> Finding:
    asked = set(capture.plan.recorded)
    seen: set[int] = set()
    for name in ("operators", "kernels"):
        seen |= set(capture.tables[name]["step"].drop_nulls().unique())
    missing = sorted(asked - seen)
    arrived = _share(len(asked & seen), len(asked), "asked steps recorded")
    if not missing:
        return Finding("delivered", arrived)
    why = (
        f"steps without a single event: {', '.join(map(str, missing))}: the run ended before"
        f" them, or {NESTED}"
    )
    return Finding("missing" if len(missing) == len(asked) else "partial", arrived, why)


def _record_shapes(capture: Capture) -> Finding:
    """Only torch's own operators carry arguments: ranges of the user's have none."""
    operators = capture.tables["operators"].filter(pl.col("name").str.starts_with("aten::"))
    with_shapes = operators.filter(pl.col("input_shapes").is_not_null())
    if operators.is_empty():
        return Finding("not_checkable", "no aten:: operators", "no operator could carry shapes")
    # An operator that takes no arguments at all has none to show.
    without = operators.filter(pl.col("input_shapes").is_null())["name"].unique()
    bare = set(without) - set(with_shapes["name"].unique())
    carrying = operators.filter(~pl.col("name").is_in(list(bare)))
    if carrying.is_empty():
        carrying = operators
    return _by_share(
        with_shapes.height,
        carrying.height,
        "aten:: operators with arguments",
        "torch recorded no arguments for the rest",
    )


def _with_stack(capture: Capture) -> Finding:
    operators = capture.tables["operators"].filter(pl.col("name").str.starts_with("aten::"))
    part = _filled(operators["stack_id"])
    if part:
        # Operators that autograd runs by itself have no Python caller.
        return Finding("delivered", _share(part, operators.height, "aten:: operators"))
    return Finding(
        "missing",
        _share(0, operators.height, "aten:: operators"),
        "stacks are handed out only with profiler.experimental.verbose=true",
    )


def _profile_memory(capture: Capture) -> Finding:
    memory = capture.tables["memory"]
    allocations = memory.filter(pl.col("kind") == "alloc").height
    if allocations:
        return Finding("delivered", f"{allocations:,} allocations of {memory.height:,} events")
    return Finding("missing", "no allocations", "the recorded steps allocate nothing from torch")


def _with_modules(capture: Capture) -> Finding:
    operators = capture.tables["operators"]
    if "module" in operators.columns and (part := _filled(operators["module"])):
        return Finding("delivered", _share(part, operators.height, "operators"))
    return Finding(
        "missing",
        "no module hierarchy",
        "torch records it for TorchScript only; profiler.with_stack=true names the callers",
    )


def _with_flops(capture: Capture) -> Finding:
    operators = capture.tables["operators"].filter(pl.col("name").is_in(list(FLOPS_FORMULAS)))
    if operators.is_empty():
        return Finding(
            "not_checkable", "no operator with a formula", "torch has formulas for few operators"
        )
    matrix = operators.filter(~pl.col("name").is_in(["aten::mul", "aten::add"]))
    judged = operators if matrix.is_empty() else matrix
    return _by_share(
        _filled(judged["flops"]),
        judged.height,
        "operators with a formula",
        "torch could not apply its formula to the others' shapes",
    )


def _performance_events(capture: Capture) -> Finding:
    if capture.tables["operators"].is_empty():
        return Finding("missing", "no operators, no counters", PERF)
    return Finding("not_checkable", "", "the counters are in the trace only, in raw/")


def _memory_timeline(capture: Capture) -> Finding:
    files = [name for name in capture.raw if "memory_timeline" in name]
    sizes = [(capture.folder / name).stat().st_size for name in files]
    if files and all(sizes):
        return Finding("delivered", f"{len(files)} file(s), {sum(sizes):,} bytes")
    return Finding("missing", "no file", "torch wrote none; see harness.log")


CHECKS: dict[str, Check] = {
    "profiler.activities": _activities,
    "profiler.schedule": _schedule,
    "profiler.record_shapes": _record_shapes,
    "profiler.with_stack": _with_stack,
    "profiler.profile_memory": _profile_memory,
    "profiler.with_modules": _with_modules,
    "profiler.with_flops": _with_flops,
    "profiler.memory_timeline": _memory_timeline,
    "profiler.experimental.performance_events": _performance_events,
}
"""One check for each demand; a new one is a line here."""
