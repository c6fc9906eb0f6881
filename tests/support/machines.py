"""A machine for the tests of doctor: it has everything, unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from harness.doctor.diagnose import examine
from harness.doctor.diagnoses.cuda import CUDA_CODE
from harness.doctor.diagnoses.host import TORCH_CODE
from harness.doctor.diagnoses.npu import ACL_CODE, NPU_CODE
from harness.doctor.machine import CommandResult, DiskSpace

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
CANN_FILES = (
    *(CANN, f"{CANN}/opp", f"{CANN}/runtime", f"{CANN}/compiler", MSPROF_SCRIPT, SET_ENV),
    f"{CANN}/lib64/libms_tools_ext.so",
)
CANN_VARIABLES = {"ASCEND_HOME_PATH": CANN, "ASCEND_OPP_PATH": f"{CANN}/opp"}


def answers(**values: object) -> CommandResult:
    return CommandResult(
        code=0, out=f"a library's chatter\n{msgspec.json.encode(values).decode()}\nbye\n"
    )


def dies(signal: int) -> CommandResult:
    return CommandResult(code=-signal)


def fails(words: str, code: int = 1) -> CommandResult:
    return CommandResult(
        code=code, err=f"Traceback (most recent call last):\n\x1b[31m{words}\x1b[0m\n\n"
    )


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
    commands: Mapping[str, CommandResult] = field(default_factory=dict)
    """By the last word of a command."""
    space: DiskSpace = field(default_factory=lambda: DiskSpace(free=5 * 2**30, writable=True))
    refused: str = ""

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def paths(self, pattern: str) -> tuple[str, ...]:
        return tuple(path for path in sorted(self.there) if fnmatchcase(path, pattern))

    def which(self, name: str) -> str | None:
        return self.programs.get(name)

    def version(self, distribution: str) -> str | None:
        return self.versions.get(distribution)

    def run(self, command: tuple[str, ...], limit_s: float) -> CommandResult:
        assert limit_s > 0
        if "-c" in command:
            assert command[:3] == (self.executable, "-P", "-c")
        usual = {
            TORCH_CODE: answers(cuda="12.8", kineto=True),
            CUDA_CODE: answers(cuda="12.8", gpus=["NVIDIA H100"], warnings="", cupti=True),
            ACL_CODE: answers(),
            NPU_CODE: answers(npus=2),
            "--help": CommandResult(code=0, out="usage: msprof --export --type"),
        }
        return {**usual, **self.commands}[command[-1]]

    def room(self, folder: str) -> DiskSpace:
        assert folder == "outputs"
        return self.space

    def count_cycles(self) -> str:
        return self.refused


def finding(name: str, **changes: Any) -> tuple[bool | None, str, str]:
    (match,) = (
        candidate
        for candidate in examine(None, replace(Fake(), **changes))
        if candidate.name == name
    )
    return match.good, match.says, match.do


Good = tuple[str, dict[str, Any], str]
"""A line, what is different on the machine, and what the line then says."""
Other = tuple[str, dict[str, Any], str, str]
"""The same, and what it says is to be done."""
