"""What doctor makes of its findings: exit codes, a page, JSON."""

from __future__ import annotations

import re
import tomllib
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO

import msgspec
import pytest

from harness.devices import TARGETS
from harness.doctor.diagnose import ALL, CHECKS, Diagnosis, diagnose, doctor, examine
from harness.doctor.diagnoses.cuda import CUDA_CODE
from harness.doctor.diagnoses.host import PYTHON, TORCH
from harness.doctor.diagnoses.npu import NPU_CODE
from harness.doctor.machine import DiskSpace
from harness.errors import RefusedError
from harness.execution.tested import TESTED
from harness.report.console import Console
from tests.conftest import ROOT
from tests.support.machines import CANN, MSPROF, Fake, dies

GOOD = {
    "python": "3.11.7 (/venv/bin/python)",
    "torch": "2.13.0+cu128, built for CUDA 12.8",
    "kineto": "torch was built with it",
    "environment": "nothing set that changes torch",
    "disk": "5.0 GiB free for outputs/",
    "compiler": "/usr/bin/cc",
    "perf events": "processor cycles can be counted",
    "nvidia driver": "NVIDIA Kernel Module 570.86",
    "gpus": "1: NVIDIA H100",
    "cupti": "torch's profiler has CUDA activity",
    "gpu counters": "all users may read them",
    "cuda environment": "none of CUDA_INJECTION64_PATH, NSYS_PROFILING_SESSION_ID,"
    " NV_COMPUTE_PROFILER_PERFWORKS_DIR is set",
    "npu driver": "24.1.rc3",
    "npu devices": "/dev/davinci0, /dev/davinci1",
    "cann": f"8.0.0, in {CANN}",
    "cann libraries": "libascendcl.so is found",
    "torch_npu": "2.13.0.post1, which matches torch 2.13.0+cu128",
    "torch_npu starts": "it finds 2 NPU(s)",
    "msprof": MSPROF,
    "npu environment": "none of PROFILER_SAMPLECONFIG, PROFILING_MODE, PROF_CONFIG_PATH,"
    " MSMONITOR_USE_DAEMON, KINETO_USE_DAEMON is set",
    "npu warnings": "torch_npu prints its warnings",
}


def test_machine_with_everything_is_good_in_every_line() -> None:
    assert {finding.name: finding.says for finding in examine(None, Fake())} == GOOD
    for finding in examine(None, Fake()):
        assert (finding.good, finding.do) == (True, "")


def test_machine_with_everything_can_run_every_device() -> None:
    for device in ALL:
        diagnosis = diagnose(device, Fake())
        assert diagnosis.lacks == {device: ()}
        assert diagnosis.exit_code == 0


BARE = Fake(environment={}, there=(), programs={}, files={})
"""A machine with torch and without accelerators."""


def test_only_what_matters_to_the_device_is_asked() -> None:
    broken = replace(Fake(), commands={CUDA_CODE: dies(9), NPU_CODE: dies(9)})
    assert [finding.name for finding in examine("cpu", broken)] == [
        check.name for check in CHECKS if "cpu" in check.devices
    ]
    assert diagnose("cpu", broken).exit_code == 0
    assert diagnose("cuda", broken).lacks == {"cuda": ("gpus", "cupti")}
    assert diagnose("npu", broken).lacks == {"npu": ("torch_npu starts",)}


def test_without_a_device_all_is_shown_and_the_cpu_decides() -> None:
    diagnosis = diagnose(None, BARE)
    assert len(diagnosis.findings) == len(CHECKS)
    assert diagnosis.exit_code == 0
    assert diagnosis.lacks["cpu"] == ()
    assert diagnosis.lacks["cuda"] == ("nvidia driver",)
    assert "msprof" in diagnosis.lacks["npu"]
    full = replace(BARE, space=DiskSpace(free=0, writable=True))
    assert diagnose(None, full).exit_code == 4
    assert all("disk" in names for names in diagnose(None, full).lacks.values())


def printed(*overrides: str, as_json: bool = False, probe: Fake = BARE) -> tuple[int, str]:
    out = StringIO()
    code = doctor(
        overrides, Console(file=out, width=100), nullcontext(), as_json=as_json, probe=probe
    )
    return int(code), out.getvalue()


def test_page_shows_marks_and_what_to_do() -> None:
    code, text = printed("device=cuda")
    assert code == 4
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[1] == "This machine, for cuda"
    at = next(number for number, line in enumerate(lines) if "nvidia driver" in line)
    assert lines[at].split() == [
        *("✗", "nvidia", "driver", "cuda", "no", "/proc/driver/nvidia/version,"),
        *("and", "no", "nvidia-smi", "on", "PATH"),
    ]
    assert lines[at + 1].strip().startswith("to do: install NVIDIA's driver; in a container:")
    marks = [line.split()[:2] for line in lines]
    assert any(mark == ["✓", "torch"] for mark in marks)
    assert any(mark == ["–", "compiler"] for mark in marks)
    assert lines[-1] == "  cuda: obstacles: nvidia driver"


def test_page_without_a_device_says_who_decides() -> None:
    code, text = printed()
    assert code == 0
    assert "\nThis machine, for any device\n" in text
    assert "\n  cpu: no obstacle" in text
    assert text.rstrip().endswith("exit code 0, for the cpu; device=NAME checks another one")


def test_json_holds_the_same() -> None:
    code, text = printed("device=npu", as_json=True)
    assert msgspec.json.decode(text, type=Diagnosis) == diagnose("npu", BARE)
    assert msgspec.json.decode(text)["exit_code"] == code == 4


def test_long_texts_are_not_broken_in_json() -> None:
    probe = replace(BARE, environment={"KINETO_USE_DAEMON": ":warning: [red]" + "x" * 300})
    _, text = printed("device=cpu", as_json=True, probe=probe)
    assert f"KINETO_USE_DAEMON=:warning: [red]{'x' * 300} lets" in text


@pytest.mark.parametrize(
    ("overrides", "settings"),
    [
        (["device=tpu"], ["device"]),
        (["device"], ["device"]),
        (["seed=1", "device=cpu", "+x=2"], ["seed", "+x"]),
    ],
)
def test_other_settings_are_refused(overrides: list[str], settings: list[str]) -> None:
    with pytest.raises(RefusedError) as refused:
        printed(*overrides)
    assert [problem.setting for problem in refused.value.problems] == settings


def test_of_two_devices_the_last_one_counts() -> None:
    assert "for cuda" in printed("device=npu", "device=cuda")[1]


def test_devices_and_releases_are_those_of_the_project() -> None:
    assert set(ALL) == set(TARGETS)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=" + ".".join(map(str, PYTHON))
    (torch,) = [text for text in project["dependencies"] if re.match(r"torch\b", text)]
    # Without an upper bound: installing the harness leaves the user's torch alone.
    assert torch == f"torch>={TESTED}"
    assert f"{TORCH[0]}.{TORCH[1]}" == TESTED


def test_names_are_unique() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
