"""Checks that look at tables, which all profilers fill alike."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from harness.capture.capture import Capture
from harness.capture.run_record import DeliveryStatus
from harness.execution.protocol import NO_LINES
from harness.paths import RunFolder
from harness.tables.selection import HCCL_CORES, has_shapes
from harness.tables.tensor_lists import TENSOR_LIST
from harness.verification.causes import left_out, why
from harness.verification.checks.base import (
    CheckResult,
    by_share,
    filled,
    profiler_of,
    share,
    words_in_traces,
)

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


def activities(capture: Capture) -> CheckResult:
    """Look for operators of the host and kernels of the device."""
    counts = {
        "host": (capture.tables["operators"].height, "operators"),
        "device": (capture.tables["kernels"].height, "kernels"),
    }
    requested = capture.expected.activities
    empty = [name for name in requested if counts[name][0] == 0]
    arrived = ", ".join(f"{counts[name][0]:,} {counts[name][1]}" for name in requested)
    if not empty:
        reason = left_out(capture) if "host" in requested else ""
        return CheckResult("partial" if reason else "delivered", arrived, reason)
    reasons = [why(capture, counts[name][1]) for name in empty]
    status: DeliveryStatus = "missing" if len(empty) == len(requested) else "partial"
    return CheckResult(status, arrived, "; ".join(dict.fromkeys(reasons)))


def schedule(capture: Capture) -> CheckResult:
    """Look for events of every requested step, and for steps that lost some of their kernels."""
    requested = set(capture.expected.recorded)
    recorded = set(requested)
    for activity, table in (("host", "operators"), ("device", "kernels")):
        # A program without kernels has none in any step; the check of activities says so.
        if activity in capture.expected.activities and not capture.tables[table].is_empty():
            recorded &= set(capture.tables[table]["step"].drop_nulls().unique())
    if all(capture.tables[table].is_empty() for table in ("operators", "kernels")):
        recorded = set()
    cut_off = recorded - _ended_steps(capture, recorded)
    missing = sorted(requested - recorded)
    recorded -= cut_off
    short = _short_steps(capture, recorded)
    arrived = share(len(recorded), len(requested), "requested steps recorded")
    if not missing and not cut_off and not short:
        return CheckResult("delivered", arrived)
    if missing or cut_off:
        cut = f"step(s) {', '.join(map(str, sorted(cut_off)))}"
        reasons = [f"{cut} did not end"] if cut_off else []
        if missing:
            reasons += [f"no event was recorded in step(s) {', '.join(map(str, missing))}"]
        status: DeliveryStatus = "missing" if not recorded or short else "partial"
        return CheckResult(status, arrived, f"{', and '.join(reasons)}: {why(capture, 'steps')}")
    counts = ", ".join(f"step {step} has {few} of {most} kernels" for step, few, most in short)
    return CheckResult(
        "missing",
        f"{arrived}, {counts}",
        f"kernels are missing: {why(capture, 'short steps')}",
    )


def _ended_steps(capture: Capture, steps: set[int]) -> set[int]:
    """Return those that ended, as the run itself counted them; all, if it did not fail."""
    counted = capture.tables["steps"]
    if capture.outcome.status == "ok" or counted.is_empty():
        return steps
    return steps & set(counted.filter(pl.col("phase") == "active")["step"])


def _short_steps(capture: Capture, steps: set[int]) -> list[tuple[int, int, int]]:
    """Return steps that ran the operators of another step, and have fewer kernels than it.

    Steps whose operators differ may launch as many kernels as they like.
    """
    operators, kernels = capture.tables["operators"], capture.tables["kernels"]
    if kernels.is_empty():
        return []
    launched = kernels.group_by("step").len("kernels")
    called = operators.group_by("step").len("operators")
    counts = (
        launched.join(called, on="step", how="left")
        .filter(pl.col("step").is_in(list(steps)))
        .with_columns(most=pl.col("kernels").max().over("operators"))
        .filter(pl.col("kernels") < pl.col("most"))
        .sort("step")
    )
    return list(counts.select("step", "kernels", "most").iter_rows())


def record_shapes(capture: Capture) -> CheckResult:
    """Look for shapes of operators and, where the device itself records them, of kernels."""
    of_operators = _operator_shapes(capture)
    operators = capture.tables["operators"]
    if of_operators.status != "not_checkable":
        with_shapes = operators.filter(has_shapes()).height
        of_operators = CheckResult(
            of_operators.status,
            f"{with_shapes:,} of {operators.height:,} operators have shapes;"
            f" {of_operators.arrived}",
            of_operators.reason,
        )
    on_device = "device" in capture.expected.activities
    if not (on_device and profiler_of(capture).records_kernel_shapes):
        return of_operators
    of_kernels = _kernel_shapes(capture)
    if of_operators.status == "not_checkable":
        return of_kernels
    if of_kernels.status == "not_checkable":
        return of_operators
    same = of_operators.status == of_kernels.status
    return CheckResult(
        of_operators.status if same else "partial",
        f"{of_operators.arrived}; {of_kernels.arrived}",
        "; ".join(filter(None, (of_operators.reason, of_kernels.reason))),
    )


def _operator_shapes(capture: Capture) -> CheckResult:
    """Look at torch's own operators alone: the user's ranges have no arguments."""
    operators = capture.tables["operators"].filter(pl.col("name").str.starts_with("aten::"))
    if operators.is_empty():
        return CheckResult("not_checkable", "no aten:: operators", "no operator could carry shapes")
    untold = pl.col("input_dtypes").list.contains(TENSOR_LIST).fill_null(value=False)
    lists = operators.filter(untold)
    profiler = profiler_of(capture)
    if lists.is_empty() or profiler.records_lists:
        reason = "the profiler recorded no arguments of the others"
        if names := ", ".join(lists["name"].unique().sort().head(_NAMED)):
            reason = (
                f"{names}: torch writes no shapes of a list of more than 30 tensors into a trace"
            )
        return _shares(operators, reason)
    # What the device cannot give is said; it is no failure of this run.
    aside = f"; {lists.height:,} have lists of tensors, of which {profiler.name} records no shapes"
    others = operators.filter(~untold)
    if others.is_empty():
        return CheckResult("not_checkable", f"no other aten:: operators{aside}", "")
    result = _shares(others, "the profiler recorded no arguments of the others")
    return CheckResult(result.status, result.arrived + aside, result.reason)


def _shares(operators: pl.DataFrame, reason: str) -> CheckResult:
    """Count those with the shapes of all their tensors; one without arguments needs none."""
    with_shapes = operators.filter(has_shapes())
    untold = pl.col("input_dtypes").list.contains(TENSOR_LIST).fill_null(value=False)
    without = operators.filter(~has_shapes() & ~untold)["name"].unique()
    bare = set(without) - set(with_shapes["name"].unique())
    carrying = operators.filter(untold | ~pl.col("name").is_in(list(bare)))
    whole = carrying.height or operators.height
    return by_share(with_shapes.height, whole, "aten:: operators with arguments", reason)


SHAPELESS_CORES = ("DSA_SQE", "AI_CPU", *HCCL_CORES)
"""Units whose tasks carry no shapes in CANN's tables, and no counters."""


