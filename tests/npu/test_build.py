"""Building the emulator: once, whoever comes first, and a clear answer where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.emulator import build as building
from harness.emulator.build import Emulator, build
from harness.errors import MachineError

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
        building.LIBRARY,
        *building.OTHER_NAMES,
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
    sources = [str(path) for path in building.SOURCES.glob("*.c")]
    command = ["cc", *building.FLAGS, "-Werror", f"-I{emulator.libraries.parent}", *sources]
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
        "LD_LIBRARY_PATH": f"{emulator.libraries}:/lib",
        "PATH": f"{emulator.tools}:/bin",
        "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
        "HARNESS_EMULATOR_DEVICES": "2",
        "HARNESS_EMULATOR_PYTHON": sys.executable,
        "HARNESS_EMULATOR_MSPROF": str(building.MSPROF),
        "HARNESS_EMULATOR_RECORD": str(tmp_path / "calls"),
        "HARNESS_EMULATOR_STRICT": "1",
    }
