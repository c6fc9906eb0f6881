"""The plugin of pytest, in a session of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points

import pytest

from harness.integrations import pytest_plugin
from tests.conftest import ROOT

pytest_plugins = ["pytester"]

BUDGETS = """
import pytest
import torch

layer = torch.nn.Linear(64, 64)

def steps(profile, count=11):
    with profile as p:
        for _ in range(count):
            layer(torch.randn(8, 64)).sum()
            p.step()

@pytest.mark.profile_budget(operators=1000, step_ms=10_000, memory_mb=1000)
def test_holds(harness_profile):
    steps(harness_profile)

@pytest.mark.profile_budget(operators=2, step_ms=1e-6, memory_mb=1e-6)
def test_breaks(harness_profile):
    steps(harness_profile)

@pytest.mark.profile_budget(kernels=2)
def test_has_no_kernels(harness_profile):
    steps(harness_profile)

@pytest.mark.profile_budget(operators=1000)
def test_makes_too_few_steps(harness_profile):
    steps(harness_profile, 2)

@pytest.mark.profile_budget(operators=1000)
def test_fails_by_itself(harness_profile):
    assert layer is None

@pytest.mark.profile_budget(
    "workload.warmup_steps=0", "profiler.baseline.steps=0", "profiler.schedule.active=1",
    operators=1000,
)
def test_has_settings(harness_profile):
    steps(harness_profile, 2)

def test_needs_no_mark(harness_profile):
    steps(harness_profile)
    assert harness_profile.result.verdict == "delivered"
"""

MISUSED = """
import pytest

@pytest.mark.profile_budget(operators=1)
def test_without_the_fixture():
    pass

@pytest.mark.profile_budget(operators=1)
def test_unused(harness_profile):
    pass

@pytest.mark.profile_budget(operator=1)
def test_unknown(harness_profile):
    pass

@pytest.mark.profile_budget(operators=True, step_ms=float('inf'))
def test_no_number(harness_profile):
    pass

@pytest.mark.profile_budget()
def test_empty(harness_profile):
    pass

@pytest.mark.profile_budget("profiler=x", operators=1)
def test_refused(harness_profile):
    pass
"""


def run(pytester: pytest.Pytester, text: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    installed = {point.value for point in entry_points(group="pytest11")}
    # In a checkout that was installed before the plugin was written, it is named.
    named = () if pytest_plugin.__name__ in installed else ("-p", pytest_plugin.__name__)
    words = ("-p", "no:cacheprovider", "-W", "error", "--strict-markers", "--rootdir", ".")
    return pytester.runpytest_subprocess(*named, *words)


def test_a_budget_that_is_broken_fails_the_test_with_its_figures(
    pytester: pytest.Pytester,
) -> None:
    done = run(pytester, BUDGETS)
    done.assert_outcomes(passed=3, failed=4)
    done.stdout.fnmatch_lines(
        [
            "profile budget broken, of one step:",
            "  operators: *, and the budget is 2",
            "    aten::*: * ×",
            "  step_ms: *, and the budget is 1e-06",
            "    aten::addmm * ms",
            "  memory_mb: *, and the budget is 1e-06",
            "    reached in aten::*",
        ]
    )
    done.stdout.fnmatch_lines(["  kernels: no kernels were recorded", "*device=cuda*"])
    done.stdout.fnmatch_lines(["*the block made 2 whole steps*the schedule needs 11*"])
    done.stdout.fnmatch_lines(["FAILED *::test_fails_by_itself*"])


def test_a_budget_that_nothing_checks_is_an_error_that_says_what_to_do(
    pytester: pytest.Pytester,
) -> None:
    done = run(pytester, MISUSED)
    done.assert_outcomes(failed=1, errors=5)
    done.stdout.fnmatch_lines(
        [
            "*does not profile anything: take the fixture harness_profile, and write: with*",
            "*operator is no budget; it must be one of kernels, operators, step_ms, memory_mb*",
            "*operators=True must be a finite number above 0; step_ms=inf must be a finite number*",
            "*it has no budget; name one or more of kernels*",
            "*there is no such profiler*",
            "profile budget: the profile was not used: take the fixture*",
        ]
    )


def test_loading_the_plugin_costs_no_session_torch_or_polars() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import harness.integrations.pytest_plugin\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new & {'torch', 'polars', 'numpy', 'hydra', 'omegaconf', 'msgspec'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"


def test_the_package_says_where_the_plugin_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (place,) = project["entry-points"]["pytest11"].values()
    assert import_module(place) is pytest_plugin
