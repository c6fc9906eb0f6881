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


def test_what_runs_until_a_child_has_been_started_imports_neither_tables_nor_torch() -> None:
    code = f"import sys, harness.cli.hydra_app; print(*sorted({HEAVY} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


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
MOMENTS = 40
"""Of the start, at which an interrupt is tried: on a quiet machine, one in ten milliseconds."""


class Started:
    """``check``, begun in a folder of its own, just after the first line of the harness has run."""

    def __init__(self, form: str, folder: Path) -> None:
        reading, writing = os.pipe()
        site = folder / "site" / "sitecustomize.py"
        site.parent.mkdir(exist_ok=True)
        site.write_text(SITE.format(descriptor=writing), encoding="utf-8")
        path = os.pathsep.join([str(site.parent), os.environ.get("PYTHONPATH", "")])
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *FORMS[form], "check"],
                cwd=folder,
                env=environment() | {"PYTHONPATH": path},
                pass_fds=(writing,),
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
        os.close(writing)
        assert os.read(reading, 1) == b"x"
        os.close(reading)
        self.began = time.monotonic()

    def ended(self) -> tuple[int, str, float]:
        """Return exit code, errors and seconds."""
        _, errors = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, errors, time.monotonic() - self.began


def test_an_interrupt_at_any_moment_of_the_start_is_one_line(tmp_path: Path) -> None:
    whole_s = min(Started(form, tmp_path).ended()[2] for form in FORMS)
    interrupted = 0
    for moment in range(MOMENTS):
        command = Started(list(FORMS)[moment % 2], tmp_path)
        time.sleep(moment * whole_s / MOMENTS)
        all_is_printed = command.output.stat().st_size > 0
        command.process.send_signal(signal.SIGINT)
        code, errors, _ = command.ended()
        interrupted += code == 130
        # When all is printed, an interrupt may come too late to change anything.
        allowed = [(130, "interrupted\n"), *([(0, "")] if all_is_printed else [])]
        assert (code, errors) in allowed, f"{moment} of {MOMENTS}"
    assert interrupted > MOMENTS / 2


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
