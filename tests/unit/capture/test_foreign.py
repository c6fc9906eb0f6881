"""What leads out of a folder that another made, or is no file, is refused by its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.capture import foreign
from harness.capture.foreign import check_capture, check_run
from harness.errors import RefusedError
from harness.execution.plan import plan, trusted
from tests.support.composing import composed


def refused(path: Path) -> list[str]:
    with pytest.raises(RefusedError) as raised:
        check_run(path) if path.name == "run" else check_capture(path)
    return [f"{Path(item.setting).name}: {item.reason}" for item in raised.value.problems]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run" / "raw").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "outside").write_text("mine", encoding="utf-8")
    return tmp_path / "run"


def test_a_whole_run_is_taken_also_by_a_link(run: Path, tmp_path: Path) -> None:
    check_run(run)
    (tmp_path / "latest").symlink_to(run)
    check_run(tmp_path / "latest")


@pytest.mark.parametrize("name", ["run.json", "summary.md", "tables", "harness.log", "raw"])
def test_a_link_in_the_place_of_a_file_of_ours(run: Path, name: str) -> None:
    place = run / name
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.symlink_to("raw" if name == "tables" else "../outside")
    (line,) = refused(run)
    assert line.startswith(f"{name}: this is a symbolic link to ")
    assert "the harness follows none to a file of its own" in line


def test_links_in_raw_lead_to_the_imported_capture_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "capture").mkdir()
    (run / "raw" / "host_1_ascend_pt").symlink_to(tmp_path / "capture")
    assert "it leads out of the folder" in refused(run)[0]
    (run / "run.json").write_text(f'{{"source": "{tmp_path / "capture"}"}}', encoding="utf-8")
    check_run(run)
    (run / "raw" / "other").symlink_to("../../outside")
    assert refused(run)[0].startswith("other: ")


def test_only_the_record_of_a_run_says_that_it_was_imported(run: Path, tmp_path: Path) -> None:
    """`read` analyses what raw/ leads to unless the record names a source."""
    (tmp_path / "victim").mkdir()
    (run / "raw" / "host_1_ascend_pt").symlink_to(tmp_path / "victim")
    (run / "run.json").write_text('{"source": ""}', encoding="utf-8")
    (run / "capture.json").write_text('{"source": "/"}', encoding="utf-8")
    assert "it leads out of the folder" in refused(run)[0]


def test_what_is_no_file_is_named(run: Path) -> None:
    os.mkfifo(run / "raw" / "trace.json")
    assert refused(run) == ["trace.json: this is a FIFO, which is not opened"]


def test_a_capture_may_have_links_inside_itself_alone(tmp_path: Path) -> None:
    home = tmp_path / "host_1_ascend_pt"
    (home / "PROF_1").mkdir(parents=True)
    (home / "last").symlink_to("PROF_1")
    check_capture(home)
    (home / "PROF_1" / "passwords").symlink_to("/etc/passwd")
    (line,) = refused(home)
    assert line.startswith("passwords: this is a symbolic link to /etc/passwd")


def test_a_device_is_no_capture() -> None:
    assert refused(Path("/dev/zero")) == ["zero: this is a device, which is not opened"]


def test_there_is_a_limit_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MOST_FILES", 3)
    for number in range(4):
        (tmp_path / str(number)).touch()
    assert "more than 3 files" in refused(tmp_path)[0]


def test_the_plan_of_a_folder_chooses_neither_variables_nor_places(tmp_path: Path) -> None:
    planned = plan(composed("device.environment.LD_PRELOAD=mine.so"), Path("/elsewhere"))
    assert planned.recording.environment["LD_PRELOAD"] == "mine.so"
    safe = trusted(planned, tmp_path)
    assert safe.recording.environment == {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    assert safe.folder == str(tmp_path)