def carries_tensors(kernels: pl.DataFrame) -> pl.DataFrame:
    """Return the kernels that could carry shapes: no communication, memory set or random number.

    At Level0 the type is not known; the name ends in it.
    """
    return kernels.filter(
        ~pl.col("core").fill_null("").is_in(SHAPELESS_CORES)
        & ~pl.coalesce("type", "name").str.contains(r"(?:^|_)MemSet$")
        & ~pl.col("name").str.starts_with("hcom_")
        & ~pl.col("name").str.contains("_DSA")
    )


def _kernel_shapes(capture: Capture) -> CheckResult:
    every = capture.tables["kernels"]
    kernels = carries_tensors(every)
    if kernels.is_empty() and not every.is_empty():
        return CheckResult(
            "not_checkable", "no kernels with arguments", "no kernel could carry shapes"
        )
    if kernels.is_empty():
        return CheckResult("missing", "no kernels with arguments", why(capture, "kernels"))
    bare = kernels.filter(pl.col("input_shapes").is_null() & pl.col("output_shapes").is_null())
    lean = kernels["core"].is_null().all()
    types = bare.select(pl.coalesce("type", "name")).to_series().unique().sort().to_list()
    named = ", ".join(types[:_NAMED]) + (", …" if len(types) > _NAMED else "")
    reason = (
        "at Level0 kernels have shapes only if CANN has the feature AICORE_SHAPE; for shapes on"
        " any CANN: profiler.experimental.profiler_level=Level1"
        if lean
        else f"no shapes of {named}: operators launched outside CANN's registry have none"
    )
    return by_share(
        kernels.height - bare.height, kernels.height, "kernels that can carry shapes", reason
    )


_NAMED = 5


def with_stack(capture: Capture) -> CheckResult:
    """Look for stacks of torch's own operators."""
    every = capture.tables["operators"]
    operators = every.filter(pl.col("name").str.starts_with("aten::"))
    part = filled(operators["stack_id"])
    if operators.is_empty() and not every.is_empty():
        # Graphs that are replayed, and compiled code, may call none.
        if others := filled(every["stack_id"]):
            return CheckResult("delivered", share(others, every.height, "operators"))
        return CheckResult(
            "not_checkable", "no aten:: operators", "no operator could carry a stack"
        )
    if part:
        # Operators that autograd runs by itself have no Python caller.
        return CheckResult("delivered", share(part, operators.height, "aten:: operators"))
    return CheckResult(
        "missing",
        share(0, operators.height, "aten:: operators"),
        _why_no_stacks(capture),
    )


def _why_no_stacks(capture: Capture) -> str:
    if capture.expected.experimental.get("verbose") is False:
        return (
            "torch hands out stacks only when it is verbose (the plan has"
            " profiler.experimental.verbose=false): profiler.experimental.verbose=true"
        )
    if capture.tables["operators"].is_empty():
        return why(capture, "operators")
    return why(capture, "stacks")


