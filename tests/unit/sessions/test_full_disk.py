"""A disk that is too small for the trace of a window: the next one has its room again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import harness
from tests.support.full_disks import small_disk

LIMIT_S = 60.0


def recorded(session: harness.Session, steps: int) -> harness.Window:
    window = session.window(steps=steps)
    while window.state in {"waiting", "recording"}:
        with session.step():
            for _ in range(20):
                torch.ones(8, 8) @ torch.ones(8, 8)
    assert window.wait(timeout=LIMIT_S)
    return window


def test_a_trace_that_does_not_fit_costs_its_window_alone(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", pages=700) as disk, harness.Session(out=disk / "out") as one:
        with pytest.warns(harness.HarnessWarning, match="No space left on device"):
            large = recorded(one, 400)
        assert (large.result.status, large.result.exit_code) == ("failed", 1)
        path = large.folder / "raw" / "trace.json"
        assert large.reason.startswith(f"{path} cannot be written: No space left on device.")
        small = recorded(one, 1)
        assert (small.result.verdict, small.reason) == ("delivered", "")
