"""NVIDIA GPUs that are not here: what doctor says of them."""

from __future__ import annotations

from harness.doctor.diagnoses.cuda import CUDA_CODE
from harness.doctor.machine import CommandResult
from tests.support.machines import (
    Good,
    Other,
    answers,
    dies,
)

GOOD: list[Good] = [
    (
        "nvidia driver",
        {
            "files": {},
            "programs": {"nvidia-smi": "/usr/lib/wsl/lib/nvidia-smi"},
            "commands": {"--format=csv,noheader": CommandResult(code=0, out="570.86\n")},
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
]
BAD: list[Other] = [
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
            "commands": {
                "--format=csv,noheader": CommandResult(code=9, out="NVIDIA-SMI has failed\n")
            },
        },
        "nvidia-smi fails: NVIDIA-SMI has failed",
        "reinstall NVIDIA's driver; restart if it was just updated",
    ),
    (
        "gpus",
        {"commands": {CUDA_CODE: answers(cuda=None, gpus=[], warnings="", cupti=False)}},
        "torch was built without CUDA",
        "install a CUDA build of torch 2.13 from pytorch.org",
    ),
    (
        "gpus",
        {
            "commands": {
                CUDA_CODE: answers(cuda="12.8", gpus=[], warnings="driver\ntoo old", cupti=True)
            }
        },
        "torch finds none: driver too old",
        "see nvidia driver; CUDA_VISIBLE_DEVICES names a GPU or is unset",
    ),
    (
        "gpus",
        {"commands": {CUDA_CODE: answers(cuda="12.8", gpus=[], warnings="", cupti=True)}},
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
        {"commands": {CUDA_CODE: answers(cuda="12.8", gpus=["A100"], warnings="", cupti=False)}},
        "torch's profiler has no CUDA activity here, and drops it with a warning",
        "see gpus; or install a build of torch with CUPTI",
    ),
    ("cupti", {"commands": {CUDA_CODE: dies(7)}}, "unknown: torch cannot say", "see gpus"),
    (
        "cuda environment",
        {"environment": {"CUDA_INJECTION64_PATH": "/x.so", "NSYS_PROFILING_SESSION_ID": "7"}},
        (
            "CUDA_INJECTION64_PATH=/x.so loads another tool into CUDA, which may take CUPTI;"
            " NSYS_PROFILING_SESSION_ID=7 means that Nsight Systems is active, which takes CUPTI"
        ),
        "unset CUDA_INJECTION64_PATH NSYS_PROFILING_SESSION_ID",
    ),
    (
        "cuda environment",
        {"environment": {"NV_COMPUTE_PROFILER_PERFWORKS_DIR": "/n"}},
        (
            "NV_COMPUTE_PROFILER_PERFWORKS_DIR=/n means that Nsight Compute is active, which takes"
            " CUPTI"
        ),
        "unset NV_COMPUTE_PROFILER_PERFWORKS_DIR",
    ),
]
NOTES: list[Other] = [
    (
        "gpu counters",
        {"files": {}},
        "unknown who may read them; only profiler_metrics needs them",
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
]
