"""The workload that is the user's own step."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness.workloads.callable import EXAMPLE, Callable
from tests.support.building import Stages, build


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be a user in a working directory that Python does not search yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def write(folder: Path, code: str) -> None:
    (folder / "mine.py").write_text(code)


def test_callable_passes_its_arguments_on(user: Path) -> None:
    write(
        user,
        "def make(*, device, dtype, seed, size):\n"
        "    return lambda: (device.type, dtype, seed, size)\n",
    )
    workload = Callable(target="mine:make", kwargs={"size": 3}, dtype="float64")
    assert build(workload)() == ("cpu", torch.float64, 7, 3)
    assert workload.stages == ()


@pytest.mark.parametrize("parameters", ["device, dtype, seed, stage", "**passed"])
def test_callable_passes_stage_to_a_factory_that_takes_it(user: Path, parameters: str) -> None:
    read = "passed['stage']" if parameters == "**passed" else "stage"
    write(
        user,
        f"def make({parameters}):\n"
        "    def step():\n"
        f"        with {read}('mine'):\n"
        "            return 1\n"
        "    return step\n",
    )
    stage = Stages()
    assert build(Callable(target="mine:make"), stage)() == 1
    assert stage.entered == ["mine"]


def test_callable_finds_a_name_inside_a_class_and_a_package(user: Path) -> None:
    (user / "mine").mkdir()
    (user / "mine" / "deep.py").write_text(
        "class Models:\n"
        "    @staticmethod\n"
        "    def make(device, dtype, seed):\n"
        "        return lambda: 5\n"
    )
    assert build(Callable(target="mine.deep:Models.make"))() == 5


def test_callable_compiles_the_step(user: Path, compiled: list[object]) -> None:
    write(
        user,
        "import torch\n"
        "def make(device, dtype, seed):\n"
        "    return lambda: torch.ones(3, device=device, dtype=dtype).sum()\n",
    )
    assert build(Callable(target="mine:make", compile=True))() == 3
    assert len(compiled) == 1


def test_callable_puts_the_working_directory_first_and_only_once(user: Path) -> None:
    write(user, "def make(device, dtype, seed): return lambda: 0\n")
    build(Callable(target="mine:make"))
    build(Callable(target="mine:make"))
    assert sys.path[0] == str(user)
    assert sys.path.count(str(user)) == 1


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("absent:make", ModuleNotFoundError, "workload.target=absent:make: no module absent in "),
        ("mine.sub:make", ModuleNotFoundError, "workload.target=mine.sub:make: no module mine.sub"),
        ("mine:absent", AttributeError, "workload.target=mine:absent: .*'absent'; write the name"),
        ("mine:number", TypeError, "workload.target=mine:number is a int, not a factory; a"),
        ("mine:nothing", TypeError, "workload.target=mine:nothing returned a NoneType, not a step"),
        (
            "mine:bare",
            TypeError,
            "does not take the arguments device, dtype, seed .*a factory is a",
        ),
    ],
)
def test_callable_says_what_is_wrong_with_the_target(
    user: Path, target: str, kind: type[Exception], message: str
) -> None:
    write(user, "number = 3\ndef nothing(device, dtype, seed): pass\ndef bare(): pass\n")
    with pytest.raises(kind, match=message):
        build(Callable(target=target))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import absent_from_mine\n", "No module named 'absent_from_mine'"),
        ("from math import absent\n", "cannot import name 'absent' from 'math'"),
    ],
)
def test_callable_leaves_the_import_errors_of_the_users_module(
    user: Path, code: str, message: str
) -> None:
    write(user, code)
    with pytest.raises(ImportError, match=message) as caught:
        build(Callable(target="mine:make"))
    assert "workload.target" not in str(caught.value)


@pytest.mark.parametrize(
    "target", ["mine", "mine.make", "mine:", ":make", ".mine:make", "mine/file.py:make", "a:b c"]
)
def test_a_target_that_names_no_factory_is_a_problem_that_shows_one(target: str) -> None:
    (problem,) = Callable(target=target).problems()
    assert (problem.setting, problem.given) == ("workload.target", target)
    assert "a function that takes device, dtype and seed" in problem.reason
    assert "def factory(device, dtype, seed):" in problem.fix


def test_the_factory_that_is_shown_works(user: Path) -> None:
    (user / "my_module.py").write_text(textwrap.dedent(EXAMPLE.partition("\n")[2]))
    build(Callable(target="my_module:factory"))()
