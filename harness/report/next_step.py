"""The command that is most likely to be wanted after a run."""

from __future__ import annotations

import shlex

from harness.capture.run_record import RunRecord, as_typed


def next_command(record: RunRecord, folder: str) -> tuple[str, str]:
    """Return what is most likely to be wanted now, and the command for it."""
    if record.source:
        words = ["python", "-m", "harness", f"device={record.device}", "profiler=level1"]
        words += ["workload=callable", "workload.target=MODULE:FACTORY"]
        return "profile a step of your own, and have its delivery checked", shlex.join(words)
    rehearsed = record.requested["rehearsal.emulate"]
    typed = as_typed(record.overrides, rehearsed=rehearsed)
    given = [text for text in typed if not text.startswith(("profiler=", "profiler/"))]
    base = ["python", "-m", "harness", *(["rehearse"] if rehearsed else [])]
    asked = record.requested
    if record.verdict == "pending" or record.analysis:
        why, words = "analyse what was captured", ["python", "-m", "harness", "read", folder]
    elif record.status == "failed" and not record.event_counts and not rehearsed:
        why, words = "in one process, for a debugger", [*base, *given, "execution=inline"]
    elif record.status == "failed":
        why, words = "again, asking for less", [*base, *given, "profiler=level0"]
    elif any(item.fails for item in record.delivery):
        on_npu = ["device=npu"] if rehearsed else []
        typed = [text for text in typed if not text.startswith("rehearsal")]
        why, words = "what is asked and what it needs", [*base[:3], "check", *on_npu, *typed]
    elif any(item.fails for item in record.consistency):
        why, words = "read the capture again", ["python", "-m", "harness", "read", folder]
    elif not asked["profiler.with_stack"]:
        why, words = "which line of code calls them", [*base, *given, "profiler=stacks"]
    elif not asked["profiler.profile_memory"]:
        why, words = "who allocates what", [*base, *given, "profiler=memory"]
    else:
        why, words = "durations, disturbed the least", [*base, *given, "profiler=level0"]
    return why, shlex.join(words)
