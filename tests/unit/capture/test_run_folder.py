"""What lies in a run's folder, and what ``outputs/latest`` leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.capture.run_folder import clear, link_latest


def test_a_folder_that_was_moved_elsewhere_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "kept").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "raw").symlink_to(tmp_path / "big")
    clear(tmp_path / "run")
    assert not (tmp_path / "run" / "raw").is_symlink()
    assert (tmp_path / "big" / "kept").exists()


def test_a_folder_called_latest_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("latest", "run"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
    link_latest(Path("outputs") / "run")
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["latest", "run"]
