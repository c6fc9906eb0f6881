"""Of broken and partial captures: the reason that is printed, and the evidence that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from harness.capture.capture import Capture
from harness.execution.protocol import Outcome
from harness.tables.event_counts import EventCounts
from harness.tables.thread_counts import ThreadCounts
from harness.verification.delivery import verify
from tests.support.captures import Columns, capture

FOLDER = "raw/host_1_20260101000000000_ascend_pt"
OUTPUT = f"{FOLDER}/ASCEND_PROFILER_OUTPUT"
RAW = f"{FOLDER}/PROF_000001_20260101000000000_ABCDEFGH/host/info.json"
NPU = ("device=npu", "profiler=level1")
CPU = ("device=cpu",)
CUDA = ("device=cuda",)
ACTIVITIES = "profiler.activities"
COUNTERS = "profiler.experimental.aic_metrics"
NONE: Columns = MappingProxyType({})
OPERATORS: Columns = {"step": [1, 2, 3], "name": ["aten::view"] * 3}
NOT_KNOWN = "the cause is not known; looked for, and not there: "


def counts(seen: int, marks: int = 0) -> EventCounts:
    return EventCounts(seen=seen, rows=0, marks=marks, hidden=0)


class Case(NamedTuple):
    """A capture, and what is printed of it."""

    settings: tuple[str, ...]
    reason: str
    """The beginning of it."""
    evidence: str = ""
    """The end of it."""
    setting: str = ACTIVITIES
    imported: bool = False
    files: Mapping[str, str] = {}
    operators: Columns = NONE
    kernels: Columns = NONE
    event_counts: Mapping[str, EventCounts] = {}
    outcome: Outcome | None = None


def kernels_of(*steps: int, core: str | None = "AI_CORE") -> Columns:
    return {
        "step": list(steps),
        "name": ["k"] * len(steps),
        "type": ["Add"] * len(steps),
        "core": [core] * len(steps),
        "input_shapes": [[[2]]] * len(steps),
    }


CASES = {
    "no folder": Case(
        NPU, "torch_npu left no capture: its profiler", "(raw/ has no *_ascend_pt folder)"
    ),
    "msprof is missing, by the run's log": Case(
        NPU,
        "torch_npu found no msprof",
        "(harness.log, line 2: [ERROR] Failed to export CANN Profiling data. Error msg: Export CANN"
        " Profiling data failed! 'msprof' command not found!)",
        files={
            RAW: "{}",
            "harness.log": "hello\n[ERROR] Failed to export CANN Profiling data. Error msg: Export"
            " CANN Profiling data failed! 'msprof' command not found!\nbye\n",
        },
    ),
    "msprof failed, by a log of an imported capture": Case(
        NPU,
        "msprof failed to turn CANN's raw data into files",
        "(profiler_1_2_CANNExportParser.log, line 1: [ERROR] Failed to export CANN Profiling data)",
        imported=True,
        files={
            RAW: "{}",
            f"{FOLDER}/logs/profiler_1_2_CANNExportParser.log": "[ERROR] Failed to export CANN"
            " Profiling data\n",
        },
    ),
    "CANN did not start, by the run's log": Case(
        NPU,
        "CANN recorded nothing: its profiler did not start",
        "(harness.log, line 1: ProfilerActivity.NPU is set in activities, but CANN Profiling data"
        " does not exist.)",
        files={
            f"{OUTPUT}/trace_view.json": "[]",
            "harness.log": "ProfilerActivity.NPU is set in activities, but CANN Profiling data does"
            " not exist.\n",
        },
    ),
    "no raw data of a run": Case(
        NPU,
        "CANN recorded nothing that torch_npu could analyse",
        "(no PROF_* folder in host_1_20260101000000000_ascend_pt)",
        files={f"{OUTPUT}/trace_view.json": '[{"cat": "enqueue"}]'},
        operators=OPERATORS,
    ),
    "no raw data of an imported capture": Case(
        NPU,
        NOT_KNOWN,
        imported=True,
        files={f"{OUTPUT}/trace_view.json": '[{"cat": "enqueue"}]'},
        operators=OPERATORS,
    ),
    "not analysed": Case(
        NPU,
        "torch_npu has not analysed the raw data",
        "(a PROF_* folder and no ASCEND_PROFILER_OUTPUT in host_1_20260101000000000_ascend_pt)",
        imported=True,
        files={RAW: "{}"},
    ),
    "neither raw data nor an analysis": Case(
        NPU,
        "the capture is not whole",
        "(neither a PROF_* folder nor files in ASCEND_PROFILER_OUTPUT in"
        " host_1_20260101000000000_ascend_pt)",
        imported=True,
        files={f"{OUTPUT}/analyse.done": ""},
    ),
    "views": Case(
        NPU,
        "the recorded steps launch no kernel (trace_view.json has 3 operators, and of launches"
        " none",
        setting=COUNTERS,
        files={RAW: "{}", f"{OUTPUT}/trace_view.json": '[{"cat": "cpu_op"}]'},
        operators=OPERATORS,
    ),
    "a parser failed": Case(
        NPU,
        "a part of torch_npu's analysis failed",
        "(harness.log, line 1: Task [KernelViewParser] run failed.)",
        files={
            RAW: "{}",
            f"{OUTPUT}/trace_view.json": '[{"cat": "enqueue"}]',
            "harness.log": "Task [KernelViewParser] run failed.\n",
        },
        operators=OPERATORS,
    ),
    "kernels without counters": Case(
        NPU,
        NOT_KNOWN,
        setting=COUNTERS,
        files={RAW: "{}", f"{OUTPUT}/kernel_details.csv": "Name\nk\n"},
        operators=OPERATORS,
        kernels=kernels_of(1, 2, 3),
    ),
    "Level0": Case(
        NPU,
        "no counters are recorded at Level0",
        "(3 kernels, none with a core: Level0 records none)",
        setting=COUNTERS,
        files={RAW: "{}", f"{OUTPUT}/kernel_details.csv": "Name\nk\n"},
        operators=OPERATORS,
        kernels=kernels_of(1, 2, 3, core=None),
    ),
    "the head is lost": Case(
        NPU,
        "no event was recorded in step(s) 1, 2: CANN lost the beginning of the window",
        "(the first 2 recorded step(s) have none, all later ones have some)",
        setting="profiler.schedule",
        files={RAW: "{}", f"{OUTPUT}/kernel_details.csv": "Name\nk\n"},
        operators=OPERATORS,
        kernels=kernels_of(3),
    ),
    "no operator, but marks": Case(
        CPU,
        "the recorded steps run no operator of torch in their thread",
        "(the profiler recorded 6 marks of steps, and no operator)",
        event_counts={"user_annotation": counts(6, marks=6)},
    ),
    "another profiler": Case(
        CPU,
        "another profiler, which ran inside the workload, took the events",
        "(harness.log, line 1: [W] disableProfiler called but no active profiling session found.)",
        files={
            "harness.log": "[W] disableProfiler called but no active profiling session found.\n"
        },
    ),
    "nothing at all": Case(CPU, NOT_KNOWN),
    "a run that failed": Case(
        CPU,
        "the run ended before it had recorded them",
        "(failed: the workload raised ValueError: bad)",
        outcome=Outcome(status="failed", reason="the workload raised ValueError: bad"),
    ),
    "other threads": Case(
        CPU,
        "the profiler does not record other threads",
        "(20 of 23 operators of a step ran in 1 other thread(s) of the last warm-up step, which was"
        " recorded with all threads, and the recorded steps have none of these)",
        operators=OPERATORS,
        outcome=Outcome(
            status="ok",
            thread_counts=ThreadCounts(
                of_step={"aten::view": 3}, of_others=({"aten::mm": 19, "aten::t": 1},)
            ),
        ),
    ),
    "other threads on an NPU": Case(
        NPU,
        "torch_npu records the operators of the thread that profiles alone",
        "(20 of 23 operators of a step ran in 1 other thread(s) of the last warm-up step, which was"
        " recorded with all threads, and the recorded steps have none of these)",
        operators=OPERATORS,
        kernels=kernels_of(1, 2, 3),
        outcome=Outcome(
            status="ok",
            thread_counts=ThreadCounts(
                of_step={"aten::view": 3}, of_others=({"aten::mm": 19, "aten::t": 1},)
            ),
        ),
    ),
    "buffers of CUPTI": Case(
        CUDA,
        "CUPTI's buffers overflowed",
        "(harness.log, line 1: Exceeded max GPU buffer count (3 > 2))",
        files={"harness.log": "Exceeded max GPU buffer count (3 > 2)\n"},
        operators=OPERATORS,
    ),
    "CUPTI is held": Case(
        CUDA,
        "another tool holds CUPTI",
        "(harness.log, line 1: CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED)",
        files={"harness.log": "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED\n"},
        operators=OPERATORS,
    ),
    "calls of CUDA, but no kernel": Case(
        CUDA,
        "the recorded steps launch no kernel",
        "(6 calls of CUDA's runtime and driver, and no kernel)",
        operators=OPERATORS,
        event_counts={"cuda_runtime": counts(6)},
    ),
    "no calls of CUDA in a run": Case(
        CUDA,
        "CUPTI recorded nothing of CUDA",
        "(no call of CUDA's runtime in 3 step(s), and the harness makes one in each)",
        operators=OPERATORS,
    ),
    "no calls of CUDA in an imported trace": Case(
        CUDA, NOT_KNOWN, imported=True, operators=OPERATORS
    ),
}


def taken(case: Case, root: Path) -> Capture:
    for name, content in case.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    given = capture(*case.settings, folder=root, operators=case.operators, kernels=case.kernels)
    return replace(
        given,
        source="elsewhere" if case.imported else "",
        event_counts=dict(case.event_counts),
        outcome=case.outcome or given.outcome,
    )


@pytest.mark.parametrize("name", list(CASES))
def test_the_printed_reason_and_its_evidence(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    reasons = {item.setting: item for item in verify(taken(case, tmp_path))}
    delivery = reasons[case.setting]
    assert delivery.fails
    assert delivery.reason.startswith(case.reason)
    assert delivery.reason.endswith(case.evidence)
    assert ("harness.log" in delivery.reason) <= ("harness.log" in case.files)


def test_flops_of_an_imported_trace_are_not_checkable() -> None:
    words = ("device=cpu", "profiler.with_flops=true")
    given = replace(capture(*words, operators={"name": ["aten::mm"]}), source="trace.json")
    (flops,) = [item for item in verify(given) if item.setting == "profiler.with_flops"]
    assert (flops.status, flops.reason) == (
        "not_checkable",
        "torch writes no flops into a trace",
    )


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (None, "torch computed none for aten::mm: 1 of these 1 have no shapes, which the"),
        ([[2, 2], [2, 2]], "torch computed none for aten::mm, which have shapes; the cause is not"),
    ],
)
def test_missing_flops_of_a_run_are_told_by_shapes(
    shapes: list[list[int]] | None, words: str
) -> None:
    operators: Columns = {
        "name": ["aten::mm"],
        "input_shapes": [shapes],
        "input_dtypes": [["float"] * 2],
    }
    given = capture("device=cpu", "profiler.with_flops=true", operators=operators)
    (flops,) = [item for item in verify(given) if item.setting == "profiler.with_flops"]
    assert (flops.status, flops.reason.startswith(words)) == ("missing", True)
