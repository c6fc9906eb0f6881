"""What a fault of CANN, of msprof or of a capture becomes: an exit code, and the setting named."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from harness.emulator.build import Emulator
from tests.conftest import TINY_MLP, Harness, ended, run_harness, started
from tests.npu.rehearsing import undelivered


@pytest.fixture(autouse=True)
def built(emulator: Emulator) -> Emulator:
    """Compile it once, outside of the runs."""
    return emulator


FAULTS = [
    (
        ["profiler.experimental.aic_metrics=MemoryAccess"],
        "missing_features=[MemoryAccess]",
        {"profiler.experimental.aic_metrics": "substituted"},
    ),
    (
        ["profiler=level0", "profiler.record_shapes=true"],
        "missing_features=[AICORE_SHAPE]",
        {"profiler.record_shapes": "partial"},
    ),
    (
        ["profiler.experimental.op_attr=true", "profiler.experimental.export_type=[Text,Db]"],
        "missing_features=[ATTR]",
        {"profiler.experimental.op_attr": "missing"},
    ),
    ([], "lost_head=0.2", {"profiler.schedule": "missing"}),
    ([], "lost_head=0.5", {"profiler.schedule": "missing"}),
    ([], "dropped_kernels=1", {"profiler.schedule": "missing"}),
    ([], "na_shapes=[MatMulV2]", {"profiler.record_shapes": "partial"}),
    (
        ["profiler.experimental.l2_cache=true"],
        "empty_hit_rate=true",
        {"profiler.experimental.l2_cache": "partial"},
    ),
    (
        ["profiler.experimental.sys_io=true"],
        "rejected_settings=[sys_io]",
        {"profiler.experimental.sys_io": "missing"},
    ),
    (
        ["profiler.experimental.sys_interconnection=true"],
        "rejected_settings=[sys_interconnection]",
        {"profiler.experimental.sys_interconnection": "missing"},
    ),
    (
        ["profiler.experimental.host_sys=[CPU,MEM]"],
        "rejected_settings=[host_sys]",
        {"profiler.experimental.host_sys": "missing"},
    ),
]


@pytest.mark.parametrize(("asked", "fault", "found"), FAULTS, ids=[each[1] for each in FAULTS])
def test_a_fault_is_exit_3_and_names_the_setting(
    shared_run: Harness, asked: list[str], fault: str, found: dict[str, str]
) -> None:
    run = shared_run("rehearse", *asked, *TINY_MLP, f"rehearsal.faults.{fault}")
    assert run.code == 3, run.err
    assert undelivered(run.record) == found
    for setting in found:
        assert f"  {setting}: " in run.out


@pytest.mark.parametrize("fault", ["msprof=fails", "msprof=missing", "start_fails=true"])
def test_without_tables_every_setting_is_missing_and_the_reason_is_named(
    tmp_path: Path, fault: str
) -> None:
    run = run_harness(tmp_path, "rehearse", *TINY_MLP, f"rehearsal.faults.{fault}")
    assert run.code == 3, run.err
    missing = undelivered(run.record)
    assert missing["profiler.activities"] in {"missing", "partial"}
    assert missing["profiler.experimental.aic_metrics"] == "missing"


def test_a_short_step_is_named(shared_run: Harness) -> None:
    run = shared_run("rehearse", *TINY_MLP, "rehearsal.faults.lost_head=0.2")
    # 12 of 57 kernels are lost, all of the first recorded step.
    assert "step 1 has 7 of 19 kernels" in " ".join(run.out.split())


@pytest.mark.parametrize("name", ["record_shapes", "profiler.record_shapes"])
def test_partial_shapes_pass_if_accepted(tmp_path: Path, name: str) -> None:
    fault = "rehearsal.faults.na_shapes=[MatMulV2]"
    run = run_harness(tmp_path, "rehearse", *TINY_MLP, f"delivery.accept=[{name}]", fault)
    assert run.code == 0, run.err
    assert "profiler.record_shapes: accepted by delivery.accept" in run.out


@pytest.mark.parametrize(
    ("asked", "fault", "found"),
    [FAULTS[0], FAULTS[3], FAULTS[7], ([], "msprof=fails", {})],
    ids=["swapped", "lost head", "empty l2", "msprof"],
)
def test_what_is_accepted_is_that_alone(
    tmp_path: Path, asked: list[str], fault: str, found: dict[str, str]
) -> None:
    words = [*asked, *TINY_MLP, "delivery.accept=[record_shapes]", f"rehearsal.faults.{fault}"]
    run = run_harness(tmp_path, "rehearse", *words, "rehearsal.faults.na_shapes=[MatMulV2]")
    assert run.code == 3, run.err
    failing = {item.setting for item in run.record.delivery if item.fails}
    assert failing == set(found) if found else failing > {"profiler.activities"}


def test_a_crash_at_stop_is_exit_1_and_what_was_recorded_is_kept(tmp_path: Path) -> None:
    run = run_harness(tmp_path, "rehearse", *TINY_MLP, "rehearsal.faults.crash_at_stop=true")
    assert run.code == 1, run.err
    assert "the child process died of SIG" in run.out
    assert (run.record.emulated, "EMULATED device" in run.out) == (True, True)
    assert list(run.latest.glob("raw/*_ascend_pt/PROF_*"))
    assert run.table("steps").height > 0


def test_later_leaves_the_verdict_pending_and_read_completes_it(tmp_path: Path) -> None:
    run = run_harness(tmp_path, "rehearse", *TINY_MLP, "profiler.analyse=later")
    assert run.code == 0, run.err
    assert (run.record.verdict, run.record.delivery) == ("pending", ())
    assert "captures are not analysed yet" in " ".join(run.out.split())
    assert not list(run.latest.glob("raw/*/ASCEND_PROFILER_OUTPUT"))
    read = run_harness(tmp_path, "read", "outputs/latest")
    assert read.code == 0, read.err
    assert (read.record.verdict, read.record.emulated) == ("delivered", True)
    assert read.record.overrides == run.record.overrides
    assert read.table("kernels").height == 57


def test_an_analysis_past_its_limit_is_exit_3_and_read_tries_again(tmp_path: Path) -> None:
    words = [*TINY_MLP, "rehearsal.faults.slow_analysis_s=10", "profiler.analyse_timeout_s=6"]
    run = run_harness(tmp_path, "rehearse", *words)
    assert run.code == 3, run.err
    assert "ran past profiler.analyse_timeout_s=6" in " ".join(run.out.split())
    again = run_harness(tmp_path, "read", "outputs/latest", "profiler.analyse_timeout_s=100")
    assert again.code == 0, again.err
    assert again.record.verdict == "delivered"


def test_ctrl_c_during_the_analysis_keeps_what_was_recorded(tmp_path: Path) -> None:
    words = ["rehearse", *TINY_MLP, "rehearsal.faults.slow_analysis_s=6"]
    with started(tmp_path, *words) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("analysis by torch_npu"):
                break
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        run = ended(running, tmp_path)
    assert run.code == 130, run.out
    assert (run.record.status, run.record.verdict) == ("interrupted", "pending")
    assert list(run.latest.glob("raw/*_ascend_pt/PROF_*"))
    read = run_harness(tmp_path, "read", "outputs/latest")
    assert (read.code, read.record.verdict) == (0, "delivered")
