"""The delivery checks. A new one is a function here and a line in a table."""

from __future__ import annotations

from collections.abc import Mapping

from harness.devices import READABLE
from harness.devices.npu import TORCH_NPU
from harness.devices.torch_profiler import TORCH
from harness.settings.expectations import BUFFERS
from harness.verification.checks import npu, portable, torch_profiler
from harness.verification.checks.base import DeliveryCheck

PORTABLE: Mapping[str, DeliveryCheck] = {
    "profiler.activities": portable.activities,
    "profiler.schedule": portable.schedule,
    "profiler.record_shapes": portable.record_shapes,
    "profiler.with_stack": portable.with_stack,
    "profiler.with_lines": portable.with_lines,
    "profiler.profile_memory": portable.profile_memory,
    "profiler.with_modules": portable.with_modules,
    "profiler.with_flops": portable.with_flops,
    "profiler.memory_timeline": portable.memory_timeline,
    "profiler.experimental.performance_events": portable.performance_events,
}
"""The checks that look at tables, which all profilers fill alike."""

BY_PROFILER: Mapping[str, Mapping[str, DeliveryCheck]] = {
    TORCH.name: {
        BUFFERS: torch_profiler.buffers,
        "profiler.experimental.profile_all_threads": torch_profiler.profile_all_threads,
        "profiler.experimental.record_python_gc_info": torch_profiler.record_python_gc_info,
        "profiler.experimental.enable_cuda_sync_events": torch_profiler.enable_cuda_sync_events,
        "profiler.experimental.profiler_metrics": torch_profiler.profiler_metrics,
    },
    TORCH_NPU.name: {
        "profiler.activities": npu.activities,
        "profiler.with_modules": npu.with_modules,
        "profiler.with_flops": npu.with_flops,
        "profiler.experimental.profiler_level": npu.profiler_level,
        "profiler.experimental.aic_metrics": npu.aic_metrics,
        "profiler.experimental.l2_cache": npu.l2_cache,
        "profiler.experimental.msprof_tx": npu.mstx,
        "profiler.experimental.mstx": npu.mstx,
        "profiler.experimental.mstx_domain_include": npu.mstx_domain_include,
        "profiler.experimental.mstx_domain_exclude": npu.mstx_domain_exclude,
        "profiler.experimental.data_simplification": npu.data_simplification,
        "profiler.experimental.record_op_args": npu.record_op_args,
        "profiler.experimental.op_attr": npu.op_attr,
        "profiler.experimental.gc_detect_threshold": npu.gc_detect_threshold,
        "profiler.experimental.export_type": npu.export_type,
        "profiler.experimental.host_sys": npu.host_sys,
        "profiler.experimental.sys_io": npu.sys_io,
        "profiler.experimental.sys_interconnection": npu.sys_interconnection,
    },
}
"""The checks of a profiler's own settings, and those that look elsewhere with that profiler."""


def check_of(setting: str, device: str) -> DeliveryCheck | None:
    """Return the check of a setting on a device; None if there is none."""
    own_checks = BY_PROFILER.get(READABLE[device].profiled_by.name, {})
    return own_checks.get(setting) or PORTABLE.get(setting)
