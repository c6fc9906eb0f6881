"""Checks for every run: Python, torch, the disk."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from harness.devices.torch_profiler import PERF_EVENTS
from harness.doctor.diagnoses.base import INSTALL_TORCH, Answer, bad, child, good, note, release
from harness.doctor.machine import Machine, Probe

PYTHON = (3, 11)
TORCH = (2, 13)
"""The releases that pyproject.toml allows."""
ENOUGH_DISK = 2**30

TORCH_CODE = """
import json, torch
print(json.dumps({"cuda": torch.version.cuda, "kineto": torch.profiler.kineto_available()}))
"""


class Torch(Struct):
    """The answer of `TORCH_CODE`."""

    cuda: str | None
    kineto: bool


def python(probe: Probe) -> Answer:
    """Check the interpreter."""
    says = f"{probe.python} ({probe.executable})"
    return good(says) if release(probe.python) >= PYTHON else bad(says, "use Python 3.11 or newer")


def torch(probe: Probe) -> Answer:
    """Check torch: it must be installed, of a supported release, and importable."""
    version = probe.version("torch")
    if version is None:
        return bad("not installed", INSTALL_TORCH)
    if release(version)[:2] < TORCH:
        return bad(f"{version}; the harness needs 2.13 or newer", INSTALL_TORCH)
    answer = child(probe, TORCH_CODE, Torch)
    if isinstance(answer, str):
        return bad(f"{version} cannot be imported: {answer}", "reinstall it")
    says = f"{version}, built {f'for CUDA {answer.cuda}' if answer.cuda else 'without CUDA'}"
    if release(version)[:2] > TORCH:
        return note(f"{says}; the harness is tested with 2.13")
    return good(says)


def kineto(probe: Probe) -> Answer:
    """Check the library that records for torch's profiler."""
    answer = child(probe, TORCH_CODE, Torch)
    if isinstance(answer, str):
        return bad("unknown: torch cannot be imported", "see torch")
    if not answer.kineto:
        return bad("torch was built without it: its profiler records nothing", INSTALL_TORCH)
    return good("torch was built with it")


def environment(probe: Probe) -> Answer:
    """Look for variables that change torch on every device."""
    variables = probe.environment
    says, do = [], []
    if variables.get("KINETO_USE_DAEMON"):
        says.append(
            f"KINETO_USE_DAEMON={variables['KINETO_USE_DAEMON']} lets a daemon start its own traces"
        )
        do.append("unset KINETO_USE_DAEMON")
    if (
        probe.version("torch-npu")
        and variables.get("TORCH_DEVICE_BACKEND_AUTOLOAD") != "0"
        and not (variables.get("ASCEND_HOME_PATH") or variables.get("ASCEND_TOOLKIT_HOME"))
    ):
        says.append(
            "import torch loads torch_npu, which fails without CANN; the harness prevents that for"
            " its own runs"
        )
        do.append("export TORCH_DEVICE_BACKEND_AUTOLOAD=0 for other programs")
    return note("; ".join(says), "; ".join(do)) if says else good("nothing set that changes torch")


def disk(probe: Probe) -> Answer:
    """Check the place for run folders."""
    room = probe.room("outputs")
    if not room.writable:
        return bad("outputs/ cannot be written here", "run in another folder")
    says = f"{room.free / 2**30:.1f} GiB free for outputs/"
    if room.free < ENOUGH_DISK:
        return bad(f"{says}; a long trace needs more than 1 GiB", "make room or run elsewhere")
    return good(says)


def compiler(probe: Probe) -> Answer:
    """Look for a C compiler."""
    path = next(filter(None, map(probe.which, ("cc", "gcc", "clang"))), None)
    if path is None:
        return note(
            "no cc, gcc or clang on PATH: torch.compile and rehearsals need one",
            "install gcc",
        )
    return good(path)


def perf_events(probe: Probe) -> Answer:
    """Check whether the kernel counts the events of ``performance_events``."""
    refused = probe.count_cycles()
    if not refused:
        return good("processor cycles can be counted")
    says = f"performance_events would count nothing: perf_event_open fails with {refused}"
    if refused in {"EACCES", "EPERM"}:
        level = (probe.read("/proc/sys/kernel/perf_event_paranoid") or "unknown").strip()
        return note(
            f"{says}; kernel.perf_event_paranoid is {level}",
            "sysctl kernel.perf_event_paranoid=2; in a container: --cap-add PERFMON",
        )
    return note(
        f"{says}; virtual machines often have no counters", "leave performance_events empty here"
    )


def uncounted(machine: Machine, events: Iterable[str]) -> str:
    """Say which of these perf events this machine cannot count, and which it can; "" if all."""
    errors = {event: error for event in events if (error := machine.count(event))}
    if not errors:
        return ""
    says = ", ".join(f"{event} ({error})" for event, error in errors.items())
    countable = [event for event in PERF_EVENTS if not machine.count(event)]
    instead = f"profiler.experimental.performance_events=[{','.join(countable)}] counts here"
    return (
        f"profiler.experimental.performance_events: the system does not count {says}, and torch"
        " would drop every event. Virtual machines often have no counters;"
        " python -m harness doctor says more" + (f". {instead}" if countable else "")
    )
