"""A file is old or new, never half of one, and nothing is written through a link."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from harness import files
from harness.errors import WriteError
from tests.support.full_disks import PAGE, fill, small_disk, unfinished_files, use_up_inodes


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_written_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "tables" / "more" / "steps"
    files.write(tmp_path, path, b"new")
    files.write(tmp_path, path, b"newer")
    assert path.read_bytes() == b"newer"
    assert unfinished_files(tmp_path) == []


def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("old")

    def interrupted() -> None:
        with files.replacing(tmp_path, path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["summary.md"]


def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    root = tmp_path / "run"
    root.mkdir()
    (root / "summary.md").symlink_to(outside)
    files.write(root, root / "summary.md", b"new")
    assert outside.read_text() == "mine"
    assert (root / "summary.md").read_text() == "new"


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_a_link_is_not_written_through(tmp_path: Path, there: bool) -> None:
    outside, root = tmp_path / "outside", tmp_path / "run"
    root.mkdir()
    if there:
        outside.mkdir()
    (root / "tables").symlink_to(outside)
    for attempt in (
        lambda: files.write(root, root / "tables" / "steps", b"new"),
        lambda: files.write(root, root / "tables" / "deeper" / "steps", b"new"),
        lambda: files.make_folder(root, root / "tables"),
        lambda: files.Appended(root, root / "tables" / "log"),
    ):
        with pytest.raises(WriteError, match="tables is a symbolic link"):
            attempt()
    assert not there or names(outside) == []


def test_the_folder_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(tmp_path)
    files.write(tmp_path / "latest", tmp_path / "latest" / "run.json", b"{}")
    assert (tmp_path / "run.json").read_bytes() == b"{}"


def test_no_path_leads_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    with pytest.raises(WriteError, match="leads out of the folder"):
        files.write(root, root / ".." / "x" / "file", b"new")
    with pytest.raises(ValueError, match="subpath"):
        files.write(root, tmp_path / "file", b"new")


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    files.write(tmp_path, path, b"new")
    with files.Reserve(tmp_path, path, 10) as reserve:
        reserve.write(b"newer")
    assert path.read_bytes() == b"newer"


def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", pages=8) as disk:
        path = disk / "run.json"
        files.write(disk, path, b"old")
        fill(disk, leave=1)
        with pytest.raises(WriteError) as raised:
            files.write(disk, path, bytes(2 * PAGE))
        assert str(raised.value) == (
            f"{path} cannot be written: No space left on device. Free space on that disk, or"
            " inodes (df -h, df -i), and run the command again"
        )
        assert path.read_bytes() == b"old"
        assert unfinished_files(disk) == []
    copy = pickle.loads(pickle.dumps(raised.value))  # noqa: S301
    assert str(copy) == str(raised.value)


def test_without_an_inode_nothing_is_left(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", inodes=8) as disk:
        use_up_inodes(disk, leave=1)
        with pytest.raises(WriteError, match="No space left"):
            files.write(disk, disk / "tables" / "steps", b"new")
        with pytest.raises(WriteError, match="No space left"):
            files.make_root(disk / "tables" / "more" / "still")
    assert not (tmp_path / "disk" / "tables" / "more").exists()


@pytest.mark.parametrize("exhausted", ["pages", "inodes"])
def test_a_reserve_is_enough_for_a_record_on_a_full_disk(tmp_path: Path, exhausted: str) -> None:
    limits = {"pages": 16} if exhausted == "pages" else {"inodes": 8}
    with small_disk(tmp_path / "disk", **limits) as disk:
        path = disk / "run.json"
        files.write(disk, path, b"running")
        with files.Reserve(disk, path, 2 * PAGE) as reserve:
            fill(disk) if exhausted == "pages" else use_up_inodes(disk)
            if exhausted == "pages":
                with pytest.raises(WriteError):
                    reserve.write(bytes(4 * PAGE))
                assert path.read_bytes() == b"running"
            reserve.write(b"failed".ljust(2 * PAGE))
        assert path.read_bytes().rstrip() == b"failed"
        assert unfinished_files(disk) == []


def test_a_reserve_that_is_not_used_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with files.Reserve(tmp_path, path, PAGE):
        assert len(unfinished_files(tmp_path)) == 1
    assert names(tmp_path) == []
    with small_disk(tmp_path / "disk", pages=4) as disk:
        with pytest.raises(WriteError):
            files.Reserve(disk, disk / "run.json", 5 * PAGE)
        assert names(disk) == []


def test_a_reserve_that_someone_removed_is_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with files.Reserve(tmp_path, path, PAGE) as reserve:
        (tmp_path / unfinished_files(tmp_path)[0]).unlink()
        reserve.write(b"failed")
    assert path.read_bytes() == b"failed"
    assert names(tmp_path) == ["run.json"]


def test_a_log_grows_through_no_link_and_waits_for_no_reader(tmp_path: Path) -> None:
    log = tmp_path / "harness.log"
    for line in (b"one\n", b"two\n"):
        with files.Appended(tmp_path, log) as file:
            file.write(line)
    assert log.read_bytes() == b"one\ntwo\n"
    assert file.closed
    (tmp_path / "link").symlink_to(log)
    with pytest.raises(WriteError, match="link is a symbolic link"):
        files.Appended(tmp_path, tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WriteError, match="pipe cannot be written"):
        files.Appended(tmp_path, tmp_path / "pipe")
    with small_disk(tmp_path / "disk", pages=2) as disk:
        log = disk / "harness.log"
        with files.Appended(disk, log) as file, pytest.raises(WriteError, match="No space left"):
            file.write(bytes(3 * PAGE))


def test_another_file_with_the_descriptor_of_a_log_stays_as_it_is(tmp_path: Path) -> None:
    log = files.Appended(tmp_path, tmp_path / "log")
    log.write(b"one\n")
    taken = log._descriptor
    with (tmp_path / "other").open("wb") as other:
        os.dup2(other.fileno(), taken)
    try:
        with pytest.raises(WriteError, match="the workload closed its descriptor"):
            log.write(b"two\n")
        log.close()
        os.fstat(taken)
    finally:
        os.close(taken)
    assert (tmp_path / "log").read_bytes() == b"one\n"
    assert (tmp_path / "other").read_bytes() == b""


def test_folders_that_led_to_one_that_cannot_be_made_go_again(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="too long"):
        files.make_root(tmp_path / "new" / "newer" / ("x" * 300))
    assert list(tmp_path.iterdir()) == []
