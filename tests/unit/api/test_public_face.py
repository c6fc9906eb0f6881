"""What a program can import: its names and signatures stay, and cost no import of torch."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import harness
from tests.conftest import ROOT

FUNCTIONS = {
    "profile": "(*overrides: 'str', config_dir: 'str | os.PathLike[str] | None' = None, out: 'str |"
    " os.PathLike[str] | None' = None, on_missing: 'OnMissing' = 'warn', on_error: 'OnError' ="
    " 'warn') -> 'Profile'",
    "compose": "(*overrides: 'str', config_dir: 'str | os.PathLike[str] | None' = None) ->"
    " 'Request'",
    "plan": "(request: 'Request', folder: 'str | os.PathLike[str] | None' = None) -> 'Plan'",
    "build_profiler": "(planned: 'Plan', on_trace_ready: 'Callable[[Any], object] | None' = None)"
    " -> 'Any'",
    "load": "(run: 'str | os.PathLike[str]') -> 'Run'",
    "step": "() -> 'None'",
    "stop": "() -> 'None'",
    "stage": "(name: 'str') -> 'AbstractContextManager[None]'",
}
MEMBERS = {
    "Session": ["address", "close", "folder", "status", "step", "window"],
    "Window": [
        *("folder", "number", "reason", "result", "state", "stop", "verdict", "wait"),
    ],
    "Profile": ["folder", "result", "stage", "start", "step", "stop"],
    "Run": [
        *("analyses", "delivery", "exit_code", "missing", "reason", "status", "summary"),
        *("tables", "verdict"),
    ],
}
ERRORS = [
    *("HarnessError", "HarnessWarning", "MachineError", "NotDeliveredError", "Problem"),
    *("RecorderError", "RefusedError", "WriteError"),
]


def test_the_names_are_these() -> None:
    assert sorted(harness.__all__) == sorted([*FUNCTIONS, *MEMBERS, *ERRORS, "__version__"])
    for name in harness.__all__:
        assert name in dir(harness)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signatures_are_these(name: str) -> None:
    assert str(inspect.signature(getattr(harness, name))) == FUNCTIONS[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_the_members_are_these(name: str) -> None:
    public = [member for member in vars(getattr(harness, name)) if not member.startswith("_")]
    assert sorted(public) == MEMBERS[name]


def test_no_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(harness, "nothing")  # noqa: B009 - mypy would see it


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import harness", ("torch", "polars", "hydra", "msgspec")),
        ("import harness; harness.load, harness.Run", ("torch", "polars", "hydra")),
        ("import harness; harness.profile('device=cpu')", ("torch",)),
        ("import harness; harness.Session(out='/dev/shm/harness-none').close()", ("torch",)),
        ("import harness; harness.plan(harness.compose('device=npu'))", ("torch",)),
    ],
)
def test_what_is_used_is_what_is_loaded(statement: str, absent: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint([n for n in {absent!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
