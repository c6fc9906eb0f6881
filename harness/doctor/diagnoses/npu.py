"""Checks for runs on Ascend NPUs."""

from __future__ import annotations

import glob

from msgspec import Struct

from harness.devices.npu_rules import OTHER_PROFILERS, takes_over
from harness.doctor.diagnoses.base import (
    TOOL_LIMIT_S,
    Answer,
    bad,
    child,
    field,
    good,
    note,
    release,
    variables,
    why,
)
from harness.doctor.machine import Probe
from harness.text import word

_ASCEND = "/usr/local/Ascend"
_HOMES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")
_MARKS = "lib64/libms_tools_ext.so"
"""Where torch_npu looks below ASCEND_HOME_PATH before it hands a mark to CANN with its domain."""
_NO_DOMAINS = "torch_npu then gives the domain default to marks (mstx), whatever domain they name"
_SHARED = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")

ACL_CODE = """
import ctypes
ctypes.CDLL("libascendcl.so")
print("{}")
"""
NPU_CODE = """
import json, torch, torch_npu
print(json.dumps({"npus": torch_npu.npu.device_count()}))
"""


class Acl(Struct):
    """The answer of `ACL_CODE`."""


class Npu(Struct):
    """The answer of `NPU_CODE`."""

    npus: int


def driver(probe: Probe) -> Answer:
    """Look for the driver's version; containers often get the devices without the file."""
    path = f"{_ASCEND}/driver/version.info"
    version = field(probe.read(path), "[Vv]ersion")
    if version:
        return good(version)
    if _numbered(probe):
        return note(f"of unknown version: {path} is missing", f"mount {_ASCEND}/driver, too")
    return bad(f"no version in {path}", "install the driver and firmware of the NPU")


def _numbered(probe: Probe) -> tuple[str, ...]:
    return probe.paths("/dev/davinci[0-9]*")


def devices(probe: Probe) -> Answer:
    """Look for the NPUs' device files, and for those that all NPUs share."""
    device_files = _numbered(probe)
    if not device_files:
        return bad(
            "no /dev/davinci0 or other",
            f"in a container: --device /dev/davinci0 {_device_options(_SHARED)}",
        )
    missing = [path for path in _SHARED if not probe.paths(path)]
    if missing:
        return bad(
            f"{', '.join(device_files)} without {', '.join(missing)}",
            f"in a container: {_device_options(missing)}",
        )
    tool = "" if probe.which("npu-smi") else "; npu-smi is not on PATH, and not needed"
    return good(", ".join(device_files) + tool)


def _device_options(paths: tuple[str, ...] | list[str]) -> str:
    return " ".join(f"--device {path}" for path in paths)


def cann(probe: Probe) -> Answer:
    """Check CANN's environment as torch_npu does at import, and find its version."""
    name = next((variable for variable in _HOMES if probe.environment.get(variable)), None)
    if name is None:
        says = f"neither {' nor '.join(_HOMES)} is set"
        if isinstance(child(probe, ACL_CODE, Acl), str):
            return bad(says, _source(probe))
        return note(f"{says}, but its libraries are found; {_NO_DOMAINS}", _source(probe))
    home = probe.environment[name]
    needed = [home]
    if name == "ASCEND_HOME_PATH":
        operators = probe.environment.get("ASCEND_OPP_PATH")
        if not operators:
            return bad(f"{name}={home} without ASCEND_OPP_PATH", _source(probe))
        needed += [operators, f"{home}/runtime", f"{home}/compiler"]
    missing = [path for path in needed if not probe.paths(glob.escape(path))]
    if missing:
        return bad(f"{name}={home}, but there is no {', '.join(missing)}", _source(probe))
    version = _version(probe, home)
    says = f"{version or 'of unknown version'}, in {home}"
    if name != "ASCEND_HOME_PATH":
        return note(f"{says}; ASCEND_HOME_PATH is not set: {_NO_DOMAINS}", _source(probe))
    if not probe.paths(glob.escape(f"{home}/{_MARKS}")):
        return note(f"{says}, without {_MARKS}: {_NO_DOMAINS}", "a CANN that has it, for domains")
    return good(says) if version else note(says)


def _source(probe: Probe) -> str:
    scripts = probe.paths(f"{_ASCEND}/*/set_env.sh")
    return f"source {word(scripts[0])}" if scripts else "install CANN, and source its set_env.sh"


