"""run.json is true while a run goes on, and however it ends."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Literal

import pytest
from msgspec.structs import replace

from harness import files
from harness.capture import kept_record
from harness.capture.kept_record import kept
from harness.capture.run_record import RunRecord, record_of
from harness.errors import WriteError
from harness.execution.protocol import write_json
from tests.support.full_disks import fill, small_disk, unfinished_files

RUNNING = RunRecord(
    status="running",
    verdict="pending",
    exit_code=None,
    versions={},
    host=socket.gethostname(),
    requested={},
)
OK = replace(RUNNING, status="ok", verdict="delivered", exit_code=0)


def stored(folder: Path) -> RunRecord:
    record = record_of(folder)
    assert record is not None
    return record


def test_a_record_says_running_with_its_process_and_then_how_it_ended(tmp_path: Path) -> None:
    with kept(RUNNING, tmp_path) as ending:
        assert stored(tmp_path).life == "alive"
        assert "still running (process" in stored(tmp_path).unended
        ending.record = OK
        assert stored(tmp_path).status == "running", "not before the block has ended"
    assert stored(tmp_path) == OK
    assert stored(tmp_path).unended == ""
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("error", "status", "code", "reason"),
    [
        (KeyboardInterrupt(), "interrupted", 130, "before it had read the run"),
        (SystemExit(), "failed", 1, "before it had read the run"),
        (MemoryError(), "failed", 1, "before it had read the run"),
        (OSError(28, "No space left on device"), "failed", 1, "No space left on device; what was"),
        (
            WriteError("tables/x", "it is full", "free it"),
            "failed",
            1,
            "tables/x cannot be written",
        ),
    ],
)
def test_a_block_that_raises_is_in_the_record(
    tmp_path: Path, error: BaseException, status: str, code: int, reason: str
) -> None:
    def block() -> None:
        with kept(RUNNING, tmp_path):
            raise error

    with pytest.raises(WriteError if isinstance(error, OSError) else type(error)):
        block()
    assert (stored(tmp_path).status, stored(tmp_path).exit_code) == (status, code)
    assert reason in stored(tmp_path).reason
    assert stored(tmp_path).writer is None


def test_an_earlier_record_stays_until_there_is_another(tmp_path: Path) -> None:
    write_json(OK, tmp_path / "run.json")

    def block() -> None:
        with kept(OK, tmp_path):
            raise KeyboardInterrupt

    before = (tmp_path / "run.json").stat().st_ino
    with pytest.raises(KeyboardInterrupt):
        block()
    assert (tmp_path / "run.json").stat().st_ino == before
    with kept(OK, tmp_path) as ending:
        ending.record = replace(OK, exit_code=3)
    assert stored(tmp_path).exit_code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["begins", "ends"])
def test_an_interrupt_while_the_record_is_written_waits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    moment: Literal["begins", "ends"],
) -> None:
    write = files.Reserve.write
    statuses: list[str] = []

    def interrupted(reserve: files.Reserve, content: bytes) -> None:
        if moment == "begins" and not statuses:
            signal.raise_signal(number)
        write(reserve, content)
        statuses.append(stored(tmp_path).status)
        if moment == "ends" and len(statuses) == 1:
            signal.raise_signal(number)

    def block() -> None:
        with kept(RUNNING, tmp_path) as ending:
            ending.record = OK

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.Reserve, "write", interrupted)
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            block()
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert statuses == ["ok", "interrupted"]
    assert (stored(tmp_path).verdict, stored(tmp_path).exit_code) == ("delivered", 130)
    assert unfinished_files(tmp_path) == []


def test_an_interrupt_just_before_the_record_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = kept_record._write
    calls = []

    def at_first(record: RunRecord, begun: RunRecord, reserve: files.Reserve) -> None:
        calls.append(record.status)
        if len(calls) == 1:
            raise KeyboardInterrupt
        write(record, begun, reserve)

    def block() -> None:
        with kept(RUNNING, tmp_path) as ending:
            ending.record = replace(OK, status="failed", exit_code=1, reason="it raised")

    monkeypatch.setattr(kept_record, "_write", at_first)
    with pytest.raises(KeyboardInterrupt):
        block()
    assert calls == ["failed", "failed"]
    assert (stored(tmp_path).status, stored(tmp_path).reason) == ("failed", "it raised")


def test_a_record_that_outgrows_its_room_on_a_full_disk_says_that(tmp_path: Path) -> None:
    long = replace(OK, notes=tuple(f"{number:060}" for number in range(3_000)))
    with small_disk(tmp_path / "disk", pages=30) as disk:

        def block() -> None:
            with kept(RUNNING, disk) as ending:
                fill(disk)
                ending.record = long

        with pytest.raises(WriteError, match=r"run\.json cannot be written: No space left"):
            block()
        assert (stored(disk).status, stored(disk).exit_code) == ("failed", 1)
        assert "run.json cannot be written" in stored(disk).reason
        assert unfinished_files(disk) == []


def test_what_a_killed_harness_left_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / ".0.reserve", tmp_path / "raw" / ".7.unfinished.json.gz"]
    (tmp_path / "raw").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".mine.unfinished").touch()
    run = tmp_path / "run"
    run.mkdir()
    (run / "tables").symlink_to(outside)
    for path in left:
        path.touch()
    with kept(RUNNING, tmp_path) as ending:
        ending.record = OK
    assert not any(path.exists() for path in left)
    (outside / ".mine.unfinished").touch()
    with kept(RUNNING, run) as ending:
        ending.record = OK
    assert (outside / ".mine.unfinished").exists(), "a link is not followed"
