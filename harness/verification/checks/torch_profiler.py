"""Checks of torch's own settings on cpu and cuda, by what its profiler handed over and wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.capture.capture import Capture
from harness.paths import LOG_FILE, RunFolder
from harness.readers.base import CaptureError
from harness.readers.gzip_stream import opened
from harness.verification.checks import portable
from harness.verification.checks.base import CheckResult, words_in

STOPPED: Final = re.compile(
    r"activity collection was stopped early[^.\n]*|Exceeded max GPU buffer count[^\n]*"
)
"""What torch 2.13 says (profiler.py, `step`), and Kineto (CuptiActivityApi.cpp)."""


def buffers(capture: Capture) -> CheckResult:
    """Look for what torch and Kineto say when CUPTI's buffers overflow; a trace tells nothing."""
    log = RunFolder(capture.folder).log
    if not log.exists():
        return CheckResult(
            "not_checkable",
            "",
            "a trace does not tell whether CUPTI's buffers overflowed; torch warned of it where it"
            " recorded: 'activity collection was stopped early'",
        )
    found = STOPPED.search(log.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return CheckResult("delivered", "torch reports no loss")
    return CheckResult(
        "partial",
        " ".join(found[0].split()),
        "CUPTI's buffers overflowed, and later kernels are lost: record fewer steps"
        " (profiler.schedule.active), or give it more: device.environment.KINETO_CONFIG=FILE, with"
        " ACTIVITIES_MAX_GPU_BUFFER_SIZE_MB=1024 in it (Kineto takes 128)",
    )


def enable_cuda_sync_events(capture: Capture) -> CheckResult:
    """Look for synchronisation; each step ends with some."""
    return _seen(capture, "cuda_sync", "synchronisation events", "CUPTI of CUDA 12 records them")


def profiler_metrics(capture: Capture) -> CheckResult:
    """Look for each metric's values on kernels; of the whole window, for what CUPTI counted in."""
    if capture.expected.experimental.get("profiler_measure_per_kernel"):
        return portable.profiler_metrics(capture)
    why = "CUPTI counted nothing: it needs rights to (NVreg_RestrictProfilingToAdminUsers=0)"
    return _seen(capture, "cuda_profiler_range", "ranges with counters", why)


def _seen(capture: Capture, kind: str, what: str, why: str) -> CheckResult:
    account = capture.event_counts.get(kind)
    count = account.seen if account else 0
    if count:
        return CheckResult("delivered", f"{count:,} {what}")
    return CheckResult("missing", f"no {what}", f"{why}; see {LOG_FILE}")


def profile_all_threads(capture: Capture) -> CheckResult:
    """Look for operators of several threads; a program may have but one."""
    threads = capture.tables["operators"]["thread"].drop_nulls().n_unique()
    if threads > 1:
        return CheckResult("delivered", f"operators of {threads} threads")
    return CheckResult(
        "not_checkable", f"operators of {threads} thread(s)", "no other thread may have run any"
    )


def record_python_gc_info(capture: Capture) -> CheckResult:
    """Look for collections in the traces; a program may have had none."""
    count = sum(words_in(blocks, b'"Python GC"') for blocks in _traces(capture))
    if count:
        return CheckResult("delivered", f"{count:,} garbage collections in the trace")
    return CheckResult(
        "not_checkable",
        "none",
        "there may have been none; and torch tells of them only beside Python's functions:"
        " profiler.with_stack=true",
    )


def _traces(capture: Capture) -> Iterator[Iterator[bytes]]:
    for name in capture.raw:
        if Path(name).name.startswith("trace"):
            yield _blocks(capture.folder / name)


def _blocks(path: Path) -> Iterator[bytes]:
    notes: list[str] = []
    with opened(path, notes) as file:
        while block := file.read(1 << 22):
            yield block
    if notes:
        raise CaptureError("; ".join(notes))
