"""The settings of torch_npu's profiler, and those that it would reset. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from harness.devices.base import Experimental
from harness.errors import Problem

if TYPE_CHECKING:
    from harness.config import Request

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


class NpuExperimental(
    Experimental, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="npu"
):
    """Every field of torch_npu 2.13's ``profiler._ExperimentalConfig``, by its own name."""

    profiler_level: ProfilerLevel = "Level1"
    """How much CANN records: nothing but markers, task durations, + AscendCL and AI-core
    counters, + runtime and AI CPU. torch_npu's own default is Level0. Read by: the profiler."""
    aic_metrics: AiCMetrics | None = None
    """The one AI-core counter group of a run, columns of kernel_details; null: derived from the
    level (PipeUtilization at Level1 and Level2, else AiCoreNone). Read by: plan, the profiler."""
    l2_cache: bool = False
    """L2 hit rates for each kernel, in l2_cache.csv. Read by: the profiler."""
    msprof_tx: bool = False
    """The older name of mstx. Read by: the profiler."""
    mstx: bool = False
    """Record marks and ranges of the program's own. Read by: the profiler."""
    data_simplification: bool = True
    """Delete the intermediate files after analysis. Read by: the profiler."""
    record_op_args: bool = False
    """Dump operator arguments, for tuning of operators. Read by: the profiler."""
    op_attr: bool = False
    """Record operator attributes; needs export_type Db. Read by: the profiler."""
    gc_detect_threshold: Annotated[float, Meta(ge=0)] | None = None
    """Record Python garbage collections longer than this, in milliseconds; 0: all; null: none.
    Read by: the profiler."""
    export_type: Annotated[tuple[ExportType, ...], Meta(min_length=1)] = ("Text",)
    """What the analysis writes: csv and json files, a sqlite database. Read by: the profiler."""
    host_sys: tuple[HostSystem, ...] = ()
    """Host system data to record beside. Read by: the profiler."""
    mstx_domain_include: tuple[str, ...] = ()
    """Record only marks of these domains; needs mstx. Read by: the profiler."""
    mstx_domain_exclude: tuple[str, ...] = ()
    """Record no marks of these domains; needs mstx. Read by: the profiler."""
    sys_io: bool = False
    """NIC and RoCE traffic. Read by: the profiler."""
    sys_interconnection: bool = False
    """HCCS and PCIe traffic. Read by: the profiler."""

    def lowered(self) -> dict[str, Any]:
        """Return the keyword arguments, with the counter group that the level implies."""
        arguments = super().lowered()
        if self.aic_metrics is None:
            counting = self.profiler_level in {"Level1", "Level2"}
            arguments["aic_metrics"] = "PipeUtilization" if counting else "AiCoreNone"
        return arguments


def npu_problems(request: Request) -> Iterator[Problem]:
    """Yield what torch_npu would reset with a printed warning."""
    experimental = request.profiler.experimental
    assert isinstance(experimental, NpuExperimental)
    level, metrics = experimental.profiler_level, experimental.aic_metrics
    if level in {"Level_none", "Level0"} and metrics not in {None, "AiCoreNone"}:
        yield Problem(
            setting="profiler.experimental.aic_metrics",
            given=str(metrics),
            allowed=f"profiler_level={level} collects no AI-core counters, and torch_npu"
            " resets the group to AiCoreNone",
            fix="profiler.experimental.profiler_level=Level1, or aic_metrics=null",
        )
    marks = experimental.mstx or experimental.msprof_tx
    if level == "Level_none" and not marks:
        yield Problem(
            setting="profiler.experimental.mstx",
            given="false",
            allowed="profiler_level=Level_none records nothing but marks",
            fix="profiler.experimental.mstx=true",
        )
    if experimental.op_attr and "Db" not in experimental.export_type:
        yield Problem(
            setting="profiler.experimental.op_attr",
            given="true",
            allowed="operator attributes are written to the database only",
            fix="profiler.experimental.export_type=[Text,Db]",
        )
    if experimental.gc_detect_threshold is not None and ("host" not in request.profiler.activities):
        yield Problem(
            setting="profiler.experimental.gc_detect_threshold",
            given=f"{experimental.gc_detect_threshold:g}",
            allowed="garbage collections are host events, and activities leaves the host out",
            fix="profiler.activities=[host,device], or gc_detect_threshold=null",
        )
    if request.profiler.with_flops and not marks:
        yield Problem(
            setting="profiler.with_flops",
            given="true",
            allowed="torch_npu counts flops only where it records marks",
            fix="profiler.experimental.mstx=true, or profiler.with_flops=false",
        )
    include, exclude = experimental.mstx_domain_include, experimental.mstx_domain_exclude
    if (include or exclude) and not marks:
        yield Problem(
            setting="profiler.experimental.mstx",
            given="false",
            allowed="mstx domains are chosen, but no marks are recorded",
            fix="profiler.experimental.mstx=true",
        )
    if include and exclude:
        yield Problem(
            setting="profiler.experimental.mstx_domain_exclude",
            given="[" + ",".join(exclude) + "]",
            allowed="torch_npu takes the included or the excluded domains, not both",
            fix="profiler.experimental.mstx_domain_exclude=[]",
        )
