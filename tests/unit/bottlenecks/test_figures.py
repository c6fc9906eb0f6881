"""Ratios, work and rates of the table of bottlenecks: each by the run that it comes from."""

from __future__ import annotations

import pytest

from harness.bottlenecks.table import bottlenecks
from tests.support.joined import analysis, joined, only

P, A, M, L = "PipeUtilization", "ArithmeticUtilization", "MemoryAccess", "L2Cache"


def test_ratios_are_weighted_by_the_cycles_of_their_own_run() -> None:
    row = only(
        {
            f"aic_total_cycles@{P}": [1000, 3000],
            f"aic_total_cycles@{A}": [7000, 1],
            f"aiv_total_cycles@{P}": [0, 0],
            "aic_mac_ratio": [0.2, 0.6],
            "aiv_vec_ratio": [0.0, 0.0],
            "aic_icache_miss_rate": [0.01, 0.05],
        },
        P,
        A,
    )
    assert row["aic_mac_ratio"] == pytest.approx(0.5)
    assert row["aic_icache_miss_rate"] == pytest.approx(0.04)
    # The half that does not run is not one that is idle.
    assert row["aiv_vec_ratio"] is None
    assert row["aic_mte2_ratio"] is None
    assert (row["dominant_pipe"], row["dominant_ratio"]) == ("aic_mac", pytest.approx(0.5))


def test_a_kernel_without_counters_has_no_weight() -> None:
    row = only(
        {f"aic_total_cycles@{P}": [1000, None], "aic_mac_ratio": [0.4, None]},
        P,
    )
    assert row["aic_mac_ratio"] == pytest.approx(0.4)


def test_a_group_that_two_runs_measured_is_averaged_over_both() -> None:
    row = only(
        {
            "aic_total_cycles@one": [1000, 1000],
            "aic_total_cycles@two": [3000, None],
            "aic_mac_ratio@one": [0.2, 0.6],
            "aic_mac_ratio@two": [0.4, None],
            "aic_cube_fops@one": [100, 50],
            "aic_cube_fops@two": [300, None],
            "aiv_vector_fops@one": [0, 0],
            "duration_ns@one": [100, 100],
            "duration_ns@two": [300, None],
        },
        "one",
        "two",
    )
    # (200 + 600 + 1200) of 5000 cycles.
    assert row["aic_mac_ratio"] == pytest.approx(0.4)
    assert (row["cube_fops"], row["vector_fops"], row["fops"]) == (250, 0, 250)
    # 250 operations in 200 + 100 ns.
    assert row["achieved_tops"] == pytest.approx(250 / 300 / 1e3)


@pytest.mark.parametrize(
    ("runs", "sources", "ratio"),
    [
        # By its label, whatever else the label says.
        (("0", f"aic_metrics={P}"), None, 0.5),
        (("0", "1"), {"aic_mac_ratio": "1"}, 0.5),
        # Nothing tells, so the cycles are the mean over both.
        (("0", "1"), None, (0.2 * 2000 + 0.6 * 1600) / 3600),
        # A label that only begins like the group's name is another group's.
        (("0", f"{P}Old"), None, (0.2 * 2000 + 0.6 * 1600) / 3600),
    ],
)
def test_a_column_of_one_run_is_weighted_by_the_run_that_it_comes_from(
    runs: tuple[str, str], sources: dict[str, str] | None, ratio: float
) -> None:
    first, second = runs
    table = joined(
        runs,
        {
            f"aic_total_cycles@{first}": [3000, 200],
            f"aic_total_cycles@{second}": [1000, 3000],
            "aic_mac_ratio": [0.2, 0.6],
        },
    )
    (row,) = bottlenecks(table, runs, analysis(), sources).rows(named=True)
    assert row["aic_mac_ratio"] == pytest.approx(ratio)


