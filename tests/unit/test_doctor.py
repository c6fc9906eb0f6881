"""What doctor says of machines that are not here, and how this one is asked."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from harness.devices import TARGETS
from harness.diagnoses.cuda import CUDA_CODE
from harness.diagnoses.host import PYTHON, TORCH, TORCH_CODE
from harness.diagnoses.npu import ACL_CODE, NPU_CODE
from harness.doctor import ALL, CHECKS, Diagnosis, Finding, diagnose, doctor, examine
from harness.errors import RefusedError
from harness.machine import Machine, Ran, Room
from tests.conftest import ROOT

CANN = "/usr/local/Ascend/ascend-toolkit/latest"
MSPROF = f"{CANN}/tools/profiler/bin/msprof"
MSPROF_SCRIPT = f"{CANN}/tools/profiler/profiler_tool/analysis/msprof/msprof.py"
SET_ENV = "/usr/local/Ascend/ascend-toolkit/set_env.sh"
NPU_FILES = (
    "/dev/davinci0",
    "/dev/davinci1",
    "/dev/davinci_manager",
    "/dev/devmm_svm",
    "/dev/hisi_hdc",
)
CANN_FILES = (CANN, f"{CANN}/opp", f"{CANN}/runtime", f"{CANN}/compiler", MSPROF_SCRIPT, SET_ENV)
CANN_VARIABLES = {"ASCEND_HOME_PATH": CANN, "ASCEND_OPP_PATH": f"{CANN}/opp"}


def answers(**values: object) -> Ran:
    return Ran(code=0, out=f"a library's chatter\n{msgspec.json.encode(values).decode()}\nbye\n")


def dies(signal: int) -> Ran:
    return Ran(code=-signal)


def fails(words: str, code: int = 1) -> Ran:
    return Ran(code=code, err=f"Traceback (most recent call last):\n\x1b[31m{words}\x1b[0m\n\n")


@dataclass(frozen=True)
class Fake:
    """A machine with everything, unless told otherwise."""

    environment: Mapping[str, str] = field(default_factory=lambda: CANN_VARIABLES)
    python: str = "3.11.7"
    executable: str = "/venv/bin/python"
    versions: Mapping[str, str] = field(
        default_factory=lambda: {"torch": "2.13.0+cu128", "torch-npu": "2.13.0.post1"}
    )
    files: Mapping[str, str] = field(
        default_factory=lambda: {
            "/proc/driver/nvidia/version": "NVRM version: NVIDIA Kernel Module  570.86\nGCC 12\n",
            "/proc/driver/nvidia/params": "ResmanDebugLevel: 4\nRmProfilingAdminOnly: 0\n",
            "/usr/local/Ascend/driver/version.info": "Version=24.1.rc3\nascendhal_version=7\n",
            f"{CANN}/version.cfg": "# version: 1.0\ntoolkit_running_version=[7.6.0.1:8.0.0]\n",
        }
    )
    there: tuple[str, ...] = (*NPU_FILES, *CANN_FILES)
    programs: Mapping[str, str] = field(
        default_factory=lambda: {
            "cc": "/usr/bin/cc",
            "npu-smi": "/usr/local/bin/npu-smi",
            "msprof": MSPROF,
        }
    )
    commands: Mapping[str, Ran] = field(default_factory=dict)
    """By the last word of a command."""
    space: Room = field(default_factory=lambda: Room(free=5 * 2**30, writable=True))
    refused: str = ""

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def paths(self, pattern: str) -> tuple[str, ...]:
        return tuple(path for path in sorted(self.there) if fnmatchcase(path, pattern))

    def which(self, name: str) -> str | None:
        return self.programs.get(name)

    def version(self, distribution: str) -> str | None:
        return self.versions.get(distribution)

    def run(self, command: tuple[str, ...], limit_s: float) -> Ran:
        assert limit_s > 0
        if "-c" in command:
            assert command[:3] == (self.executable, "-P", "-c")
        usual = {
            TORCH_CODE: answers(cuda="12.8", kineto=True),
            CUDA_CODE: answers(cuda="12.8", gpus=["NVIDIA H100"], told="", cupti=True),
            ACL_CODE: answers(),
            NPU_CODE: answers(npus=2),
            "--help": Ran(code=0, out="usage: msprof --export --type"),
        }
        return {**usual, **self.commands}[command[-1]]

    def room(self, folder: str) -> Room:
        assert folder == "outputs"
        return self.space

    def count_cycles(self) -> str:
        return self.refused


def found(name: str, **changes: Any) -> tuple[bool | None, str, str]:
    (finding,) = (each for each in examine(None, replace(Fake(), **changes)) if each.name == name)
    return finding.good, finding.says, finding.do


NPU_OPTIONS = "--device /dev/davinci_manager --device /dev/devmm_svm --device /dev/hisi_hdc"
OFF = "switches torch_npu's profiler off"


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
    "gpu counters": "everybody may read them",
    "cuda environment": "none of CUDA_INJECTION64_PATH, NSYS_PROFILING_SESSION_ID,"
    " NV_COMPUTE_PROFILER_PERFWORKS_DIR is set",
    "npu driver": "24.1.rc3",
    "npu devices": "/dev/davinci0, /dev/davinci1",
    "cann": f"8.0.0, in {CANN}",
    "cann libraries": "libascendcl.so is found",
    "torch_npu": "2.13.0.post1, which goes with torch 2.13.0+cu128",
    "torch_npu starts": "it finds 2 NPU(s)",
    "msprof": MSPROF,
    "npu environment": "none of PROFILER_SAMPLECONFIG, PROFILING_MODE is set",
    "npu warnings": "torch_npu prints its own",
}


def test_machine_with_everything_is_good_in_every_line() -> None:
    assert {each.name: each.says for each in examine(None, Fake())} == GOOD
    for finding in examine(None, Fake()):
        assert (finding.good, finding.do) == (True, "")


STILL_GOOD: list[tuple[str, dict[str, Any], str]] = [
    (
        "torch",
        {
            "versions": {"torch": "2.13.1+cpu"},
            "commands": {TORCH_CODE: answers(cuda=None, kineto=True)},
        },
        "2.13.1+cpu, built without CUDA",
    ),
    ("compiler", {"programs": {"clang": "/usr/bin/clang-15"}}, "/usr/bin/clang-15"),
    (
        "environment",
        {"environment": {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "KINETO_USE_DAEMON": ""}},
        "nothing set that changes torch",
    ),
    (
        "nvidia driver",
        {
            "files": {},
            "programs": {"nvidia-smi": "/usr/lib/wsl/lib/nvidia-smi"},
            "commands": {"--format=csv,noheader": Ran(code=0, out="570.86\n")},
        },
        "570.86, says nvidia-smi",
    ),
    (
        "gpu counters",
        {
            "files": {
                "/proc/driver/nvidia/params": "NVreg_RestrictProfilingToAdminUsers: 1\n",
                "/proc/self/status": "CapPrm:\t0\nCapEff:\t000001ffffffffff\n",
            }
        },
        "administrators may read them, and this process is one",
    ),
    (
        "cann",
        {
            "files": {
                f"{CANN}/aarch64-linux/ascend_toolkit_install.info": "package_name=Ascend-cann\n"
                "version=8.3.RC2\ninnerversion=V100R001C23\n"
            },
            "there": (*CANN_FILES, f"{CANN}/aarch64-linux/ascend_toolkit_install.info"),
        },
        f"8.3.RC2, in {CANN}",
    ),
    (
        "cann",
        {"environment": {"ASCEND_TOOLKIT_HOME": CANN}, "there": (CANN,)},
        f"8.0.0, in {CANN}",
    ),
    (
        "npu devices",
        {"programs": {}},
        "/dev/davinci0, /dev/davinci1; npu-smi is not on PATH, and not needed",
    ),
    (
        "msprof",
        {"commands": {"--help": Ran(code=0, out="usage")}},
        f"{MSPROF}; it exports no databases (Db)",
    ),
    ("npu warnings", {"environment": {"RANK": "0"}}, "torch_npu prints its own"),
]


@pytest.mark.parametrize(("name", "changes", "says"), STILL_GOOD)
def test_other_good_machines(name: str, changes: dict[str, Any], says: str) -> None:
    assert found(name, **changes) == (True, says, "")


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("python", {"python": "3.10.12"}, "3.10.12 (/venv/bin/python)", "use Python 3.11 or newer"),
    ("torch", {"versions": {}}, "not installed", "pip install 'torch>=2.13,<2.14'"),
    (
        "torch",
        {"versions": {"torch": "2.12.1"}},
        "2.12.1; the harness knows >=2.13,<2.14",
        "pip install 'torch>=2.13,<2.14'",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: fails("ImportError: libgomp.so.1: no such file")}},
        "2.13.0+cu128 cannot be imported: ImportError: libgomp.so.1: no such file",
        "install it anew",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: dies(11)}},
        "2.13.0+cu128 cannot be imported: it died of signal 11 (Segmentation fault)",
        "install it anew",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: Ran(code=None, err="no answer within 120 s")}},
        "2.13.0+cu128 cannot be imported: no answer within 120 s",
        "install it anew",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: Ran(code=0, out="[]\n{}\n")}},
        "2.13.0+cu128 cannot be imported: its answer cannot be read",
        "install it anew",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: Ran(code=7)}},
        "2.13.0+cu128 cannot be imported: it ended with exit code 7",
        "install it anew",
    ),
    (
        "kineto",
        {"commands": {TORCH_CODE: answers(cuda=None, kineto=False)}},
        "torch was built without it: its profiler records nothing",
        "pip install 'torch>=2.13,<2.14'",
    ),
    (
        "kineto",
        {"commands": {TORCH_CODE: dies(6)}},
        "not known: torch cannot be imported",
        "see torch",
    ),
    (
        "disk",
        {"space": Room(free=2**29, writable=True)},
        "0.5 GiB free for outputs/; a long trace takes more than 1 GiB",
        "make room or run elsewhere",
    ),
    (
        "disk",
        {"space": Room(free=2**40, writable=False)},
        "outputs/ cannot be written here",
        "run in another folder",
    ),
    (
        "nvidia driver",
        {"files": {}},
        "no /proc/driver/nvidia/version, and no nvidia-smi on PATH",
        "install NVIDIA's driver; in a container: start it with --gpus all",
    ),
    (
        "nvidia driver",
        {
            "files": {},
            "programs": {"nvidia-smi": "/usr/bin/nvidia-smi"},
            "commands": {"--format=csv,noheader": Ran(code=9, out="NVIDIA-SMI has failed\n")},
        },
        "nvidia-smi fails: NVIDIA-SMI has failed",
        "install NVIDIA's driver anew; restart if it was just updated",
    ),
    (
        "gpus",
        {"commands": {CUDA_CODE: answers(cuda=None, gpus=[], told="", cupti=False)}},
        "torch was built without CUDA",
        "install a CUDA build of torch 2.13 from pytorch.org",
    ),
    (
        "gpus",
        {
            "commands": {
                CUDA_CODE: answers(cuda="12.8", gpus=[], told="driver\ntoo old", cupti=True)
            }
        },
        "torch finds none: driver too old",
        "see nvidia driver; CUDA_VISIBLE_DEVICES names a GPU or is unset",
    ),
    (
        "gpus",
        {"commands": {CUDA_CODE: answers(cuda="12.8", gpus=[], told="", cupti=True)}},
        "torch finds none",
        "see nvidia driver; CUDA_VISIBLE_DEVICES names a GPU or is unset",
    ),
    (
        "gpus",
        {"commands": {CUDA_CODE: dies(7)}},
        "torch cannot say: it died of signal 7 (Bus error)",
        "see torch and nvidia driver",
    ),
    (
        "cupti",
        {"commands": {CUDA_CODE: answers(cuda="12.8", gpus=["A100"], told="", cupti=False)}},
        "torch's profiler has no CUDA activity here, and drops it with a warning",
        "see gpus; or install a build of torch with CUPTI",
    ),
    ("cupti", {"commands": {CUDA_CODE: dies(7)}}, "not known: torch cannot say", "see gpus"),
    (
        "cuda environment",
        {"environment": {"CUDA_INJECTION64_PATH": "/x.so", "NSYS_PROFILING_SESSION_ID": "7"}},
        "CUDA_INJECTION64_PATH=/x.so loads another tool into CUDA, which may take CUPTI;"
        " NSYS_PROFILING_SESSION_ID=7 shows Nsight Systems, which takes CUPTI",
        "unset CUDA_INJECTION64_PATH NSYS_PROFILING_SESSION_ID",
    ),
    (
        "cuda environment",
        {"environment": {"NV_COMPUTE_PROFILER_PERFWORKS_DIR": "/n"}},
        "NV_COMPUTE_PROFILER_PERFWORKS_DIR=/n shows Nsight Compute, which takes CUPTI",
        "unset NV_COMPUTE_PROFILER_PERFWORKS_DIR",
    ),
    (
        "npu driver",
        {"files": {}, "there": ("/dev/davinci_manager",)},
        "no version in /usr/local/Ascend/driver/version.info",
        "install the driver and firmware of the NPU",
    ),
    (
        "npu devices",
        {"there": ("/dev/davinci_manager",)},
        "no /dev/davinci0 or other",
        f"in a container: --device /dev/davinci0 {NPU_OPTIONS};"
        " or rehearse without one: python -m harness rehearse",
    ),
    (
        "npu devices",
        {"there": ("/dev/davinci7", "/dev/davinci_manager")},
        "/dev/davinci7 without /dev/devmm_svm, /dev/hisi_hdc",
        "in a container: --device /dev/devmm_svm --device /dev/hisi_hdc",
    ),
    (
        "cann",
        {"environment": {}, "commands": {ACL_CODE: fails("OSError")}},
        "neither ASCEND_HOME_PATH nor ASCEND_TOOLKIT_HOME is set",
        f"source {SET_ENV}",
    ),
    (
        "cann",
        {"environment": {}, "there": (), "commands": {ACL_CODE: fails("OSError")}},
        "neither ASCEND_HOME_PATH nor ASCEND_TOOLKIT_HOME is set",
        "install CANN, and source its set_env.sh",
    ),
    (
        "cann",
        {"environment": {"ASCEND_HOME_PATH": CANN}},
        f"ASCEND_HOME_PATH={CANN} without ASCEND_OPP_PATH",
        f"source {SET_ENV}",
    ),
    (
        "cann",
        {"there": (CANN, f"{CANN}/opp", f"{CANN}/compiler")},
        f"ASCEND_HOME_PATH={CANN}, but there is no {CANN}/runtime",
        "install CANN, and source its set_env.sh",
    ),
    (
        "cann libraries",
        {"commands": {ACL_CODE: fails("OSError: libascendcl.so: cannot open")}},
        "OSError: libascendcl.so: cannot open",
        f"source {SET_ENV}: LD_LIBRARY_PATH must lead to CANN",
    ),
    (
        "torch_npu",
        {"versions": {"torch": "2.13.0+cpu"}},
        "not installed",
        "pip install torch-npu==2.13.0",
    ),
    (
        "torch_npu",
        {"versions": {"torch": "2.13.1+cpu", "torch-npu": "2.13.0"}},
        "2.13.0 does not go with torch 2.13.1+cpu",
        "pip install torch-npu==2.13.1",
    ),
    (
        "torch_npu",
        {"versions": {"torch-npu": "2.13.0"}},
        "2.13.0, and torch is not installed",
        "see torch",
    ),
    (
        "torch_npu starts",
        {"commands": {NPU_CODE: fails("ImportError: libhccl.so: cannot open")}},
        "ImportError: libhccl.so: cannot open",
        "see torch_npu, cann, cann libraries, npu driver",
    ),
    (
        "torch_npu starts",
        {"commands": {NPU_CODE: answers(npus=0)}},
        "it can be imported, and finds no NPU",
        "see npu devices; ASCEND_RT_VISIBLE_DEVICES names an NPU or is unset",
    ),
    (
        "msprof",
        {"programs": {}},
        "not on PATH: torch_npu writes no tables without it, and exits with 0",
        f"source {SET_ENV}",
    ),
    (
        "msprof",
        {"there": ()},
        f"{MSPROF}, but there is no {MSPROF_SCRIPT}",
        "install CANN's toolkit anew",
    ),
    (
        "msprof",
        {"commands": {"--help": Ran(code=None, err="no answer within 20 s")}},
        f"{MSPROF} --help: no answer within 20 s",
        "install CANN's toolkit anew",
    ),
    (
        "npu environment",
        {"environment": {"PROFILING_MODE": "dynamic", "PROFILER_SAMPLECONFIG": "{}"}},
        f"PROFILER_SAMPLECONFIG={{}} {OFF}; PROFILING_MODE=dynamic {OFF}",
        "unset PROFILER_SAMPLECONFIG PROFILING_MODE",
    ),
]


@pytest.mark.parametrize(("name", "changes", "says", "do"), BAD)
def test_bad_says_why_and_what_to_do(
    name: str, changes: dict[str, Any], says: str, do: str
) -> None:
    assert found(name, **changes) == (False, says, do)


NO_COUNTERS = "performance_events would count nothing: perf_event_open fails with"
PARANOID = {"/proc/sys/kernel/perf_event_paranoid": "3\n"}
LOADS_NPU = (
    "import torch loads torch_npu, which fails without CANN;"
    " the harness prevents that for its own runs"
)
NOTES: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "environment",
        {"environment": {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}},
        LOADS_NPU,
        "export TORCH_DEVICE_BACKEND_AUTOLOAD=0 for other programs",
    ),
    (
        "environment",
        {"environment": {"KINETO_USE_DAEMON": "1"}},
        f"KINETO_USE_DAEMON=1 lets a daemon start traces of its own; {LOADS_NPU}",
        "unset KINETO_USE_DAEMON; export TORCH_DEVICE_BACKEND_AUTOLOAD=0 for other programs",
    ),
    (
        "compiler",
        {"programs": {}},
        "no cc, gcc or clang on PATH: torch.compile and rehearsals of NPU runs need one",
        "install gcc",
    ),
    (
        "perf events",
        {"refused": "ENOENT"},
        f"{NO_COUNTERS} ENOENT; virtual machines often have no counters",
        "leave performance_events empty here",
    ),
    (
        "perf events",
        {"refused": "EACCES", "files": PARANOID},
        f"{NO_COUNTERS} EACCES; kernel.perf_event_paranoid is 3",
        "sysctl kernel.perf_event_paranoid=2; in a container: --cap-add PERFMON",
    ),
    (
        "perf events",
        {"refused": "EPERM", "files": {}},
        f"{NO_COUNTERS} EPERM; kernel.perf_event_paranoid is not known",
        "sysctl kernel.perf_event_paranoid=2; in a container: --cap-add PERFMON",
    ),
    (
        "gpu counters",
        {"files": {}},
        "not known who may read them; only profiler_metrics needs them",
        "",
    ),
    (
        "gpu counters",
        {
            "files": {
                "/proc/driver/nvidia/params": "RmProfilingAdminOnly: 1\n",
                "/proc/self/status": "CapEff:\t00000000a80425fb\n",
            }
        },
        "only administrators may read them: profiler_metrics would count nothing",
        "driver option NVreg_RestrictProfilingToAdminUsers=0; in a container: --cap-add SYS_ADMIN",
    ),
    (
        "npu driver",
        {"files": {}},
        "of unknown version: /usr/local/Ascend/driver/version.info is missing",
        "mount /usr/local/Ascend/driver, too",
    ),
    (
        "cann",
        {"environment": {}},
        "neither ASCEND_HOME_PATH nor ASCEND_TOOLKIT_HOME is set, but its libraries are found",
        f"source {SET_ENV}",
    ),
    ("cann", {"files": {}}, f"of unknown version, in {CANN}", ""),
    (
        "npu warnings",
        {"environment": {"RANK": "3", "TORCH_NPU_WARNING_DISABLE": "1"}},
        "torch_npu prints none with RANK=3, TORCH_NPU_WARNING_DISABLE=1",
        "unset RANK TORCH_NPU_WARNING_DISABLE",
    ),
]


@pytest.mark.parametrize(("name", "changes", "says", "do"), NOTES)
def test_what_is_in_the_way_of_nothing_is_a_note(
    name: str, changes: dict[str, Any], says: str, do: str
) -> None:
    assert found(name, **changes) == (None, says, do)


def test_each_line_can_be_other_than_good() -> None:
    assert {case[0] for case in (*BAD, *NOTES)} == {check.name for check in CHECKS}


BARE = Fake(environment={}, there=(), programs={}, files={})
"""A machine with torch and without accelerators."""


def test_only_what_matters_to_the_device_is_asked() -> None:
    broken = replace(Fake(), commands={CUDA_CODE: dies(9), NPU_CODE: dies(9)})
    assert [each.name for each in examine("cpu", broken)] == [
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
    full = replace(BARE, space=Room(free=0, writable=True))
    assert diagnose(None, full).exit_code == 4
    assert all("disk" in names for names in diagnose(None, full).lacks.values())


def printed(*overrides: str, as_json: bool = False, probe: Fake = BARE) -> tuple[int, str]:
    out = StringIO()
    code = doctor(overrides, Console(file=out, width=100), as_json=as_json, probe=probe)
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
    assert any(line.startswith("✓   torch ") and " all " in line for line in lines)
    assert any(line.startswith("–   compiler ") for line in lines)
    assert lines[-1] == "  cuda: in the way: nvidia driver"


def test_page_without_a_device_says_who_decides() -> None:
    code, text = printed()
    assert code == 0
    assert "\nThis machine, for any device\n" in text
    assert "\n  cpu: nothing is in the way" in text
    assert text.rstrip().endswith("exit code 0, decided by cpu; device=… asks for one")


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
    assert torch == f"torch>={TORCH[0]}.{TORCH[1]},<{TORCH[0]}.{TORCH[1] + 1}"


def test_finding_names_are_unique() -> None:
    names = [finding.name for finding in examine(None, Fake())]
    assert len(set(names)) == len(names)
    assert all(isinstance(finding, Finding) for finding in examine(None, Fake()))


# This machine


def test_commands_are_run_and_their_answers_kept(tmp_path: Path) -> None:
    machine = Machine()
    code = (
        f"import os; open({str(tmp_path / 'ran')!r}, 'a').write('x');"
        " print(os.environ['TORCH_DEVICE_BACKEND_AUTOLOAD']); os.abort()"
    )
    for _ in range(2):
        ran = machine.run((machine.executable, "-c", code), 20)
        assert (ran.code, ran.out) == (-6, "0\n")
    assert (tmp_path / "ran").read_text() == "x"


def test_command_without_answer_is_ended_with_its_children() -> None:
    began = time.monotonic()
    ran = Machine().run(("sh", "-c", "sleep 100 & sleep 100"), 0.2)
    assert ran == Ran(code=None, err="no answer within 0.2 s")
    assert time.monotonic() - began < 20


def test_command_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    program = tmp_path / "msprof"
    program.write_text("#!/nowhere/python\n")
    program.chmod(0o755)
    ran = Machine().run((str(program), "--help"), 20)
    assert ran == Ran(code=None, err="it cannot be started: No such file or directory")


def test_files_programs_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "tools" / "msprof"
    real.parent.mkdir()
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    (tmp_path / "msprof").symlink_to(real)
    monkeypatch.setenv("PATH", str(tmp_path))
    machine = Machine()
    assert machine.which("msprof") == str(real)
    assert machine.which("npu-smi") is None
    assert machine.read(str(real)) == "#!/bin/sh\n"
    assert machine.read(str(tmp_path)) is None
    assert machine.paths(f"{tmp_path}/*") == (f"{tmp_path}/msprof", f"{tmp_path}/tools")
    assert machine.version("no-such-package") is None
    assert machine.version("msgspec") == msgspec.__version__


def test_room_is_that_of_the_nearest_folder_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    room = Machine().room("outputs")
    assert room.writable
    assert room.free > 0
    assert not (tmp_path / "outputs").exists()
    (tmp_path / "outputs").write_text("a file")
    assert not Machine().room("outputs").writable
