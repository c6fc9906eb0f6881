"""``harness doctor``: check this machine. Imports no torch; child processes do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec
from msgspec import Struct

from harness.devices import TARGETS
from harness.doctor.diagnoses import cuda, host, npu
from harness.doctor.diagnoses.base import Answer
from harness.doctor.machine import Machine, Probe
from harness.errors import ExitCode, Problem, refuse
from harness.report.console import Console
from harness.report.section import Column, Command, Note, Section, Status
from harness.report.terminal import show
from harness.settings.nearest import nearest
from harness.waits import waiting

ALL = tuple(TARGETS)
DEFAULT = "cpu"
"""The device that decides the exit code when none is named: the default of a run."""

_STATUSES: dict[bool | None, Status] = {True: "good", False: "bad", None: "remark"}


class DoctorCheck(Struct, frozen=True):
    """One check: a line of the diagnosis."""

    name: str
    devices: tuple[str, ...]
    """The devices whose runs need it."""
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
    """Whether a run can work with it; null: worth knowing, but no obstacle by itself."""
    says: str
    do: str = ""
    """What to do about it; empty if there is nothing to do."""
    devices: tuple[str, ...]
    """The devices whose runs need it."""


class Diagnosis(Struct, frozen=True, kw_only=True):
    """What ``--json`` prints."""

    device: str | None
    """The device that was named; null: none."""
    exit_code: int
    lacks: dict[str, tuple[str, ...]]
    """The names of the findings that are an obstacle, for each device that was checked."""
    findings: tuple[DoctorFinding, ...]


def examine(device: str | None, probe: Probe) -> tuple[DoctorFinding, ...]:
    """Return what the checks for `device` find; None: all checks."""
    return tuple(
        _finding(check, probe) for check in CHECKS if device is None or device in check.devices
    )


def _finding(check: DoctorCheck, probe: Probe) -> DoctorFinding:
    with waiting(f"looking at {check.name}"):
        answer = check.ask(probe)
    return DoctorFinding(
        name=check.name,
        good=answer.good,
        says=answer.says,
        do=answer.do,
        devices=check.devices,
    )


def diagnose(device: str | None, probe: Probe) -> Diagnosis:
    """Examine the machine; `device`, or `DEFAULT` for None, decides the exit code."""
    findings = examine(device, probe)
    lacks = {
        name: tuple(
            finding.name
            for finding in findings
            if finding.good is False and name in finding.devices
        )
        for name in ([device] if device else ALL)
    }
    return Diagnosis(
        device=device,
        exit_code=ExitCode.UNAVAILABLE if lacks[device or DEFAULT] else ExitCode.OK,
        lacks=lacks,
        findings=findings,
    )


def doctor(
    overrides: Sequence[str],
    console: Console,
    screen: AbstractContextManager[object],
    *,
    as_json: bool,
    probe: Probe | None = None,
) -> ExitCode:
    """Examine this machine and print the diagnosis; leaves nothing behind.

    `screen` is open while it is examined.

    Raises:
        RefusedError: A setting other than one device was given.
    """
    device = _device(overrides)
    with screen:
        diagnosis = diagnose(device, probe or Machine())
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(diagnosis), indent=2).decode()
        console.out(text, highlight=False)
    else:
        show([_section(diagnosis)], console)
    return ExitCode(diagnosis.exit_code)


def _device(overrides: Sequence[str]) -> str | None:
    """Return the device that is named; None: none."""
    problems = []
    for setting, _, given in (text.partition("=") for text in overrides):
        if setting != "device":
            reason = "doctor checks the machine, and takes no setting but the device"
            fix = "leave it out"
        elif given not in TARGETS:
            reason = f"there is no such device; there are {', '.join(TARGETS)}"
            fix = f"device={nearest(given, TARGETS) or 'NAME'}, or leave it out"
        else:
            continue
        problems.append(Problem(setting=setting, given=given, reason=reason, fix=fix))
    refuse(problems)
    # As for any setting, the last one counts.
    return overrides[-1].partition("=")[2] if overrides else None


def _section(diagnosis: Diagnosis) -> Section:
    notes: list[Note] = [
        f"{device}: " + (f"obstacles: {', '.join(names)}" if names else "no obstacle")
        for device, names in diagnosis.lacks.items()
    ]
    if any(lacks and TARGETS[device].can_be_rehearsed for device, lacks in diagnosis.lacks.items()):
        line = "python -m harness rehearse"
        notes.append(Command(purpose="run an NPU profile without an NPU", line=line))
    if diagnosis.device is None:
        notes.append(
            f"exit code {diagnosis.exit_code}, for the {DEFAULT}; device=NAME checks another one"
        )
    return Section(
        title=f"This machine, for {diagnosis.device or 'any device'}",
        columns=(Column("", "status"), Column("part"), Column("needed by"), Column("found")),
        rows=tuple(
            (
                _STATUSES[finding.good],
                finding.name,
                "all" if finding.devices == ALL else " ".join(finding.devices),
                finding.says + (f"\nto do: {finding.do}" if finding.do else ""),
            )
            for finding in diagnosis.findings
        ),
        notes=tuple(notes),
    )
