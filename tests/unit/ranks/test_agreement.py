"""The ranks of one launch agree on a folder, and never with those of another."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RefusedError
from harness.execution.rank_watch import stop_order
from harness.paths import RunFolder
from harness.ranks.agreement import Meeting, launch_key
from harness.settings.ranks import Rank

SETTINGS = {"seed": 0, "profiler.activities": ("host",)}
TORCHRUN = {
    "RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "LOCAL_WORLD_SIZE": "2",
}


@pytest.fixture(autouse=True)
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)


def follower(rank: int, answers: dict[int, Any], **changed: Any) -> threading.Thread:
    meeting = Meeting(Rank(rank=rank, world_size=3), {**SETTINGS, **changed}, 5)

    def follow() -> None:
        answers[rank] = meeting.follow()

    thread = threading.Thread(target=follow)
    thread.start()
    return thread


def leader(limit_s: float = 5) -> Meeting:
    return Meeting(Rank(rank=0, world_size=3), SETTINGS, limit_s)


def test_all_ranks_get_the_folder_of_rank_0(tmp_path: Path) -> None:
    answers: dict[int, Any] = {}
    threads = [follower(rank, answers) for rank in (1, 2)]
    leader().lead(tmp_path / "job")
    for thread in threads:
        thread.join()
    assert answers == {1: tmp_path / "job", 2: tmp_path / "job"}
    assert list(tmp_path.iterdir()) == []  # nothing is left of the meeting


def test_what_an_earlier_launch_left_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    key = launch_key(Rank(world_size=3), TORCHRUN)
    place = tmp_path / "outputs" / ".launches" / key
    place.mkdir(parents=True)
    (place / "answer.json").write_text('{"numbers": {"1": "old", "2": "old"}, "folder": "/old"}')
    (place / "2.json").write_text('{"number": "old", "settings": {"seed": 9}}')
    test_all_ranks_get_the_folder_of_rank_0(tmp_path)


def test_other_settings_are_named_and_nothing_runs(tmp_path: Path) -> None:
    answers: dict[int, Any] = {}
    threads = [follower(1, answers), follower(2, answers, seed=1)]
    with pytest.raises(RefusedError) as refused:
        leader().lead(tmp_path / "job")
    for thread in threads:
        thread.join()
    assert answers == {1: None, 2: None}
    (problem,) = refused.value.problems
    assert (problem.setting, problem.given) == ("seed", "0")
    assert problem.reason.startswith("rank 2 has 1,")


def test_a_rank_that_never_starts_is_named(tmp_path: Path) -> None:
    answers: dict[int, Any] = {}
    meeting = Meeting(Rank(rank=1, world_size=3), SETTINGS, 0.5)
    with pytest.raises(RefusedError) as refused:
        leader(0.3).lead(tmp_path / "job")
    assert refused.value.problems[0].setting == "rank 1, 2"
    with pytest.raises(RefusedError) as refused:
        meeting.follow()
    assert refused.value.problems[0].setting == "rank 0"
    assert answers == {}
    assert stop_order(RunFolder(tmp_path / "job")) is None


@pytest.mark.parametrize(
    "other",
    [
        {"MASTER_PORT": "29501"},
        {"MASTER_ADDR": "node2"},
        {"TORCHELASTIC_RUN_ID": "7"},
        {"TORCHELASTIC_RESTART_COUNT": "1"},
    ],
)
def test_two_launches_at_once_do_not_meet(other: dict[str, str]) -> None:
    rank = Rank(world_size=2)
    assert launch_key(rank, TORCHRUN) == launch_key(rank, {**TORCHRUN, "RANK": "1"})
    assert launch_key(rank, TORCHRUN) != launch_key(rank, TORCHRUN | other)


def test_steps_of_slurm_do_not_meet() -> None:
    step = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "5"}
    keys = {launch_key(Rank(world_size=2), step | {"SLURM_STEP_ID": str(n)}) for n in (0, 1)}
    assert len(keys) == 2


def test_ranks_that_cannot_be_told_from_others_are_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        launch_key(Rank(world_size=2), {"RANK": "0", "WORLD_SIZE": "2"})
    assert refused.value.problems[0].setting == "MASTER_ADDR"