def test_work_and_its_ratios() -> None:
    row = only(
        {
            f"duration_ns@{A}": [1000, 3000],
            f"duration_ns@{M}": [2000, 3000],
            f"aic_total_cycles@{A}": [100, 300],
            f"aiv_total_cycles@{A}": [100, 100],
            "aic_mac_fp16_ratio": [0.3, 0.5],
            "aic_mac_int8_ratio": [0.1, 0.1],
            "aiv_vec_fp32_ratio": [0.1, 0.3],
            "aiv_vec_fp16_ratio": [0.0, 0.0],
            "aiv_vec_int32_ratio": [0.0, 0.0],
            "aiv_vec_misc_ratio": [0.3, 0.1],
            "aic_cube_fops": [1_000_000, 3_000_000],
            "aiv_vector_fops": [1000, 7000],
            "aic_read_main_memory_datas(KB)": [8.0, 16.0],
            "aiv_read_main_memory_datas(KB)": [1.0, 1.0],
            "aic_write_main_memory_datas(KB)": [2.0, 4.0],
            "aic_GM_to_L1_datas(KB)": [4.0, 4.0],
            "aic_L0C_to_GM_datas(KB)": [1.0, 1.0],
            "aiv_GM_to_UB_datas(KB)": [0.5, 0.5],
            "aiv_UB_to_GM_datas(KB)": [0.25, 0.25],
        },
        A,
        M,
    )
    # 30 + 150 cycles on fp16, 10 + 30 on int8.
    assert row["cube_fp16_share"] == pytest.approx(180 / 220)
    assert row["cube_int8_share"] == pytest.approx(40 / 220)
    names = ("fp32", "fp16", "int32", "misc")
    assert [row[f"vector_{name}_share"] for name in names] == pytest.approx([0.5, 0, 0, 0.5])
    assert (row["cube_fops"], row["vector_fops"], row["fops"]) == (4_000_000, 8000, 4_008_000)
    assert row["main_memory_read_bytes"] == 26 * 1024
    assert row["main_memory_write_bytes"] == 6 * 1024
    assert row["main_memory_bytes"] == 32 * 1024
    assert row["gm_to_l1_bytes"] == 8 * 1024
    assert (row["gm_to_ub_bytes"], row["ub_to_gm_bytes"]) == (1024, 512)
    assert row["l0c_to_l1_bytes"] is None
    assert row["intensity"] == pytest.approx(4_008_000 / (32 * 1024))
    # Each in the time of its own run: 4 µs and 5 µs.
    assert row["achieved_tops"] == pytest.approx(4_008_000 / 4000 / 1e3)
    assert row["main_memory_gbps"] == pytest.approx(32 * 1024 / 5000)
    assert row["l2_gbps"] == pytest.approx((8 + 2 + 1 + 0.5) * 1024 / 5000)


def test_intensity_is_of_the_kernels_that_both_runs_have() -> None:
    row = only(
        {
            f"duration_ns@{A}": [1000, 1000, None],
            f"duration_ns@{M}": [1000, None, 1000],
            "aic_cube_fops": [2048, 999_999, None],
            "aiv_vector_fops": [0, 0, None],
            "aic_read_main_memory_datas(KB)": [1.0, None, 77.0],
            "aic_write_main_memory_datas(KB)": [1.0, None, 77.0],
        },
        A,
        M,
    )
    assert (row["fops"], row["main_memory_bytes"]) == (2048 + 999_999, 156 * 1024)
    assert row["intensity"] == 1.0


def test_work_of_which_a_part_is_not_known_is_not_known() -> None:
    row = only({"aic_cube_fops": [100], "aic_read_main_memory_datas(KB)": [1.0]}, A, M)
    assert (row["cube_fops"], row["vector_fops"], row["fops"]) == (100, None, None)
    assert (row["main_memory_read_bytes"], row["main_memory_bytes"]) == (1024, None)
    assert (row["intensity"], row["achieved_tops"], row["main_memory_gbps"]) == (None, None, None)


def test_hit_rates_are_of_accesses() -> None:
    row = only(
        {
            "aic_write_cache_hit": [1, 2],
            "aic_write_cache_miss_allocate": [3, 0],
            "aiv_write_cache_hit": [2, 0],
            "aiv_write_cache_miss_allocate": [0, 2],
            "aic_r0_read_cache_hit": [6, 2],
            "aic_r0_read_cache_miss_allocate": [1, 1],
            "aic_r1_read_cache_hit": [0, 0],
            "aic_r1_read_cache_miss_allocate": [4, 1],
        },
        L,
    )
    assert row["l2_write_hit_rate"] == pytest.approx(5 / 10)
    assert row["l2_r0_hit_rate"] == pytest.approx(8 / 10)
    assert row["l2_r1_hit_rate"] == 0
    assert row["l2_read_hit_rate"] == pytest.approx(8 / 15)
    assert row["l2_hit_rate"] == pytest.approx(13 / 25)


def test_no_access_is_no_hit_rate() -> None:
    row = only({"aic_write_cache_hit": [0], "aic_write_cache_miss_allocate": [0]}, L)
    assert (row["l2_write_hit_rate"], row["l2_hit_rate"]) == (None, None)


