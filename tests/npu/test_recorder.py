"""The recorder in a program that uses its NPU already, over the emulator."""

from __future__ import annotations

import json
from pathlib import Path

from harness.execution.plan import plan
from harness.execution.protocol import write_json
from tests.npu.conftest import OnNpu
from tests.support.composing import composed


def test_it_records_in_the_users_process_and_leaves_its_device(
    on_npu: OnNpu, tmp_path: Path
) -> None:
    made = plan(composed("device=npu", "device.index=1"), tmp_path)
    write_json(made, tmp_path / "plan.json")
    printed = on_npu("recorder.py", str(tmp_path / "plan.json"), str(tmp_path))
    result = json.loads(printed.splitlines()[-1])
    assert "stop that profiler first" in result.pop("refused")
    captures = {"main": 1, "thread": 1}
    assert result == {"meanwhile": "npu:1", "unchanged": True, "captures": captures}
