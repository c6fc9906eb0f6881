"""Building the emulator: once, whoever comes first, and a clear answer where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.emulator import build as building
from harness.emulator.build import FLAGS, LIBRARY, MSPROF, OTHER_NAMES, SOURCES, Emulator, build
from harness.errors import MachineError
from harness.settings.faults import Faults
from tests.npu.conftest import OnNpu

BUILD = "import sys, pathlib; from harness.emulator.build import build; print(build().libraries)"


@pytest.mark.usefixtures("emulator")
def test_processes_that_build_at_once_share_one_result(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", BUILD], env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    printed = {process.communicate()[0].decode().strip() for process in running}
    assert {process.returncode for process in running} == {0}
    (libraries,) = map(Path, printed)
    root = tmp_path / "harness" / "emulator"
    assert list(root.iterdir()) == [libraries.parent]
    assert {path.name for path in libraries.iterdir()} == {
        LIBRARY,
        *OTHER_NAMES,
    }


def test_a_built_emulator_is_not_built_again(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_compile", None)
    assert build() == emulator


@pytest.mark.usefixtures("emulator")
def test_without_a_compiler_the_answer_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="install gcc"):
        build(tmp_path)


@pytest.mark.usefixtures("emulator")
def test_sources_that_do_not_compile_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.c").write_text("int f(void) { return nothing; }")
    monkeypatch.setattr(building, "SOURCES", tmp_path)
    with pytest.raises(MachineError, match="nothing"):
        build(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_sources_compile_without_a_warning(emulator: Emulator, tmp_path: Path) -> None:
    sources = [str(path) for path in SOURCES.glob("*.c")]
    command = ["cc", *FLAGS, "-Werror", f"-I{emulator.libraries.parent}", *sources]
    subprocess.run([*command, "-o", str(tmp_path / "library.so"), "-lm"], check=True)


def test_the_wheels_operators_are_found(emulator: Emulator) -> None:
    names = (emulator.libraries.parent / "operator_names.inc").read_text().splitlines()
    assert len(names) > 900
    assert "OPERATOR(aclnnMatmul)" in names


def test_the_environment_is_that_of_a_machine_with_two_npus_and_no_cann(
    emulator: Emulator, tmp_path: Path
) -> None:
    base = {"ASCEND_HOME_PATH": "/cann", "LD_LIBRARY_PATH": "/lib", "PATH": "/bin", "KEPT": "1"}
    made = emulator.environment(base, record=tmp_path / "calls", strict=True)
    assert made == {
        "KEPT": "1",
        "ASCEND_HOME_PATH": str(emulator.home),
        "ASCEND_OPP_PATH": str(emulator.home / "opp"),
        "LD_LIBRARY_PATH": f"{emulator.libraries}:/lib",
        "PATH": f"{emulator.tools}:/bin",
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        "HARNESS_EMULATOR_DEVICES": "2",
        "HARNESS_EMULATOR_ERA": "block_num",
        "HARNESS_EMULATOR_PYTHON": sys.executable,
        "HARNESS_EMULATOR_MSPROF": str(MSPROF),
        "HARNESS_EMULATOR_RECORD": str(tmp_path / "calls"),
        "HARNESS_EMULATOR_STRICT": "1",
    }


def test_faults_and_the_era_are_handed_over_as_variables(emulator: Emulator) -> None:
    faults = Faults(
        missing_features=("ATTR", "MemoryAccess"),
        rejected_settings=("host_sys", "profile_memory"),
        start_fails=True,
        crash_at_stop=True,
        lost_head=0.5,
        na_shapes=("MatMulV2",),
    )
    made = emulator.environment({}, era="block_dim", faults=faults)
    assert made["HARNESS_EMULATOR_ERA"] == "block_dim"
    assert made["HARNESS_EMULATOR_FEATURES"] == "AICORE_SHAPE"
    assert made["HARNESS_EMULATOR_REJECTED"] == "8,3"
    assert made["HARNESS_EMULATOR_START_FAILS"] == made["HARNESS_EMULATOR_CRASH_AT_STOP"] == "1"
    assert Faults.read(made) == faults
    assert Faults.read(emulator.environment(made)) == Faults()


def test_without_msprof_no_folder_of_path_holds_one(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "msprof").write_text("#!/bin/sh\n")
    (tmp_path / "msprof").chmod(0o755)
    base = {"PATH": f"{emulator.tools}:/bin:{tmp_path}:/usr/bin"}
    made = emulator.environment(base, faults=Faults(msprof="missing"))
    assert made["PATH"] == "/bin:/usr/bin"


KNOWN = """
import ctypes, torch_npu
from torch_npu.utils.collect_env import get_cann_version
library = ctypes.CDLL("libascendcl.so")
print(ctypes.c_int.in_dll(library, "harness_emulated").value, get_cann_version())
"""


def test_a_process_can_know_that_it_runs_on_the_emulator(on_npu: OnNpu) -> None:
    assert on_npu(KNOWN).splitlines()[-1] == "1 emulated"
