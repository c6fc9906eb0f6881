"""The start of the command: what it imports, and an interrupt at any moment of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import LIMIT_S, environment

HEAVY = ("numpy", "polars", "torch", "torch_npu")
LIGHT = [
    ["--version"],
    ["--help"],
    ["help", "read"],
    ["read", "--help"],
    ["--cfg", "job"],
    ["--cfg", "job", "device=npu", "profiler=level1"],
    ["--info", "defaults"],
    ["check"],
    ["check", "device=npu", "profiler=sglang"],
    ["-m", "check", "profiler=level0,level1"],
    ["profiler=nonsense"],
    ["workload=transformer", "workload.heads=5"],
    ["nonsense"],
    ["--nonsense"],
]


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_neither_tables_nor_torch_are_imported_by(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from harness.cli.main import main\n"
        "try: main()\n"
        f"finally: print('HEAVY', *sorted({HEAVY} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "HEAVY", done.stderr
    assert not (tmp_path / "outputs").exists()


SITE = """\
import os, sys

def tell(event, arguments):
    if event == "import" and arguments[0] == "harness.cli.main":
        os.write({descriptor}, b"x")

sys.addaudithook(tell)
"""
"""Says when the first line of the harness has run; Python imports it before the command."""

CONSOLE_SCRIPT = "import sys; from harness.__main__ import main; sys.exit(main())"
"""What pip writes for the entry point of pyproject.toml."""

FORMS = {"module": ("-m", "harness"), "script": ("-c", CONSOLE_SCRIPT)}
STEP_S = 0.005


def interrupted_after(delay_s: float, form: str, folder: Path) -> tuple[int, str] | None:
    """Interrupt ``check`` that long after its start; None if it has ended before."""
    reading, writing = os.pipe()
    site = folder / "site" / "sitecustomize.py"
    site.parent.mkdir(exist_ok=True)
    site.write_text(SITE.format(descriptor=writing), encoding="utf-8")
    path = os.pathsep.join([str(site.parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, *FORMS[form], "check"],
        cwd=folder,
        env=environment() | {"PYTHONPATH": path},
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writing)
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        time.sleep(delay_s)
        ended = process.poll() is not None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    return None if ended else (process.returncode, errors)


def test_an_interrupt_at_any_moment_of_the_start_is_one_line(tmp_path: Path) -> None:
    forms = list(FORMS)
    for step in range(1000):
        answer = interrupted_after(step * STEP_S, forms[step % 2], tmp_path)
        if answer is None:
            break
        assert answer == (130, "interrupted\n"), f"{step * STEP_S:.3f} s after the start"
    assert step > len(forms)


def test_a_reader_that_is_gone_ends_the_command_in_silence(tmp_path: Path) -> None:
    for words in ("--help", "--info defaults", "check"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m harness {words} | true"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), words
