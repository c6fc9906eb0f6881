"""``harness.profile`` in a program that uses its NPU already, over the emulator."""

from __future__ import annotations

import json
from pathlib import Path

from tests.npu.conftest import OnNpu


def test_a_programs_own_loop_is_recorded_on_the_npu_that_it_uses(
    on_npu: OnNpu, tmp_path: Path
) -> None:
    printed = on_npu("own_profile.py", str(tmp_path / "run"))
    assert json.loads(printed.splitlines()[-1]) == {
        "verdict": "delivered",
        "emulated": True,
        "shapes": [[[3, 5], [5, 7]]] * 3,
        "device": 1,
    }
