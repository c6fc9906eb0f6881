"""What a session is made with: settings that it cannot honour, folders that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        (["profiler.schedule.wait=2"], "a window of a session begins when it is asked for"),
        (["workload.warmup_steps=1"], "a window of a session begins when it is asked for"),
        (["profiler.baseline.steps=1"], "a window of a session begins when it is asked for"),
        (["profiler.schedule.repeat=2"], "a window of a session is one cycle"),
        (["workload.steps=9"], "each window says itself how many steps"),
        (["workload.step=whole"], "a session records steps"),
        (["profiler=level1", "profiler.with_flops=true"], "writes none of it into its trace"),
        (["profiler.experimental.performance_events=[cycles]"], "writes none of it"),
        (
            ["profiler.with_lines=true", "profiler.experimental.profile_all_threads=true"],
            "lines are recorded of one thread",
        ),
        (["workload=mlp"], "records the loop of the program that calls it"),
    ],
)
def test_settings_that_a_session_cannot_honour(
    tmp_path: Path, settings: list[str], refused: str
) -> None:
    with pytest.raises(harness.RefusedError, match=refused):
        harness.Session(*settings, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(harness.RefusedError, match="no folder"):
        harness.Session(out=tmp_path / "file")
    with harness.Session(out=tmp_path / "new" / "deep"):
        assert (tmp_path / "new" / "deep").is_dir()
    assert not (tmp_path / "new").exists()
    with pytest.raises(harness.RefusedError, match='read="now"'):
        harness.Session(out=tmp_path, read="never")  # type: ignore[arg-type]
