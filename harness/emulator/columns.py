"""The headers of CANN's ``op_summary``, by era of CANN and by counter group.

Names and order follow msprof's own sources (``analysis/csrc/application/summary``,
``analysis/csrc/domain/entities/metric``) for chips whose AI cores are split into cube (``aic``) and
vector (``aiv``) halves: Atlas A2 and A3.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from harness.settings.faults import ERAS, Era

TENSOR_COLUMNS: Final = (
    "Input Shapes",
    "Input Data Types",
    "Input Formats",
    "Output Shapes",
    "Output Data Types",
    "Output Formats",
)


def base_header(era: Era) -> tuple[str, ...]:
    """Return the columns in front of the counters."""
    return (
        "Device_id",
        "Model ID",
        "Task ID",
        "Stream ID",
        "Op Name",
        "OP Type",
        "OP State",
        "Task Type",
        "Task Start Time(us)",
        "Task Duration(us)",
        "Task Wait Time(us)",
        *ERAS[era],
        "HF32 Eligible",
        *TENSOR_COLUMNS,
        "Context ID",
    )


class Group(NamedTuple):
    """The columns of a counter group for each half, after the half's time and cycles."""

    name: str
    aic: tuple[str, ...]
    aiv: tuple[str, ...]
    last: tuple[str, ...] = ()


def _pipes(half: str, *names: str) -> tuple[str, ...]:
    pairs = [(f"{half}_{name}_time(us)", f"{half}_{name}_ratio") for name in names]
    return (*(column for pair in pairs for column in pair), f"{half}_icache_miss_rate")


def _bandwidths(half: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{half}_{name}(GB/s)" for name in names)


def _caches(half: str) -> tuple[str, ...]:
    which = ("write_cache", "r0_read_cache", "r1_read_cache")
    return tuple(f"{half}_{name}_{end}" for name in which for end in ("hit", "miss_allocate"))


def _moved(half: str) -> tuple[str, ...]:
    paths = ("read_main_memory", "write_main_memory", "GM_to_L1", "L0C_to_L1", "L0C_to_GM")
    return tuple(f"{half}_{path}_datas(KB)" for path in (*paths, "GM_to_UB", "UB_to_GM"))


GROUPS: Final = {
    0: Group(
        "ArithmeticUtilization",
        ("aic_mac_fp16_ratio", "aic_mac_int8_ratio", "aic_cube_fops"),
        (
            "aiv_vec_fp32_ratio",
            "aiv_vec_fp16_ratio",
            "aiv_vec_int32_ratio",
            "aiv_vec_misc_ratio",
            "aiv_vector_fops",
        ),
    ),
    1: Group(
        "PipeUtilization",
        _pipes("aic", "mac", "scalar", "mte1", "mte2", "fixpipe"),
        _pipes("aiv", "vec", "scalar", "mte2", "mte3"),
        ("cube_utilization(%)",),
    ),
    2: Group(
        "Memory",
        _bandwidths(
            "aic",
            "l1_read_bw",
            "l1_write_bw",
            "main_mem_read_bw",
            "main_mem_write_bw",
            "l2_read_bw",
            "l2_write_bw",
        ),
        _bandwidths(
            "aiv",
            "ub_read_bw",
            "ub_write_bw",
            "main_mem_read_bw",
            "main_mem_write_bw",
            "l2_read_bw",
            "l2_write_bw",
        ),
    ),
    3: Group(
        "MemoryL0",
        _bandwidths(
            "aic",
            "l0a_read_bw",
            "l0a_write_bw",
            "l0b_read_bw",
            "l0b_write_bw",
            "l0c_read_bw_cube",
            "l0c_write_bw_cube",
        ),
        _bandwidths("aiv", "l0c_read_bw", "l0c_write_bw"),
    ),
    4: Group(
        "ResourceConflictRatio",
        (),
        ("aiv_vec_bankgroup_cflt_ratio", "aiv_vec_bank_cflt_ratio", "aiv_vec_resc_cflt_ratio"),
    ),
    5: Group(
        "MemoryUB",
        _bandwidths("aic", "ub_read_bw_scalar", "ub_write_bw_scalar"),
        _bandwidths(
            "aiv",
            "ub_read_bw_vector",
            "ub_write_bw_vector",
            "ub_read_bw_scalar",
            "ub_write_bw_scalar",
        ),
    ),
    6: Group("L2Cache", _caches("aic"), _caches("aiv")),
    8: Group("MemoryAccess", _moved("aic"), _moved("aiv")),
}
"""By the value of ``aicoreMetrics`` that ``aclprofCreateConfig`` receives; 255 is no group."""


def counter_header(metrics: int) -> tuple[str, ...]:
    """Return the columns of a group; every group has the time and the cycles of each half."""
    group = GROUPS.get(metrics)
    if group is None:
        return ()
    aic = ("aicore_time(us)", "aic_total_cycles", *group.aic)
    return (*aic, "aiv_time(us)", "aiv_total_cycles", *group.aiv, *group.last)
