"""``harness doctor``: is this machine able to? Imports no torch; child processes do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct
from rich.console import Console

from harness.devices import TARGETS
from harness.doctor.diagnoses import cuda, host, npu
from harness.doctor.diagnoses.base import Answer
from harness.doctor.machine import Machine, Probe
from harness.errors import ExitCode, Problem, RefusedError
from harness.report.section import Section
from harness.report.terminal import show

ALL = ("cpu", "cuda", "npu")
DEFAULT = "cpu"
"""The device that decides the exit code when none is named: what the harness runs by default."""

_MARKS = {True: "✓", False: "✗", None: "–"}


class DoctorCheck(Struct, frozen=True):
    """A line of the diagnosis."""

    name: str
    devices: tuple[str, ...]
    """Those whose runs need it."""
    ask: Callable[[Probe], Answer]


CHECKS = (
    DoctorCheck("python", ALL, host.python),
    DoctorCheck("torch", ALL, host.torch),
    DoctorCheck("kineto", ALL, host.kineto),
    DoctorCheck("environment", ALL, host.environment),
    DoctorCheck("disk", ALL, host.disk),
    DoctorCheck("compiler", ALL, host.compiler),
    DoctorCheck("perf events", ("cpu", "cuda"), host.perf_events),
    DoctorCheck("nvidia driver", ("cuda",), cuda.driver),
    DoctorCheck("gpus", ("cuda",), cuda.gpus),
    DoctorCheck("cupti", ("cuda",), cuda.cupti),
    DoctorCheck("gpu counters", ("cuda",), cuda.counters),
    DoctorCheck("cuda environment", ("cuda",), cuda.environment),
    DoctorCheck("npu driver", ("npu",), npu.driver),
    DoctorCheck("npu devices", ("npu",), npu.devices),
    DoctorCheck("cann", ("npu",), npu.cann),
    DoctorCheck("cann libraries", ("npu",), npu.libraries),
    DoctorCheck("torch_npu", ("npu",), npu.pair),
    DoctorCheck("torch_npu starts", ("npu",), npu.starts),
    DoctorCheck("msprof", ("npu",), npu.msprof),
    DoctorCheck("npu environment", ("npu",), npu.environment),
    DoctorCheck("npu warnings", ("npu",), npu.warnings),
)
"""Every line, in the order in which it is shown; a new one is a function and a line here."""


class DoctorFinding(Struct, frozen=True, kw_only=True):
    """What one check found."""

    name: str
    good: bool | None
    """Null: worth knowing, and in the way of nothing by itself."""
    says: str
    do: str = ""
    """What to do, where something can be done."""
    devices: tuple[str, ...]
    """Those whose runs need it."""


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What ``--json`` prints."""

    device: str | None
    """The device that was named."""
    exit_code: int
    lacks: dict[str, tuple[str, ...]]
    """For each device that was looked at: what is in the way, by the names of the findings."""
    findings: tuple[DoctorFinding, ...]


def examine(device: str | None, probe: Probe) -> tuple[DoctorFinding, ...]:
    """Return what the checks that matter to `device` find; all checks for None."""
    return tuple(
        DoctorFinding(
            name=check.name,
            good=answer.good,
            says=answer.says,
            do=answer.do,
            devices=check.devices,
        )
        for check in CHECKS
        if device is None or device in check.devices
        for answer in (check.ask(probe),)
    )


def diagnose(device: str | None, probe: Probe) -> Diagnosis:
    """Examine the machine; the named device, or else `DEFAULT`, decides the exit code."""
    findings = examine(device, probe)
    lacks = {
        each: tuple(
            finding.name
            for finding in findings
            if finding.good is False and each in finding.devices
        )
        for each in ([device] if device else ALL)
    }
    judged = device or DEFAULT
    return Diagnosis(
        device=device,
        exit_code=ExitCode.UNAVAILABLE if lacks[judged] else ExitCode.OK,
        lacks=lacks,
        findings=findings,
    )


def doctor(
    overrides: Sequence[str], console: Console, *, as_json: bool, probe: Probe | None = None
) -> ExitCode:
    """Examine this machine and print what was found; leaves nothing behind.

    Raises:
        RefusedError: A setting other than one device was given.
    """
    diagnosis = diagnose(_device(overrides), probe or Machine())
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(diagnosis), indent=2).decode()
        console.out(text, highlight=False)
    else:
        show([_section(diagnosis)], console)
    return ExitCode(diagnosis.exit_code)


def _device(overrides: Sequence[str]) -> str | None:
    found = [
        Problem(
            setting=setting,
            given=given,
            reason="there is no such device"
            if setting == "device"
            else "doctor looks at the machine, for one device or for all",
            fix=" or ".join(f"device={name}" for name in TARGETS) + ", or nothing",
        )
        for setting, _, given in (text.partition("=") for text in overrides)
        if setting != "device" or given not in TARGETS
    ]
    if found:
        raise RefusedError(found)
    # As for any setting, the last one counts.
    return overrides[-1].partition("=")[2] if overrides else None


def _section(diagnosis: Diagnosis) -> Section:
    notes = [
        f"{device}: " + (f"in the way: {', '.join(names)}" if names else "nothing is in the way")
        for device, names in diagnosis.lacks.items()
    ]
    if diagnosis.lacks.get("npu"):
        notes.append("python -m harness rehearse runs an NPU's profile without one")
    if diagnosis.device is None:
        notes.append(
            f"exit code {diagnosis.exit_code}, decided by {DEFAULT}; device=… asks for one"
        )
    return Section(
        title=f"This machine, for {diagnosis.device or 'any device'}",
        columns=("", "part", "needed by", "found"),
        rows=tuple(
            (
                _MARKS[finding.good],
                finding.name,
                "all" if finding.devices == ALL else " ".join(finding.devices),
                finding.says + (f"\nto do: {finding.do}" if finding.do else ""),
            )
            for finding in diagnosis.findings
        ),
        notes=tuple(notes),
    )
