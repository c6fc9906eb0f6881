"""Checks for runs on NVIDIA GPUs."""

from __future__ import annotations

from msgspec import Struct

from harness.doctor.diagnoses.base import (
    TOOL_LIMIT_S,
    Answer,
    bad,
    child,
    field,
    good,
    last_line,
    note,
    variables,
    why,
)
from harness.doctor.machine import Probe

CAP_SYS_ADMIN = 1 << 21

CUDA_CODE = """
import json, warnings, torch
from torch.profiler import ProfilerActivity, supported_activities
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps({
    "cuda": torch.version.cuda,
    "gpus": [torch.cuda.get_device_name(index) for index in range(count)],
    "warnings": " ".join(str(warning.message) for warning in caught),
    "cupti": ProfilerActivity.CUDA in supported_activities(),
}))
"""


class Cuda(Struct):
    """The answer of `CUDA_CODE`."""

    cuda: str | None
    gpus: list[str]
    warnings: str
    """The warnings that torch gave while it looked for GPUs."""
    cupti: bool


def driver(probe: Probe) -> Answer:
    """Look for the driver in the kernel; ask nvidia-smi if it is not shown there."""
    text = probe.read("/proc/driver/nvidia/version")
    if text:
        return good(" ".join(field(text, "NVRM version").split()) or "of unknown version")
    program = probe.which("nvidia-smi")
    if program is None:
        return bad(
            "no /proc/driver/nvidia/version, and no nvidia-smi on PATH",
            "install NVIDIA's driver; in a container: start it with --gpus all",
        )
    command = (program, "--query-gpu=driver_version", "--format=csv,noheader")
    result = probe.run(command, TOOL_LIMIT_S)
    if result.code != 0:
        return bad(
            f"nvidia-smi fails: {last_line(result.out) or why(result)}",
            "reinstall NVIDIA's driver; restart if it was just updated",
        )
    return good(f"{last_line(result.out)}, says nvidia-smi")


def gpus(probe: Probe) -> Answer:
    """Check which GPUs torch can use."""
    answer = child(probe, CUDA_CODE, Cuda)
    if isinstance(answer, str):
        return bad(f"torch cannot say: {answer}", "see torch and nvidia driver")
    if answer.cuda is None:
        return bad(
            "torch was built without CUDA", "install a CUDA build of torch 2.13 from pytorch.org"
        )
    if not answer.gpus:
        warnings = " ".join(answer.warnings.split())
        return bad(
            "torch finds none" + (f": {warnings}" if warnings else ""),
            "see nvidia driver; CUDA_VISIBLE_DEVICES names a GPU or is unset",
        )
    return good(f"{len(answer.gpus)}: {', '.join(answer.gpus)}")


def lacks(probe: Probe) -> str:
    """Say why no GPU can be used; "" if one can, or if torch cannot say."""
    answer = child(probe, CUDA_CODE, Cuda)
    if isinstance(answer, str) or answer.gpus:
        return ""
    found = gpus(probe)
    return (
        f"device=cuda cannot run on this machine: {found.says}.\n  to do: {found.do}"
        "\n  python -m harness doctor device=cuda checks everything that a run needs"
    )


def cupti(probe: Probe) -> Answer:
    """Check whether torch can record kernels."""
    answer = child(probe, CUDA_CODE, Cuda)
    if isinstance(answer, str):
        return bad("unknown: torch cannot say", "see gpus")
    if not answer.cupti:
        return bad(
            "torch's profiler has no CUDA activity here, and drops it with a warning",
            "see gpus; or install a build of torch with CUPTI",
        )
    return good("torch's profiler has CUDA activity")


def counters(probe: Probe) -> Answer:
    """Check who may read hardware counters, which only ``profiler_metrics`` needs."""
    params = probe.read("/proc/driver/nvidia/params")
    restricted = field(params, "RmProfilingAdminOnly") or field(
        params, "NVreg_RestrictProfilingToAdminUsers"
    )
    if restricted == "0":
        return good("all users may read them")
    if not restricted:
        return note("unknown who may read them; only profiler_metrics needs them")
    capabilities = field(probe.read("/proc/self/status"), "CapEff") or "0"
    if int(capabilities, 16) & CAP_SYS_ADMIN:
        return good("administrators may read them, and this process is one")
    return note(
        "only administrators may read them: profiler_metrics would count nothing",
        "driver option NVreg_RestrictProfilingToAdminUsers=0; in a container: --cap-add SYS_ADMIN",
    )


def environment(probe: Probe) -> Answer:
    """Look for other tools that use CUPTI, which serves one tool at a time."""
    return variables(
        probe,
        {
            "CUDA_INJECTION64_PATH": "loads another tool into CUDA, which may take CUPTI",
            "NSYS_PROFILING_SESSION_ID": "means that Nsight Systems is active, which takes CUPTI",
            "NV_COMPUTE_PROFILER_PERFWORKS_DIR": "means that Nsight Compute is active, which takes"
            " CUPTI",
        },
    )


def uncounted(probe: Probe) -> str:
    """Say why GPU counters cannot be read here; "" if they can, or if that is unknown."""
    answer = counters(probe)
    if answer.good or not answer.do:
        return ""
    return f"profiler.experimental.profiler_metrics: {answer.says}. To get them: {answer.do}"
