"""What every run needs: what doctor says of it."""

from __future__ import annotations

from harness.doctor.diagnoses.host import TORCH_CODE
from harness.doctor.machine import CommandResult, DiskSpace
from tests.support.machines import (
    Good,
    Other,
    answers,
    dies,
    fails,
)

NO_COUNTERS = "performance_events would count nothing: perf_event_open fails with"
PARANOID = {"/proc/sys/kernel/perf_event_paranoid": "3\n"}
LOADS_NPU = (
    "import torch loads torch_npu, which fails without CANN;"
    " the harness prevents that for its own runs"
)

GOOD: list[Good] = [
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
]
BAD: list[Other] = [
    ("python", {"python": "3.10.12"}, "3.10.12 (/venv/bin/python)", "use Python 3.11 or newer"),
    ("torch", {"versions": {}}, "not installed", "pip install 'torch>=2.13'"),
    (
        "torch",
        {"versions": {"torch": "2.12.1"}},
        "2.12.1; the harness needs 2.13 or newer",
        "pip install 'torch>=2.13'",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: fails("ImportError: libgomp.so.1: no such file")}},
        "2.13.0+cu128 cannot be imported: ImportError: libgomp.so.1: no such file",
        "reinstall it",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: dies(11)}},
        "2.13.0+cu128 cannot be imported: it died of signal 11 (Segmentation fault)",
        "reinstall it",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: CommandResult(code=None, err="no answer within 120 s")}},
        "2.13.0+cu128 cannot be imported: no answer within 120 s",
        "reinstall it",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: CommandResult(code=0, out="[]\n{}\n")}},
        "2.13.0+cu128 cannot be imported: its answer cannot be read",
        "reinstall it",
    ),
    (
        "torch",
        {"commands": {TORCH_CODE: CommandResult(code=7)}},
        "2.13.0+cu128 cannot be imported: it ended with exit code 7",
        "reinstall it",
    ),
    (
        "kineto",
        {"commands": {TORCH_CODE: answers(cuda=None, kineto=False)}},
        "torch was built without it: its profiler records nothing",
        "pip install 'torch>=2.13'",
    ),
    (
        "kineto",
        {"commands": {TORCH_CODE: dies(6)}},
        "unknown: torch cannot be imported",
        "see torch",
    ),
    (
        "disk",
        {"space": DiskSpace(free=2**29, writable=True)},
        "0.5 GiB free for outputs/; a long trace needs more than 1 GiB",
        "make room or run elsewhere",
    ),
    (
        "disk",
        {"space": DiskSpace(free=2**40, writable=False)},
        "outputs/ cannot be written here",
        "run in another folder",
    ),
]
NOTES: list[Other] = [
    (
        "torch",
        {
            "versions": {"torch": "2.14.1"},
            "commands": {TORCH_CODE: answers(cuda=None, kineto=True)},
        },
        "2.14.1, built without CUDA; the harness is tested with 2.13",
        "",
    ),
    (
        "environment",
        {"environment": {"TORCH_DEVICE_BACKEND_AUTOLOAD": "1"}},
        LOADS_NPU,
        "export TORCH_DEVICE_BACKEND_AUTOLOAD=0 for other programs",
    ),
    (
        "environment",
        {"environment": {"KINETO_USE_DAEMON": "1"}},
        f"KINETO_USE_DAEMON=1 lets a daemon start its own traces; {LOADS_NPU}",
        "unset KINETO_USE_DAEMON; export TORCH_DEVICE_BACKEND_AUTOLOAD=0 for other programs",
    ),
    (
        "compiler",
        {"programs": {}},
        "no cc, gcc or clang on PATH: torch.compile and rehearsals need one",
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
        f"{NO_COUNTERS} EPERM; kernel.perf_event_paranoid is unknown",
        "sysctl kernel.perf_event_paranoid=2; in a container: --cap-add PERFMON",
    ),
]