def test_ascend_950_counts_its_cache_by_other_names() -> None:
    row = only(
        {
            "aic_read_local_l2_hit": [3],
            "aic_read_local_l2_miss": [1],
            "aic_read_local_l2_victim": [1],
            "aic_write_local_l2_hit": [1],
            "aic_write_local_l2_miss": [0],
        },
        L,
    )
    assert (row["l2_read_hit_rate"], row["l2_write_hit_rate"]) == (0.75, 1.0)
    assert row["l2_hit_rate"] == pytest.approx(0.8)
    assert (row["l2_r0_hit_rate"], row["l2_r1_hit_rate"]) == (None, None)


def test_cores_that_are_not_split_have_names_without_a_prefix() -> None:
    row = only(
        {
            f"total_cycles@{P}": [100, 300],
            f"total_cycles@{A}": [100, 300],
            f"aicore_time(us)@{P}": [0.5, 0.7],
            f"duration_ns@{P}": [1000, 1000],
            "mac_ratio": [0.1, 0.1],
            "vec_ratio": [0.2, 0.6],
            "mte2_ratio": [0.9, 0.9],
            "memory_bound": [4.5, 1.5],
            "mac_fp16_ratio": [0.1, 0.1],
            "vec_fp32_ratio": [0.4, 0.4],
            "cube_fops": [10, 20],
            "vector_fops": [1, 2],
            "write_cache_hit": [1, 1],
            "write_cache_miss_allocate": [1, 1],
            "ub_read_bw(GB/s)": [10.0, 20.0],
            "l2_read_bw": [4.0, 8.0],
        },
        P,
        A,
    )
    assert row["vec_ratio"] == pytest.approx(0.5)
    # mte2 to the greater of the two, as CANN has it: 0.9 / 0.5.
    assert row["memory_bound"] == pytest.approx(1.8)
    assert row["dominant_pipe"] == "mte2"
    assert (row["fops"], row["cube_fp16_share"], row["vector_fp32_share"]) == (33, 1, 1)
    assert row["l2_write_hit_rate"] == 0.5
    # No run of the group Memory is known: the mean of the cycles, which are the same.
    assert row["ub_read_bw(GB/s)"] == pytest.approx(17.5)
    assert row["l2_read_bw(GB/s)"] == pytest.approx(7)
    assert row["core_time_ratio"] == pytest.approx(0.6)


def test_pipes_under_their_other_name() -> None:
    row = only({f"total_cycles@{P}": [100], "vec_exe_ratio": [0.3]}, P)
    assert row["vec_ratio"] == pytest.approx(0.3)


def test_without_cycles_a_rate_is_weighted_by_the_duration() -> None:
    row = only({f"duration_ns@{P}": [100, 300], "cube_utilization(%)": [80.0, 40.0]}, P)
    assert row["cube_utilization(%)"] == pytest.approx(50)


def test_time_on_the_core_is_that_of_the_longer_half() -> None:
    row = only(
        {
            f"duration_ns@{P}": [10_000, 5_000],
            f"duration_ns@{A}": [20_000, 5_000],
            f"aicore_time(us)@{P}": [8.0, None],
            f"aicore_time(us)@{A}": [10.0, None],
            f"aiv_time(us)@{P}": [9.0, None],
            f"aiv_time(us)@{A}": [1.0, None],
        },
        P,
        A,
    )
    # (9 + 10) µs of 30 µs: never a time of one run and a duration of another. A kernel without
    # counters does not count.
    assert row["core_time_ratio"] == pytest.approx(19 / 30)


def test_a_mixed_kernel_counts_a_half_by_the_time_that_it_took() -> None:
    columns: dict[str, list[object]] = {
        "core": ["MIX_AIC"],
        f"aic_total_cycles@{P}": [100],
        f"aiv_total_cycles@{P}": [100],
        f"aicore_time(us)@{P}": [80.0],
        f"aiv_time(us)@{P}": [20.0],
        "aic_mac_ratio": [0.3],
        "aiv_vec_ratio": [0.9],
    }
    row = only(columns, P)
    # 0.9 of a fourth of the time: the vector half is not what the kernel waits for.
    assert (row["dominant_pipe"], row["dominant_ratio"]) == ("aic_mac", pytest.approx(0.3))
    assert row["aiv_vec_ratio"] == pytest.approx(0.9)
    row = only(columns | {f"aiv_time(us)@{P}": [80.0]}, P)
    assert (row["dominant_pipe"], row["dominant_ratio"]) == ("aiv_vec", pytest.approx(0.9))
