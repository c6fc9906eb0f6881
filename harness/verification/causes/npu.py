"""Why something is missing from a capture of torch_npu, by its folder and its logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from harness.capture.capture import Capture
from harness.files import regular
from harness.readers.ascend import folder as ascend
from harness.readers.ascend.trace import CALLS
from harness.tables.selection import HCCL_CORES
from harness.verification.causes import logs
from harness.verification.causes.base import Cause
from harness.verification.causes.lines import LINES
from harness.verification.causes.threads import SHOWN_BY, other_threads

_CHUNK: Final = 1 << 22
_QUEUED: Final = b'"enqueue"'
"""The category of an operator on its way to the device, in trace_view.json."""


def _no_folder(capture: Capture) -> str:
    return "" if capture.cycle_folders else "raw/ has no *_ascend_pt folder"


def _failed(capture: Capture) -> str:
    return capture.analysis.reason if capture.analysis is not None else ""


def _named(folders: list[Path]) -> str:
    return ", ".join(folder.name for folder in folders[:3]) + (", …" if len(folders) > 3 else "")  # noqa: PLR2004


def _has_raw_data(folder: Path) -> bool:
    return any(folder.glob("PROF_*"))


def _has_analysis(folder: Path) -> bool:
    """Tell whether there is any file of the analysis; its mark of the end holds nothing."""
    return any(path.suffix != ".done" for path in (folder / ascend.OUTPUT).glob("*"))


def _not_started(capture: Capture) -> str:
    """Look for a run's captures without raw data; of others, these may not have been copied."""
    if capture.source:
        return ""
    bare = [folder for folder in capture.cycle_folders if not _has_raw_data(folder)]
    return f"no PROF_* folder in {_named(bare)}" if bare else ""


def _not_analysed(capture: Capture) -> str:
    folders = [
        folder
        for folder in capture.cycle_folders
        if _has_raw_data(folder) and not _has_analysis(folder)
    ]
    return f"a PROF_* folder and no {ascend.OUTPUT} in {_named(folders)}" if folders else ""


def _nothing_there(capture: Capture) -> str:
    folders = [
        folder
        for folder in capture.cycle_folders
        if not _has_raw_data(folder) and not _has_analysis(folder)
    ]
    where = f"neither a PROF_* folder nor files in {ascend.OUTPUT} in {_named(folders)}"
    return where if folders else ""


def _launches_none(capture: Capture) -> str:
    """Look for operators without launches: in the queue to the device, and in calls into CANN."""
    operators = capture.tables["operators"].height
    calls = capture.event_counts.get(CALLS)
    timelines = [ascend.output(folder, "trace_view.json") for folder in capture.cycle_folders]
    if emulation := capture.emulation:
        launched = emulation.operators_computed + emulation.operators_not_computed
        return "" if launched else "the emulator was given 0 operators to run"
    if not operators or (calls is not None and calls.seen) or not any(timelines):
        return ""
    if any(path is not None and _contains(path, _QUEUED) for path in timelines):
        return ""
    return (
        f"trace_view.json has {operators:,} operators, and of launches none: neither entries of"
        " torch_npu's queue, which TASK_QUEUE_ENABLE=0 turns off, nor calls into CANN"
    )


def _contains(path: Path, word: bytes) -> bool:
    rest = b""
    with regular(path) as file:
        while block := file.read(_CHUNK):
            if word in rest + block:
                return True
            rest = block[-len(word) :]
    return False


def _no_counting_core(capture: Capture) -> str:
    kernels = capture.tables["kernels"]
    cores = kernels["core"].drop_nulls()
    if kernels.is_empty() or len(cores):
        return ""
    return f"{kernels.height:,} kernels, none with a core: Level0 records none"


def _first_steps(capture: Capture) -> str:
    """Look for recorded steps without kernels that come before all that have some."""
    present = set(capture.tables["kernels"]["step"].drop_nulls().unique())
    lacking = [step for step in capture.expected.recorded if step not in present]
    if not present or not lacking or max(lacking) > min(present):
        return ""
    return f"the first {len(lacking)} recorded step(s) have none, all later ones have some"


def _lost_head(capture: Capture) -> str:
    """Look for a first recorded step with fewer kernels than every later one."""
    counts = capture.tables["kernels"].drop_nulls("step").group_by("step").len().sort("step")
    numbers = counts["len"].to_list()
    if len(numbers) < 2 or numbers[0] >= min(numbers[1:]):  # noqa: PLR2004
        return ""
    return f"the first has {numbers[0]:,} kernels, each later one at least {min(numbers[1:]):,}"


def _of_communication(capture: Capture) -> str:
    kernels = capture.tables["kernels"]
    others = kernels.filter(~pl.col("core").fill_null("").is_in(HCCL_CORES))
    return f"{kernels.height:,} kernels, all of communication" if others.is_empty() else ""


