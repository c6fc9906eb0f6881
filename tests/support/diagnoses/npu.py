"""Ascend NPUs that are not here: what doctor says of them."""

from __future__ import annotations

from harness.doctor.diagnoses.npu import ACL_CODE, NPU_CODE
from harness.doctor.machine import CommandResult
from tests.support.machines import (
    CANN,
    CANN_FILES,
    MSPROF,
    MSPROF_SCRIPT,
    SET_ENV,
    Good,
    Other,
    answers,
    fails,
)

NPU_OPTIONS = "--device /dev/davinci_manager --device /dev/devmm_svm --device /dev/hisi_hdc"
UNDER_MSPROF = "torch_npu then assumes a run under msprof, and records nothing"
OFF = "torch_npu then switches its profiler off, and records nothing"
NO_DOMAINS = "torch_npu then gives the domain default to marks (mstx), whatever domain they name"
DAEMON = "torch_npu is then controlled by a daemon"


GOOD: list[Good] = [
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
        "npu devices",
        {"programs": {}},
        "/dev/davinci0, /dev/davinci1; npu-smi is not on PATH, and not needed",
    ),
    (
        "msprof",
        {"commands": {"--help": CommandResult(code=0, out="usage")}},
        f"{MSPROF}; it exports no databases (Db)",
    ),
    ("npu warnings", {"environment": {"RANK": "0"}}, "torch_npu prints its warnings"),
]
BAD: list[Other] = [
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
        f"in a container: --device /dev/davinci0 {NPU_OPTIONS}",
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
        "2.13.0 does not match torch 2.13.1+cpu",
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
        "reinstall CANN's toolkit",
    ),
    (
        "msprof",
        {"commands": {"--help": CommandResult(code=None, err="no answer within 20 s")}},
        f"{MSPROF} --help: no answer within 20 s",
        "reinstall CANN's toolkit",
    ),
    (
        "npu environment",
        {"environment": {"PROFILING_MODE": "dynamic", "PROFILER_SAMPLECONFIG": "{}"}},
        f"PROFILER_SAMPLECONFIG={{}} {UNDER_MSPROF}; PROFILING_MODE=dynamic {OFF}",
        "unset PROFILER_SAMPLECONFIG PROFILING_MODE",
    ),
    (
        "npu environment",
        {"environment": {"MSMONITOR_USE_DAEMON": "1", "KINETO_USE_DAEMON": "0"}},
        f"MSMONITOR_USE_DAEMON=1 {DAEMON}",
        "unset MSMONITOR_USE_DAEMON",
    ),
]
NOTES: list[Other] = [
    (
        "npu driver",
        {"files": {}},
        "of unknown version: /usr/local/Ascend/driver/version.info is missing",
        "mount /usr/local/Ascend/driver, too",
    ),
    (
        "cann",
        {"environment": {}},
        (
            "neither ASCEND_HOME_PATH nor ASCEND_TOOLKIT_HOME is set, but its libraries are found;"
            f" {NO_DOMAINS}"
        ),
        f"source {SET_ENV}",
    ),
    (
        "cann",
        {"environment": {"ASCEND_TOOLKIT_HOME": CANN}, "there": (CANN, SET_ENV)},
        f"8.0.0, in {CANN}; ASCEND_HOME_PATH is not set: {NO_DOMAINS}",
        f"source {SET_ENV}",
    ),
    (
        "cann",
        {"there": CANN_FILES[:-1]},
        f"8.0.0, in {CANN}, without lib64/libms_tools_ext.so: {NO_DOMAINS}",
        "a CANN that has it, for domains",
    ),
    ("cann", {"files": {}}, f"of unknown version, in {CANN}", ""),
    (
        "npu warnings",
        {"environment": {"RANK": "3", "TORCH_NPU_WARNING_DISABLE": "1"}},
        "torch_npu prints none with RANK=3, TORCH_NPU_WARNING_DISABLE=1",
        "unset RANK TORCH_NPU_WARNING_DISABLE",
    ),
]