def _version(probe: Probe, home: str) -> str:
    versions = field(probe.read(f"{home}/version.cfg"), "toolkit_running_version")
    if versions:  # [7.6.0.1.220:8.0.0]: the package's version and CANN's
        return versions.strip("[]").rpartition(":")[2]
    name = "ascend_toolkit_install.info"
    places = (*probe.paths(f"{glob.escape(home)}/*/{name}"), f"{home}/{name}")
    return next(filter(None, (field(probe.read(place), "version") for place in places)), "")


def libraries(probe: Probe) -> Answer:
    """Check whether the loader finds CANN."""
    answer = child(probe, ACL_CODE, Acl)
    if isinstance(answer, str):
        return bad(answer, f"{_source(probe)}: LD_LIBRARY_PATH must lead to CANN")
    return good("libascendcl.so is found")


def pair(probe: Probe) -> Answer:
    """Check torch_npu's version, which must be that of torch."""
    torch_npu, torch = probe.version("torch-npu"), probe.version("torch")
    if torch is None:
        return bad(f"{torch_npu or 'not installed'}, and torch is not installed", "see torch")
    release_wanted = release(torch)[:3]
    install = f"pip install torch-npu=={'.'.join(map(str, release_wanted))}"
    if torch_npu is None:
        return bad("not installed", install)
    if release(torch_npu)[:3] != release_wanted:
        return bad(f"{torch_npu} does not match torch {torch}", install)
    return good(f"{torch_npu}, which matches torch {torch}")


def starts(probe: Probe) -> Answer:
    """Check whether torch_npu can be imported and finds an NPU."""
    answer = child(probe, NPU_CODE, Npu)
    if isinstance(answer, str):
        return bad(answer, "see torch_npu, cann, cann libraries, npu driver")
    if not answer.npus:
        return bad(
            "it can be imported, and finds no NPU",
            "see npu devices; ASCEND_RT_VISIBLE_DEVICES names an NPU or is unset",
        )
    return good(f"it finds {answer.npus} NPU(s)")


def msprof(probe: Probe) -> Answer:
    """Check the program that torch_npu calls to turn CANN's raw data into tables."""
    program = probe.which("msprof")
    if program is None:
        return bad(
            "not on PATH: torch_npu writes no tables without it, and exits with 0", _source(probe)
        )
    # torch_npu looks for the script below the part of the path before its first "tools".
    script = f"{program.split('tools')[0]}tools/profiler/profiler_tool/analysis/msprof/msprof.py"
    if not probe.paths(glob.escape(script)):
        return bad(f"{program}, but there is no {script}", "reinstall CANN's toolkit")
    result = probe.run((program, "--help"), TOOL_LIMIT_S)
    if result.code != 0:
        return bad(f"{program} --help: {why(result)}", "reinstall CANN's toolkit")
    return good(program + ("" if "--type" in result.out else "; it exports no databases (Db)"))


def environment(probe: Probe) -> Answer:
    """Look for variables that turn torch_npu's profiler off, or redirect its captures."""
    return variables(probe, OTHER_PROFILERS, takes_over)


def warnings(probe: Probe) -> Answer:
    """Look for variables that silence torch_npu's warnings."""
    variables = probe.environment
    silent = [
        name
        for name, silences in (
            ("RANK", variables.get("RANK", "0") != "0"),
            ("TORCH_NPU_WARNING_DISABLE", variables.get("TORCH_NPU_WARNING_DISABLE") == "1"),
        )
        if silences
    ]
    if not silent:
        return good("torch_npu prints its warnings")
    says = ", ".join(f"{name}={variables[name]}" for name in silent)
    return note(f"torch_npu prints none with {says}", f"unset {' '.join(silent)}")


def lacks(probe: Probe, *, analyse: bool) -> str:
    """Say what an NPU run lacks on this machine, and what to do; "" for nothing.

    Runs only the quick checks: not whether torch_npu starts. `analyse` is whether msprof will be
    needed.
    """
    checks = {
        "torch_npu": pair,
        "CANN": cann,
        "its libraries": libraries,
        "the environment": environment,
    }
    checks |= {"msprof": msprof} if analyse else {}
    answers = {name: check(probe) for name, check in checks.items()}
    lines = [
        f"\n  {name}: {answer.says}\n    to do: {answer.do}"
        for name, answer in answers.items()
        if answer.good is False
    ]
    if not lines:
        return ""
    return (
        "device=npu cannot run on this machine:"
        + "".join(lines)
        + "\n  python -m harness doctor device=npu checks everything that a run needs;"
        "\n  python -m harness rehearse runs the same without an NPU"
    )