def _rejected(capture: Capture) -> str:
    failed = [
        f"type {call.get('type')} returned {call['result']}"
        for call in capture.calls
        if call.get("call") == "aclprofSetConfig" and call.get("result")
    ]
    return f"aclprofSetConfig: {', '.join(failed)}" if failed else ""


def _ended(capture: Capture) -> str:
    outcome = capture.outcome
    return "" if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"


UNREAD: Final = (
    Cause(
        "torch_npu left no capture: its profiler did not start, or swallowed an error",
        "no *_ascend_pt folder in raw/",
        _no_folder,
    ),
    Cause(
        "the analysis of the captures failed; python -m harness read RUN tries again",
        "a reason in analysis.json",
        _failed,
    ),
    Cause(
        "torch_npu found no msprof, which turns CANN's raw data into files: source CANN's"
        " set_env.sh, then python -m harness read RUN",
        "a log line \"'msprof' command not found\"",
        logs.line("'msprof' command not found"),
    ),
    Cause(
        "msprof failed to turn CANN's raw data into files: msprof --export=on"
        " --output=PROF_FOLDER shows why",
        'a log line "Failed to export CANN"',
        logs.line("Failed to export CANN"),
    ),
    Cause(
        "CANN recorded nothing: its profiler did not start",
        'a log line "CANN Profiling data does not exist"',
        logs.line("CANN Profiling data does not exist"),
    ),
    Cause(
        "CANN recorded nothing that torch_npu could analyse",
        "in a run, no PROF_* folder in the capture",
        _not_started,
    ),
    Cause(
        "torch_npu has not analysed the raw data:"
        " torch_npu.profiler.profiler.analyse(FOLDER), then read it again",
        "a PROF_* folder, and no file of the analysis",
        _not_analysed,
    ),
    Cause(
        "the capture is not whole: copy PROF_* or ASCEND_PROFILER_OUTPUT along",
        "neither a PROF_* folder nor a file of the analysis",
        _nothing_there,
    ),
)
"""Why nothing of the device could be read, whatever was requested."""

_LAUNCHES_NONE: Final = Cause(
    "the recorded steps launch no kernel", "operators, and no launch among them", _launches_none
)
_PARSER: Final = Cause(
    "a part of torch_npu's analysis failed",
    'a log line "Task [...] run failed"',
    logs.line(r"Task \[\w+\] run failed"),
)
KERNELS: Final = (*UNREAD, _LAUNCHES_NONE, _PARSER)
_REFUSED: Final = Cause(
    "CANN refused the setting, which torch_npu does not tell",
    "in a rehearsal, a call of aclprofSetConfig that failed",
    _rejected,
)
_UNSUPPORTED: Final = Cause(
    "this CANN does not have the feature",
    'a log line "do not support feature"',
    logs.line("do not support feature"),
)

OTHER_THREADS: Final = Cause(
    "torch_npu records the operators of the thread that profiles alone, and has no setting for"
    " others: do that work in the step's thread",
    SHOWN_BY,
    other_threads,
)

CAUSES: Final[Mapping[str, tuple[Cause, ...]]] = {
    "kernels": KERNELS,
    "operators": (
        Cause("the run ended before it had recorded any", "a run that did not end well", _ended),
        Cause(
            "torch_npu's part of the capture is not there",
            'a log line "FWK Profiling data does not exist"',
            logs.line("FWK Profiling data does not exist"),
        ),
        OTHER_THREADS,
        *UNREAD,
        _PARSER,
    ),
    "steps": (
        Cause("the run ended before them", "a run that did not end well", _ended),
        *KERNELS,
        Cause(
            "CANN lost the beginning of the window, as when its buffer on the device runs over:"
            " record fewer steps (profiler.schedule.active), at a lower profiler_level",
            "only the first recorded steps lack kernels",
            _first_steps,
        ),
    ),
    "short steps": (
        Cause(
            "CANN lost the beginning of the window, as when its buffer on the device runs over:"
            " record fewer steps (profiler.schedule.active), at a lower profiler_level",
            "the first recorded step has fewer kernels than each later one",
            _lost_head,
        ),
        _PARSER,
    ),
    "counters": (
        *KERNELS,
        Cause(
            "no counters are recorded at Level0: profiler.experimental.profiler_level=Level1",
            "kernels without a core",
            _no_counting_core,
        ),
        Cause("communication has no counters", "kernels of communication alone", _of_communication),
    ),
    "stacks": (*UNREAD, _PARSER),
    "lines": LINES,
    "allocations": (*UNREAD, _PARSER),
    "marks": UNREAD,
    "l2_cache": KERNELS,
    "files": (*UNREAD, _PARSER),
    "samples": (*UNREAD, _REFUSED),
    "host data": (*UNREAD, _REFUSED),
    "modules": (*UNREAD, _PARSER),
    "attributes": (*KERNELS, _UNSUPPORTED),
    "dumps": (*UNREAD[:1], _LAUNCHES_NONE),
}
"""By what is missing."""
