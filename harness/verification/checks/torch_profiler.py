"""Checks of torch's own settings on cpu and cuda, by what its profiler handed over and wrote."""

from __future__ import annotations

import re
from typing import Final

from harness.capture.capture import Capture
from harness.paths import RunFolder
from harness.verification.causes import why
from harness.verification.causes.torch_profiler import OVERFLOW
from harness.verification.checks import portable
from harness.verification.checks.base import CheckResult, words_in_traces

STOPPED: Final = re.compile(OVERFLOW)


def buffers(capture: Capture) -> CheckResult:
    """Look for warnings of torch and Kineto that CUPTI's buffers overflowed; no trace shows it."""
    log = RunFolder(capture.folder).log
    if not log.exists():
        return CheckResult(
            "not_checkable",
            "",
            "a trace does not show whether CUPTI's buffers overflowed; if they did, torch warned"
            " while it recorded: 'activity collection was stopped early'",
        )
    warning = STOPPED.search(log.read_text(encoding="utf-8", errors="replace"))
    if warning is None:
        return CheckResult("delivered", "torch reports no loss")
    return CheckResult(
        "partial",
        " ".join(warning[0].split()),
        "CUPTI's buffers overflowed, and later kernels are lost: record fewer steps"
        " (profiler.schedule.active), or enlarge the buffers: write"
        " ACTIVITIES_MAX_GPU_BUFFER_SIZE_MB=1024 into a file (Kineto's default is 128), and set"
        " device.environment.KINETO_CONFIG=FILE",
    )


def enable_cuda_sync_events(capture: Capture) -> CheckResult:
    """Look for synchronisation; each step ends with some."""
    result = _events(capture, "cuda_sync", "synchronisation events")
    if result.status == "missing" and capture.tables["kernels"].height:
        kernels = f"{capture.tables['kernels'].height:,} kernels, and no such event"
        return CheckResult(
            "missing", result.arrived, f"CUPTI has these events since CUDA 12 ({kernels})"
        )
    return result


def profiler_metrics(capture: Capture) -> CheckResult:
    """Look for each metric's values on kernels, or for ranges with counters of the whole window."""
    if capture.expected.experimental.get("profiler_measure_per_kernel"):
        return portable.profiler_metrics(capture)
    return _events(capture, "cuda_profiler_range", "ranges with counters")


def _events(capture: Capture, kind: str, what: str) -> CheckResult:
    counts = capture.event_counts.get(kind)
    count = counts.seen if counts else 0
    if count:
        return CheckResult("delivered", f"{count:,} {what}")
    return CheckResult("missing", f"no {what}", why(capture, "events of CUPTI"))


def profile_all_threads(capture: Capture) -> CheckResult:
    """Look for operators of several threads; a program may have but one."""
    threads = capture.tables["operators"]["thread"].drop_nulls().n_unique()
    if threads > 1:
        return CheckResult("delivered", f"operators of {threads} threads")
    return CheckResult(
        "not_checkable",
        f"operators of {threads} thread(s)",
        "other threads may have run none",
    )


def record_python_gc_info(capture: Capture) -> CheckResult:
    """Look for collections in the traces; a program may have had none."""
    count = words_in_traces(capture, b'"Python GC"')
    if count:
        return CheckResult("delivered", f"{count:,} garbage collections in the trace")
    return CheckResult(
        "not_checkable",
        "none",
        "there may have been none; and torch records them only together with Python's functions:"
        " set profiler.with_stack=true",
    )
