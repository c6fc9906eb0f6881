"""The files that torch_npu's analysis writes into ASCEND_PROFILER_OUTPUT.

Contents and conditions come from torch_npu's profiler guide and msprof's reference of profile data
files; a file is only written if it has rows.
"""

from __future__ import annotations

import re
from typing import Final

FILES: Final = {
    "analyse.done": "empty: the analysis ended, successfully or not",
    "analysis.db": "communication and step times, as a database",
    "api_statistic.csv": "time of the host's calls into CANN, by layer and name (Level1, Level2)",
    "ascend_pytorch_profiler.db": "everything, as a sqlite database (export_type Db)",
    "communication.json": "time and bandwidth of communication operators (several devices)",
    "communication_matrix.json": "traffic between pairs of devices (several devices)",
    "data_preprocess.csv": "AI CPU operators (Level2)",
    "hccs.csv": "traffic between devices (sys_interconnection)",
    "kernel_details.csv": "one row a kernel: times, shapes, and the columns of the counter group",
    "l2_cache.csv": "hit and victim rate of the L2 cache, by kernel (l2_cache)",
    "memory_record.csv": "memory held over time, by component (profile_memory)",
    "nic.csv": "traffic of network ports (sys_io)",
    "npu_module_mem.csv": "memory held by CANN's parts over time (profile_memory)",
    "op_statistic.csv": "time and count of kernels by type and core (Level1, Level2)",
    "operator_details.csv": "one row an operator call: shapes, stack, host and device time",
    "operator_memory.csv": "one row an allocation: size, operator, lifetime (profile_memory)",
    "pcie.csv": "traffic between host and devices (sys_interconnection)",
    "roce.csv": "traffic of RDMA ports (sys_io)",
    "soc_pmu.csv": "hit rate of the address translation, by kernel (l2_cache)",
    "step_trace_time.csv": "device time of each step: computing, communication, free",
    "task_time.csv": "one row a task of the device",
    "trace_view.json": "the timeline, for Perfetto or MindStudio Insight",
}
"""The content of each file, and the setting that it needs."""
_RANK: Final = re.compile(r"_\d{1,9}(?=\.db$)")


def content_of(name: str) -> str | None:
    """Return what a file of this name holds, null if unknown; databases are named by their rank."""
    return FILES.get(_RANK.sub("", name))
