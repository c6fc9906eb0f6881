"""``harness.profile`` in the cells of a real Jupyter kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.conftest import ROOT, environment, read_record

LIMIT_S = 60
FIRST = """
import time
import harness
import torch

ones = torch.ones(3, 4)
SHORT = ("workload.warmup_steps=1", "profiler.baseline.steps=1")

def profile(name):
    return harness.profile(*SHORT, out=name)

def train(p, steps):
    for _ in range(steps):
        torch.mm(ones, ones.T)
        p.step()
"""


class Cell(NamedTuple):
    """What a cell has shown."""

    result: str
    error: str
    out: str
    warnings: tuple[str, ...]
    """Each with the line that Python names for it."""


class Notebook:
    """A kernel, and what is typed into its cells."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def run(self, code: str, *, interrupt_at: str | None = None) -> Cell:
        shown: dict[str, str] = {"stdout": "", "stderr": "", "result": "", "error": ""}

        def take(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                shown[content["name"]] += content["text"]
                if interrupt_at is not None and interrupt_at in content["text"]:
                    self._manager.interrupt_kernel()
            elif message["msg_type"] == "execute_result":
                shown["result"] = content["data"]["text/plain"]
            elif message["msg_type"] == "error":
                shown["error"] = f"{content['ename']}: {content['evalue']}"

        self._client.execute_interactive(code, timeout=LIMIT_S, output_hook=take)
        warned = [line for line in shown["stderr"].splitlines() if "Warning: " in line]
        return Cell(shown["result"], shown["error"], shown["stdout"], tuple(warned))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def notebook(folder: Path) -> Iterator[Notebook]:
    manager = KernelManager(connection_file=str(folder / "kernel.json"))
    own = {"IPYTHONDIR": str(folder / "ipython"), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    manager.start_kernel(cwd=str(folder), env=environment() | own | {"PYTHONPATH": path})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=LIMIT_S)
        opened = Notebook(manager, client)
        assert opened.run(FIRST) == Cell("", "", "", ())
        yield opened
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_profile_spans_cells(notebook: Notebook, folder: Path) -> None:
    assert notebook.run("p = profile('cells')\np").result == "<Profile: not begun>"
    assert notebook.run("p.start()\np").result == "<Profile cells: 0 of 6 steps made>"
    assert notebook.run("train(p, 2)\np").result == "<Profile cells: 2 of 6 steps made>"
    assert notebook.run("train(p, 4)").error == ""
    ended = notebook.run("p.stop()\np.result")
    assert ended == Cell(f"<Run {folder}/cells: ok, delivered>", "", "", ())
    assert notebook.run("p").result == "<Profile cells: ok, delivered>"
    count = "p.result.tables['operators'].filter(name='aten::mm')['step'].to_list()"
    assert notebook.run(count).result == "[1, 2, 3]"


def test_a_cell_that_is_run_again_warns_again_at_its_own_line(notebook: Notebook) -> None:
    cell = "with profile('short') as p:\n    train(p, 2)\np.result.verdict"
    for _ in range(2):
        run = notebook.run(cell)
        assert run.result == "'not_delivered'"
        (warning,) = run.warnings
        assert "ipykernel_" in warning
        assert warning.endswith(".py:1: HarnessWarning: short: not delivered")


def test_an_exception_in_the_block_is_the_cells_own(notebook: Notebook) -> None:
    raised = notebook.run("with profile('raises') as p:\n    train(p, 4)\n    1 / 0")
    assert (raised.error, raised.warnings) == ("ZeroDivisionError: division by zero", ())
    kept = notebook.run("p.result.status, p.result.reason, p.result.tables['steps'].height")
    assert kept.result == "('failed', 'the program raised ZeroDivisionError: division by zero', 4)"


def test_an_interrupt_ends_the_block_and_the_kernel_goes_on(
    notebook: Notebook, folder: Path
) -> None:
    waits = "with profile('waits') as p:\n    train(p, 4)\n    print('waits')\n    time.sleep(60)"
    interrupted = notebook.run(waits, interrupt_at="waits")
    assert interrupted.error.startswith("KeyboardInterrupt")
    assert read_record(folder / "waits").status == "interrupted"
    assert notebook.run("p.result").result == f"<Run {folder}/waits: interrupted, pending>"
    again = notebook.run("with profile('again') as p:\n    train(p, 6)\np.result.verdict")
    assert again == Cell("'delivered'", "", "", ())


def test_a_profile_whose_variable_is_gone_can_be_ended(notebook: Notebook) -> None:
    cell = "p = profile('twice')\np.start()"
    assert notebook.run(cell).error == ""
    assert notebook.run(cell).error == (
        "RecorderError: another harness.profile(), or a window of a harness.Session, is open in"
        " this process, and torch runs one profiler at a time: end that one first, by its stop() or"
        " by harness.stop()"
    )
    (warning,) = notebook.run("harness.stop()").warnings
    assert warning.endswith(".py:1: HarnessWarning: twice: not delivered")
    assert notebook.run(cell).error == ""
    assert notebook.run("train(p, 6)\nharness.stop()\np.result.verdict").result == "'delivered'"
    assert notebook.run("harness.stop()") == Cell("", "", "", ())
