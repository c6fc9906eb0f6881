"""A capture of torch_npu whose files all tell the same, and what they tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from harness import tables
from harness.capture.capture import Capture
from harness.capture.run_record import Consistency
from harness.execution.protocol import Outcome
from harness.readers import READERS
from harness.readers.base import ReadContext, ReadResult
from harness.verification.consistency import consistency
from tests.support.captures import capture

KERNELS = """\
Step Id,Stream ID,Name,Type,Accelerator Core,Start Time(us),Duration(us),\
aicore_time(us),aic_mac_time(us),aic_mac_ratio
1,2,mm,MatMulV2,AI_CORE,1000.000\t,10.000,8.000,4.000,0.5
1,2,relu,Relu,AI_VECTOR_CORE,1020.000\t,5.000,0.0,0.0,0.0
1,9,hcom_allReduce__1_0_1,hcom_allReduce_,HCCL,1022.000\t,30.000,N/A,N/A,N/A
2,2,mm,MatMulV2,AI_CORE,2000.000\t,12.000,0.900,0.301,0.335
"""
STATISTIC = """\
OP Type,Core Type,Count,Total Time(us),Ratio(%)
MatMulV2,AI_CORE,2,22.000,81.5
Relu,AI_VECTOR_CORE,1,5.000,18.5
"""
STEPS = """\
Step,Computing,Communication(Not Overlapped),Overlapped,Communication,Free
1,15.020,27.000,3.000,30.000,10.000
2,12.000,0,0,0,0
"""
COMMUNICATION = {
    "step1": {
        "p2p": {},
        "collective": {
            "hcom_allReduce__1_0_1@1": {
                "Communication Time Info": {
                    "Start Timestamp(us)": 1022.0,
                    "Elapse Time(ms)": 0.03,
                    "Transit Time(ms)": 0.02,
                    "Wait Time(ms)": 0.01,
                },
            },
        },
    },
}
SOURCES = {
    "kernel_details.csv": KERNELS,
    "op_statistic.csv": STATISTIC,
    "step_trace_time.csv": STEPS,
    "communication.json": json.dumps(COMMUNICATION),
}


Change = Callable[[str], str]


def taken(root: Path, **changes: Change) -> Capture:
    """Write a capture as torch_npu does, each file changed as asked, and read it."""
    folder = root / "raw" / "host_1_20250101000000000_ascend_pt"
    output = folder / "ASCEND_PROFILER_OUTPUT"
    output.mkdir(parents=True)
    for name, text in SOURCES.items():
        change = changes.get(name.partition(".")[0], str)
        (output / name).write_text(change(text), newline="")
    reading: ReadResult = READERS[0].read(folder, ReadContext())
    changed = {
        name: tables.frame(name, {column.name: column for column in frame})
        for name, frame in reading.frames.items()
    }
    bare = capture("device=npu", "profiler=level1", folder=root)
    return Capture(
        folder=root,
        expected=bare.expected,
        outcome=bare.outcome,
        analysis=Outcome(status="ok"),
        tables={**bare.tables, **changed},
        raw=(),
        event_counts=reading.event_counts,
    )


def judged(capture: Capture) -> dict[str, Consistency]:
    return {check.name: check for check in consistency(capture)}


RECORDS = """\
Component,Timestamp(us),Total Allocated(MB),Device Type
APP,0.500\t,,NPU:0
PTA,1.000\t,8,NPU:0
PTA+GE,1.000\t,8,NPU:0
PTA,2.000\t,9,NPU:0
PTA+GE,2.000\t,9,NPU:0
GE,3.000\t,4,NPU:0
PTA+GE,3.000\t,13,NPU:0
PTA,4.000\t,8,NPU:0
PTA+GE,4.000\t,12,NPU:0
"""
ALLOCATIONS = """\
Name,Size(KB),Allocation Time(us),Release Time(us),Active Release Time(us),Duration(us)
aten::mm,1024,2.000\t,4.000\t,4.000\t,2.000\t
cann::mm,4096,3.000\t,,,
"""