def with_lines(capture: Capture) -> CheckResult:
    """Look for lines of the user's own code in each recorded step."""
    lines = capture.tables["lines"]
    steps = capture.tables["steps"].filter(pl.col("phase") == "active")
    noted = any(note.startswith(NO_LINES) for note in capture.outcome.notes)
    if lines.is_empty() and not noted and RunFolder(capture.folder).lines.exists():
        return CheckResult(
            "not_checkable",
            "no lines",
            "all code that ran in the steps is of torch, Python's library or installed packages",
        )
    starts = lines["start_ns"].sort()
    ends = steps["start_ns"] + steps["duration_ns"]
    begun = starts.search_sorted(ends, side="left") > starts.search_sorted(steps["start_ns"])
    part = int(begun.sum()) if len(starts) else 0
    return by_share(part, steps.height, "recorded steps have lines", why(capture, "lines"))


def profile_memory(capture: Capture) -> CheckResult:
    """Look for allocations."""
    memory = capture.tables["memory"]
    allocations = memory.filter(pl.col("kind") == "alloc").height
    if allocations:
        return CheckResult("delivered", f"{allocations:,} allocations of {memory.height:,} events")
    return CheckResult("missing", "no allocations", why(capture, "allocations"))


def with_modules(capture: Capture) -> CheckResult:
    """Look for the module hierarchy: a column of TorchScript's, or Python frames of modules."""
    operators = capture.tables["operators"]
    if "module" in operators.columns and (part := filled(operators["module"])):
        return CheckResult("delivered", share(part, operators.height, "operators"))
    count = words_in_traces(capture, b'"nn.Module: ')
    if count:
        return CheckResult("delivered", f"calls of modules in the trace: {count:,}")
    return CheckResult(
        "missing",
        "no module hierarchy",
        "no operator has a module, and the trace has no call of one (nn.Module: …): torch records"
        " the modules of TorchScript, and of others their calls; profiler.with_stack=true shows the"
        " callers",
    )


def with_flops(capture: Capture) -> CheckResult:
    """Look for flops of operators that torch has a formula for."""
    every = capture.tables["operators"]
    if capture.source and not filled(every["flops"]):
        return CheckResult("not_checkable", "", "torch writes no flops into a trace")
    operators = every.filter(pl.col("name").is_in(list(FLOPS_FORMULAS)))
    if operators.is_empty():
        return CheckResult(
            "not_checkable", "no operator with a formula", "torch has formulas for few operators"
        )
    matrix = operators.filter(~pl.col("name").is_in(["aten::mul", "aten::add"]))
    judged = operators if matrix.is_empty() else matrix
    bare = judged.filter(pl.col("flops").is_null())
    shapeless = bare.filter(~has_shapes()).height
    names = ", ".join(bare["name"].unique().sort().head(_NAMED))
    return by_share(
        filled(judged["flops"]),
        judged.height,
        "operators with a formula",
        f"torch computed none for {names}"
        + (
            f": {shapeless:,} of these {bare.height:,} have no shapes, which the formulas need"
            if shapeless
            else ", which have shapes; the cause is not known"
        ),
    )


def performance_events(capture: Capture) -> CheckResult:
    """Look for the counts of each event, on every operator."""
    operators = capture.tables["operators"]
    if operators.is_empty():
        return CheckResult("missing", "no operators, no counters", why(capture, "operators"))
    events = capture.expected.experimental["performance_events"]
    none = "the trace has operators, and no such count: the cause is not known"
    some = "the trace has no count of the others: the cause is not known"
    return _counted(operators, events, "operators", none, some)


def profiler_metrics(capture: Capture) -> CheckResult:
    """Look for the values of each metric, on every kernel."""
    kernels = capture.tables["kernels"]
    metrics = capture.expected.experimental["profiler_metrics"]
    if kernels.is_empty():
        return CheckResult("missing", "no kernels, no metrics", why(capture, "events of CUPTI"))
    copies = kernels.filter(pl.col("type").is_in(["gpu_memcpy", "gpu_memset"])).height
    some = f"{copies:,} rows are copies or memory sets, which CUPTI measures nothing of"
    return _counted(kernels, metrics, "kernels", why(capture, "events of CUPTI"), some)


def _counted(
    table: pl.DataFrame, names: Sequence[str], rows: str, why_none: str, why_some: str
) -> CheckResult:
    absent = [name for name in names if name not in table.columns or not filled(table[name])]
    if absent:
        status: DeliveryStatus = "missing" if len(absent) == len(names) else "partial"
        return CheckResult(status, f"no count of {', '.join(absent)}", why_none)
    counting = table.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in names))
    return by_share(counting.height, table.height, f"{rows} with {', '.join(names)}", why_some)


def memory_timeline(capture: Capture) -> CheckResult:
    """Look for the files."""
    files = [name for name in capture.raw if "memory_timeline" in name]
    sizes = [(capture.folder / name).stat().st_size for name in files]
    if files and all(sizes):
        return CheckResult("delivered", f"{len(files)} file(s), {sum(sizes):,} bytes")
    return CheckResult("missing", "no file", why(capture, "files"))
