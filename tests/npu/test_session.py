"""``harness.Session`` in a program that uses its NPU already, over the emulator."""

from __future__ import annotations

import json
from pathlib import Path

from tests.npu.conftest import OnNpu


def test_windows_of_a_program_are_recorded_on_its_npu(on_npu: OnNpu, tmp_path: Path) -> None:
    printed = on_npu("session.py", str(tmp_path / "windows"))
    first, second = json.loads(printed.splitlines()[-1])
    same = {"verdict": "delivered", "missing": [], "stages": ["decode"], "emulated": True}
    # Step 5 warms the profiler up; those of the other stage are recorded beside.
    assert first == same | {"shapes": [[[3, 7], [7, 7]], [[3, 9], [9, 7]]], "products": 4}
    assert second == same | {"shapes": [[[3, 7], [7, 7]]], "products": 2}
