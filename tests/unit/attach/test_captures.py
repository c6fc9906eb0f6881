"""Captures are new and whole, or not."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from harness.attach import captures
from harness.attach.captures import Watch, taken_over
from harness.errors import RefusedError

TRACE = b'{"schemaVersion": 1, "traceEvents": []}'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "_SETTLED_S", 0.05)
    monkeypatch.setattr(captures, "_RAW_S", 0.05)


def whole(watch: Watch) -> list[str]:
    watch.whole()
    time.sleep(0.1)
    return [each.name for each in watch.whole()]


def test_what_was_there_is_none_of_ours(tmp_path: Path) -> None:
    for name in ("old.json", "older.json"):
        (tmp_path / name).write_bytes(TRACE)
    watch = Watch(tmp_path)
    (tmp_path / "old.json").write_bytes(TRACE + b"\n")
    (tmp_path / "new.json").write_bytes(TRACE)
    (tmp_path / "new.txt").write_bytes(TRACE)
    assert whole(watch) == ["new.json", "old.json"]


@pytest.mark.parametrize(
    ("name", "content", "is_whole"),
    [
        ("a.json", TRACE, True),
        ("a.json", TRACE[:-1], False),
        ("a.json", b"", False),
        ("a.json.gz", gzip.compress(TRACE, mtime=0), True),
        ("a.json.gz", gzip.compress(TRACE, mtime=0)[:-6], False),
        ("a.json.gz", gzip.compress(TRACE[:-1], mtime=0), False),
        ("a.json.gz", TRACE, False),
        ("a.json.gz", b"", False),
    ],
)
def test_a_file_is_whole_if_its_end_is_there(
    tmp_path: Path, name: str, content: bytes, is_whole: bool
) -> None:
    watch = Watch(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert whole(watch) == ([name] if is_whole else [])
    assert [each.name for each in watch.new()] == [name]


def test_a_folder_of_torch_npu_is_whole_if_its_record_is_there(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    folder = tmp_path / "host_1_ascend_pt"
    (folder / "ASCEND_PROFILER_OUTPUT").mkdir(parents=True)
    assert whole(watch) == []
    (folder / "profiler_info_0.json").write_text("{}")
    assert whole(watch) == [folder.name]


def test_what_still_grows_is_not_whole(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    path = tmp_path / "a.json"
    for length in range(3):
        path.write_bytes(TRACE + b"\n" * length)
        assert watch.whole() == []
        time.sleep(0.06)


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    has_end = captures._has_end

    def counted(path: Path) -> bool:
        looks.append(path)
        return has_end(path)

    monkeypatch.setattr(captures, "_has_end", counted)
    watch = Watch(tmp_path)
    path = tmp_path / "a.json"
    path.write_bytes(TRACE[:-1])
    for _ in range(3):
        assert whole(watch) == []
    assert looks == [path]
    path.write_bytes(TRACE)
    assert whole(watch) == ["a.json"]
    assert looks == [path, path]


def test_links_and_pipes_are_left_alone(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "run" / "captures"
    source.mkdir()
    (tmp_path / "secret.json").write_bytes(TRACE)
    (tmp_path / "run").mkdir()
    watch = Watch(source)
    (source / "link.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(source / "pipe.json")
    capture = source / "host_1_ascend_pt"
    capture.mkdir()
    (capture / "profiler_info_0.json").write_text("{}")
    (capture / "link").symlink_to(tmp_path / "secret.json")
    os.mkfifo(capture / "pipe")
    found = watch.new()
    assert [each.name for each in found] == [capture.name]
    taken_over(found, folder, tmp_path / "run")
    left = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]
    assert left == [capture.name, f"{capture.name}/profiler_info_0.json"]


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="--captures"):
        Watch(tmp_path / "nowhere")
