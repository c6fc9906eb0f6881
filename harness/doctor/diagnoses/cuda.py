"""What runs on NVIDIA GPUs need."""

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
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps({
    "cuda": torch.version.cuda,
    "gpus": [torch.cuda.get_device_name(index) for index in range(count)],
    "told": " ".join(str(each.message) for each in told),
    "cupti": ProfilerActivity.CUDA in supported_activities(),
}))
"""


class Cuda(Struct):
    """What `CUDA_CODE` answers."""

    cuda: str | None
    gpus: list[str]
    told: str
    """The warnings of the search for GPUs."""
    cupti: bool


def driver(probe: Probe) -> Answer:
    """Look for the kernel's driver, or ask nvidia-smi where the kernel does not show it."""
    text = probe.read("/proc/driver/nvidia/version")
    if text:
        return good(" ".join(field(text, "NVRM version").split()) or "of unknown version")
    program = probe.which("nvidia-smi")
    if program is None:
        return bad(
            "no /proc/driver/nvidia/version, and no nvidia-smi on PATH",
            "install NVIDIA's driver; in a container: start it with --gpus all",
        )
    asked = (program, "--query-gpu=driver_version", "--format=csv,noheader")
    ran = probe.run(asked, TOOL_LIMIT_S)
    if ran.code != 0:
        return bad(
            f"nvidia-smi fails: {last_line(ran.out) or why(ran)}",
            "install NVIDIA's driver anew; restart if it was just updated",
        )
    return good(f"{last_line(ran.out)}, says nvidia-smi")


def gpus(probe: Probe) -> Answer:
    """Judge what torch can use."""
    answer = child(probe, CUDA_CODE, Cuda)
    if isinstance(answer, str):
        return bad(f"torch cannot say: {answer}", "see torch and nvidia driver")
    if answer.cuda is None:
        return bad(
            "torch was built without CUDA", "install a CUDA build of torch 2.13 from pytorch.org"
        )
    if not answer.gpus:
        told = " ".join(answer.told.split())
        return bad(
            "torch finds none" + (f": {told}" if told else ""),
            "see nvidia driver; CUDA_VISIBLE_DEVICES names a GPU or is unset",
        )
    return good(f"{len(answer.gpus)}: {', '.join(answer.gpus)}")


def cupti(probe: Probe) -> Answer:
    """Judge whether torch can record kernels."""
    answer = child(probe, CUDA_CODE, Cuda)
    if isinstance(answer, str):
        return bad("not known: torch cannot say", "see gpus")
    if not answer.cupti:
        return bad(
            "torch's profiler has no CUDA activity here, and drops it with a warning",
            "see gpus; or install a build of torch with CUPTI",
        )
    return good("torch's profiler has CUDA activity")


def counters(probe: Probe) -> Answer:
    """Judge who may read hardware counters, which only ``profiler_metrics`` needs."""
    params = probe.read("/proc/driver/nvidia/params")
    restricted = field(params, "RmProfilingAdminOnly") or field(
        params, "NVreg_RestrictProfilingToAdminUsers"
    )
    if restricted == "0":
        return good("everybody may read them")
    if not restricted:
        return note("not known who may read them; only profiler_metrics needs them")
    held = field(probe.read("/proc/self/status"), "CapEff") or "0"
    if int(held, 16) & CAP_SYS_ADMIN:
        return good("administrators may read them, and this process is one")
    return note(
        "only administrators may read them: profiler_metrics would count nothing",
        "driver option NVreg_RestrictProfilingToAdminUsers=0; in a container: --cap-add SYS_ADMIN",
    )


def environment(probe: Probe) -> Answer:
    """Look for other tools on CUPTI, which serves one at a time."""
    return variables(
        probe,
        {
            "CUDA_INJECTION64_PATH": "loads another tool into CUDA, which may take CUPTI",
            "NSYS_PROFILING_SESSION_ID": "shows Nsight Systems, which takes CUPTI",
            "NV_COMPUTE_PROFILER_PERFWORKS_DIR": "shows Nsight Compute, which takes CUPTI",
        },
    )


def uncounted(probe: Probe) -> str:
    """Say why GPU counters cannot be read here; "" if they can, or nobody knows."""
    answer = counters(probe)
    if answer.good or not answer.do:
        return ""
    return f"profiler.experimental.profiler_metrics: {answer.says}. To get them: {answer.do}"
