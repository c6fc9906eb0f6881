"""Each file that the real torch_npu writes, cut off: exit code 3, and the file is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.capture.load import collect_capture
from harness.capture.run_record import READ, RunRecord
from harness.emulator.build import Emulator
from harness.pipeline.reading import read_capture
from harness.readers.ascend.folder import OUTPUT
from harness.verification.completeness import completeness
from tests.conftest import TINY_MLP, run_harness

FILES = (
    *("analysis.db", "api_statistic.csv", "ascend_pytorch_profiler.db", "kernel_details.csv"),
    *("l2_cache.csv", "memory_record.csv", "npu_module_mem.csv", "op_statistic.csv"),
    *("operator_details.csv", "operator_memory.csv", "soc_pmu.csv", "step_trace_time.csv"),
    *("task_time.csv", "trace_view.json"),
)


@pytest.fixture(scope="module")
def whole(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert emulator
    root = tmp_path_factory.mktemp("whole")
    # Long enough for several samples of the device's memory, whatever the machine.
    long = "profiler.schedule.active=20"
    words = ("profiler=level2", "profiler.experimental.export_type=[Text,Db]", long)
    run = run_harness(root, "rehearse", *words, *TINY_MLP)
    assert run.code == 0, run.out + run.err
    (item,) = [each for each in run.record.delivery if each.setting == READ]
    assert (item.status, item.arrived) == ("delivered", f"{len(FILES) + 2} file(s) whole")
    (capture,) = run.latest.glob("raw/*_ascend_pt")
    assert {path.name for path in (capture / OUTPUT).iterdir()} - {"analyse.done"} == set(FILES)
    return capture


def named(record: RunRecord) -> str:
    """Return what is said of broken files."""
    said = [each.reason for each in record.delivery if each.setting == READ and each.fails]
    return " ".join([*said, *(each.reason for each in record.consistency if each.fails)])


def line_less(content: bytes) -> bytes:
    return content[: content.rindex(b"\n", 0, len(content) - 1) + 1]


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: content[: len(content) // 2],
    "a line less": line_less,
    "empty": lambda content: content[:0],
}


EVERY = [
    (name, how)
    for name in (*FILES, "profiler_info.json", "profiler_metadata.json")
    for how in CUTS
    if name.endswith(".csv") or how != "a line less"
]


@pytest.mark.parametrize(("name", "how"), EVERY)
def test_a_file_that_was_cut_off_is_exit_3_and_named(
    whole: Path, tmp_path: Path, name: str, how: str
) -> None:
    capture = tmp_path / whole.name
    shutil.copytree(whole, capture, ignore=shutil.ignore_patterns("PROF_*", "FRAMEWORK", "logs"))
    (path,) = capture.rglob(name)
    path.write_bytes(CUTS[how](path.read_bytes()))
    record = read_capture(capture, tmp_path / "out").record
    assert record.exit_code == 3
    assert name in named(record)


def test_a_run_whose_timeline_is_cut_off_is_exit_3_when_it_is_read(
    whole: Path, tmp_path: Path
) -> None:
    """The analysis writes it anew, so it is cut after that."""
    folder = tmp_path / "run"
    shutil.copytree(whole.parents[1], folder)
    (path,) = folder.glob(f"raw/*/{OUTPUT}/trace_view.json")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (item,) = completeness(collect_capture(folder), ())
    assert (item.fails, "trace_view.json: cut off at byte" in item.reason) == (True, True)
