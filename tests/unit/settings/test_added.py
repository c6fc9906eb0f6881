"""Settings that earlier versions did not have."""

from __future__ import annotations

from harness.settings.added import ADDED, whole
from harness.settings.request import Baseline


def test_a_run_without_a_setting_did_what_its_default_does() -> None:
    defaults = {field: getattr(Baseline(), field) for field in Baseline.__struct_fields__}
    for name, value in ADDED.items():
        group, _, field = name.rpartition(".")
        if group == "profiler.baseline":
            assert value == defaults[field], name
    assert {name.rpartition(".")[0] for name in ADDED} == {"profiler", "profiler.baseline"}


def test_what_a_run_has_recorded_stays() -> None:
    recorded = {"profiler.baseline.steps": 5, "profiler.with_lines": True}
    assert whole(recorded) == {**ADDED, **recorded}


def test_nothing_is_added_to_an_imported_capture() -> None:
    assert whole({"profiler.with_stack": True}) == {"profiler.with_stack": True}
