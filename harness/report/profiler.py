"""Sections about an NPU's own profiler: the calls that it got, the files that it wrote."""

from __future__ import annotations

from harness.readers.ascend.files import content_of
from harness.report.results import RunResults
from harness.report.section import LEFT_OUT, Column, Section


def profiling_calls(results: RunResults) -> Section | None:
    """Show the ACL profiling calls of a rehearsal."""
    calls = results.analyses["profiling_calls"]
    if calls.is_empty():
        return None
    return Section(
        title="ACL profiling calls, as on an NPU",
        brief=LEFT_OUT,
        columns=(Column("call"), Column("times", "count"), Column("arguments", absent="")),
        rows=tuple(calls.select("call", "times", "arguments").rows()),
    )


def analysed_files(results: RunResults) -> Section | None:
    """Show the files that torch_npu's analysis wrote, and what is in each."""
    files = results.analyses["analysed_files"]
    if files.is_empty():
        return None
    return Section(
        title="Files of the analysis, ASCEND_PROFILER_OUTPUT",
        brief=LEFT_OUT,
        columns=(Column("file"), Column("holds", absent="")),
        rows=tuple((name, content_of(name)) for name in files["file"]),
    )
