"""How this machine is asked."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from harness.devices.torch_profiler import PERF_EVENTS
from harness.doctor.machine import CommandResult, Machine


def test_commands_are_run_and_their_answers_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "1")
    machine = Machine()
    code = (
        f"import os; open({str(tmp_path / 'ran')!r}, 'a').write('x');"
        " print(os.environ['TORCH_DEVICE_BACKEND_AUTOLOAD'], flush=True); os.kill(os.getpid(), 15)"
    )
    for _ in range(2):
        ran = machine.run((machine.executable, "-c", code), 20)
        assert (ran.code, ran.out) == (-15, "0\n")
    assert (tmp_path / "ran").read_text() == "x"


def test_command_without_answer_is_ended_with_its_children() -> None:
    began = time.monotonic()
    ran = Machine().run(("sh", "-c", "sleep 100 & sleep 100"), 0.2)
    assert ran == CommandResult(code=None, err="no answer within 0.2 s")
    assert time.monotonic() - began < 20


def test_command_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    program = tmp_path / "msprof"
    program.write_text("#!/nowhere/python\n")
    program.chmod(0o755)
    ran = Machine().run((str(program), "--help"), 20)
    assert ran == CommandResult(code=None, err="it cannot be started: No such file or directory")


def test_files_programs_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "tools" / "msprof"
    real.parent.mkdir()
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    (tmp_path / "msprof").symlink_to(real)
    monkeypatch.setenv("PATH", str(tmp_path))
    machine = Machine()
    assert machine.which("msprof") == str(real)
    assert machine.which("npu-smi") is None
    assert machine.read(str(real)) == "#!/bin/sh\n"
    assert machine.read(str(tmp_path)) is None
    assert machine.paths(f"{tmp_path}/*") == (f"{tmp_path}/msprof", f"{tmp_path}/tools")
    assert machine.version("no-such-package") is None
    assert machine.version("msgspec") == msgspec.__version__


def test_room_is_that_of_the_nearest_folder_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    room = Machine().room("outputs")
    assert room.writable
    assert room.free > 0
    assert not (tmp_path / "outputs").exists()
    (tmp_path / "outputs").write_text("a file")
    (tmp_path / "outputs").chmod(0o755)
    assert not Machine().room("outputs").writable


def test_every_event_that_torch_counts_can_be_tried() -> None:
    machine = Machine()
    assert {event: machine.count(event) for event in PERF_EVENTS}.keys() == set(PERF_EVENTS)
    assert machine.count("cycles") == machine.count_cycles()
    with pytest.raises(KeyError):
        machine.count("branches")
