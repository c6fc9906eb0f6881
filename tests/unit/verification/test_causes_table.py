"""The table of causes has every setting that is checked, and every cause that a check asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.devices import TARGETS
from harness.verification.causes import BY_PROFILER
from harness.verification.causes.settings import OF_SETTING
from harness.verification.checks import BY_PROFILER as CHECKS
from harness.verification.checks import PORTABLE

SOURCES = Path(__file__).parents[3] / "harness" / "verification" / "checks"
NEVER = {"torch": set[str](), "torch_npu": {"profiler.memory_timeline"}}
"""What a profiler's devices refuse; performance events are torch's alone."""


@pytest.mark.parametrize("profiler", sorted(OF_SETTING))
def test_every_setting_that_is_checked_has_its_causes(profiler: str) -> None:
    fields = {
        f"profiler.experimental.{name}"
        for target in TARGETS.values()
        if target.profiled_by.name == profiler
        for name in target.experimental.__struct_fields__
    }
    portable = {
        name for name in PORTABLE if not name.startswith("profiler.experimental.") or name in fields
    }
    checked = portable | CHECKS[profiler].keys()
    assert set(OF_SETTING[profiler]) == checked - NEVER[profiler]


@pytest.mark.parametrize("profiler", sorted(OF_SETTING))
def test_every_list_of_causes_is_there_and_used(profiler: str) -> None:
    used = {key for causes in OF_SETTING[profiler].values() for key in causes.missing}
    assert used == set(BY_PROFILER[profiler])
    assert all(causes.missing or causes.stated for causes in OF_SETTING[profiler].values())


def test_checks_ask_for_lists_that_are_there() -> None:
    keys = {key for causes in BY_PROFILER.values() for key in causes}
    asked = {
        key
        for path in SOURCES.glob("*.py")
        for key in re.findall(r"""why\(capture, ["']([^"']+)["']\)""", path.read_text())
    }
    assert asked
    assert asked <= keys
