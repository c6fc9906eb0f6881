"""The settings of torch_npu's profiler. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from msgspec import Meta

from harness.settings.experimental import Experimental

ProfilerLevel = Literal["Level_none", "Level0", "Level1", "Level2"]

AiCMetrics = Literal[
    "AiCoreNone",
    "PipeUtilization",
    "ArithmeticUtilization",
    "Memory",
    "MemoryL0",
    "MemoryUB",
    "ResourceConflictRatio",
    "L2Cache",
    "MemoryAccess",
]

ExportType = Literal["Text", "Db"]

HostSystem = Literal["CPU", "MEM", "DISK", "NETWORK", "OSRT", "NUMA"]

DEFAULTS_OF_OUR_OWN: dict[str, str] = {
    "profiler_level": "torch_npu's Level0 does not go with its own default group of counters:"
    " it resets the group and warns; Level1 delivers both",
    "aic_metrics": "null is the group that goes with the level, so that a level can be chosen"
    " without naming a group",
}
"""Settings whose default differs from torch_npu's on purpose, and why."""


class NpuExperimental(
    Experimental, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="npu"
):
    """Every field of torch_npu 2.13's ``profiler._ExperimentalConfig``, by its own name.

    All but data_simplification, record_op_args, gc_detect_threshold and export_type need the
    activity device. The files lie in ASCEND_PROFILER_OUTPUT unless another place is named.
    """

    profiler_level: ProfilerLevel = "Level1"
    """How much CANN records. Level_none: marks alone; Level0: times of kernels (kernel_details.csv
    without types, streams and usually shapes, task_time.csv); Level1: + shapes, AscendCL calls,
    AI-core counters (op_statistic.csv, api_statistic.csv, communication.json); Level2: + the
    runtime and AI CPU (data_preprocess.csv). Each level records more, and costs more, than the one
    before. Level_none needs mstx. Read by: the profiler."""
    aic_metrics: AiCMetrics | None = None
    """The AI-core counters, columns at the end of kernel_details.csv; one group a run. null:
    derived from the level (PipeUtilization at Level1 and Level2, else AiCoreNone). Needs Level1 or
    Level2; MemoryAccess needs a CANN that has it, else torch_npu takes PipeUtilization.
    Read by: plan, the profiler."""
    l2_cache: bool = False
    """L2 cache and TLB hit rates of kernels, at any level: l2_cache.csv and soc_pmu.csv. The first
    kernel is missing, and an Ascend 910B gives N/A for each hit rate: there aic_metrics=L2Cache
    says more. Read by: the profiler."""
    msprof_tx: bool = False
    """The older name of mstx, with the same effect. Read by: the profiler."""
    mstx: bool = False
    """Marks and ranges that the program sets with torch_npu.npu.mstx, and torch_npu's own of
    dataloaders, checkpoints and communication: in trace_view.json, in a database MSTX_EVENTS.
    At any level; at Level_none nothing else is recorded. Read by: the profiler."""
    data_simplification: bool = True
    """After the analysis, delete CANN's own tables and timeline in PROF_*; raw data, FRAMEWORK and
    ASCEND_PROFILER_OUTPUT stay. Saves disk; host_sys has its tables only in what is deleted.
    Read by: the profiler."""
    record_op_args: bool = False
    """Operators' arguments, for the AOE tuning tool: a folder *_ascend_pt_op_args beside the
    capture. Not meant to go with a measurement of anything else. Read by: the profiler."""
    op_attr: bool = False
    """Attributes of aclnn operators: attrInfo of COMPUTE_TASK_INFO in the database. Needs
    export_type Db, a level above Level_none, and a CANN that has ATTR, else it is dropped.
    Read by: the profiler."""
    gc_detect_threshold: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    """Python garbage collections of at least this many milliseconds: a layer of trace_view.json,
    GC_RECORD in a database, FRAMEWORK/torch.gc_record; no file if there was none. 0: all, which
    can be much data; null: none. Needs the activity host. Read by: the profiler."""
    export_type: Annotated[tuple[ExportType, ...], Meta(min_length=1)] = ("Text",)
    """What the analysis writes. Text: csv and json, and with a new CANN the databases, too; Db:
    ascend_pytorch_profiler.db, and analysis.db with communication. Db needs an msprof that knows
    --type. Read by: the profiler."""
    host_sys: tuple[HostSystem, ...] = ()
    """Use of the host: CPU, memory, disk and system calls (OSRT) of the process, network of the
    system, NUMA: layers of trace_view.json; tables in PROF_*/mindstudio_profiler_output, which
    need data_simplification=false. DISK needs iotop; OSRT needs perf and ltrace, and slows a
    program that locks much. Read by: the profiler."""
    mstx_domain_include: tuple[str, ...] = ()
    """Record marks of these domains alone; marks that name none are in "default". Needs mstx, and
    excludes mstx_domain_exclude. Read by: the profiler."""
    mstx_domain_exclude: tuple[str, ...] = ()
    """Record no marks of these domains. Needs mstx, and excludes mstx_domain_include.
    Read by: the profiler."""
    sys_io: bool = False
    """Traffic of network cards and RoCE, sampled at 100 Hz: nic.csv and roce.csv, on machines that
    have such cards. Read by: the profiler."""
    sys_interconnection: bool = False
    """Traffic of HCCS and PCIe, sampled at 50 Hz: hccs.csv and pcie.csv. Read by: the profiler."""

    @classmethod
    def untold(cls) -> Self:
        """Return torch_npu's own defaults: Level0, and with it no counters."""
        return cls(profiler_level="Level0")

    def lowered(self) -> dict[str, Any]:
        """Return the keyword arguments, with the counter group that the level implies."""
        arguments = super().lowered()
        if self.aic_metrics is None:
            counting = self.profiler_level in {"Level1", "Level2"}
            arguments["aic_metrics"] = "PipeUtilization" if counting else "AiCoreNone"
        return arguments
