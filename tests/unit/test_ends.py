"""Exit codes of sweeps, half-written files, the last words of a process."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import jobs, pipeline
from harness.collect import collect
from harness.compose import compose_jobs
from harness.errors import ExitCode, MachineError, Problem, RefusedError, worst
from harness.plan import plan
from harness.records import RUN_FILE, Outcome, Progress, StepTime, write_json
from harness.run import _death, _Lines
from tests.composing import composed


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 3], 3),
        ([3, 4], 4),
        ([4, 1, 3], 1),
        ([1, 130, 0], 130),
    ],
)
def test_sweep_ends_with_its_worst_code(codes: list[int], expected: int) -> None:
    assert worst(codes) == expected


def test_problem_is_two_lines() -> None:
    problem = Problem(setting="seed", given="x", allowed="must be a number", fix="seed=1")
    assert str(problem) == "seed=x: must be a number.\n    fix: seed=1"
    error = RefusedError([problem, problem])
    assert error.exit_code is ExitCode.REFUSED
    assert str(error).count("fix:") == 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-11, "SIGSEGV (signal 11)"),
        (-9, "out of memory"),
        (-6, "SIGABRT"),
        (3, "exited with code 3 before it could report; its last words: oh"),
    ],
)
def test_death_is_named(code: int, words: str) -> None:
    assert words in _death(code, "oh")


def test_lines_are_cut_across_chunks() -> None:
    taken: list[bytes] = []
    lines = _Lines(taken.append)
    for chunk in (b"one\ntw", b"o\n\nthr", b"ee"):
        lines.feed(chunk)
    assert taken == [b"one", b"two", b""]
    lines.flush()
    assert taken[-1] == b"three"


def test_half_a_line_of_step_times_is_left_out(tmp_path: Path) -> None:
    time = StepTime(phase="baseline", step=None, start_ns=5, duration_ns=7)
    line = msgspec.json.encode(time) + b"\n"
    (tmp_path / "steps.jsonl").write_bytes(line + line[:20])
    (job,) = compose_jobs([]).jobs
    assert job.request is not None
    planned = plan(job.request, tmp_path)
    read = collect(planned, Outcome(status="failed"))
    assert read.tables["steps"].select("phase", "duration_ns").rows() == [("baseline", 7)]
    assert read.tables["operators"].is_empty()


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    for status in ("ok", "failed"):
        write_json(Outcome(status=status), path)
        assert msgspec.json.decode(path.read_bytes(), type=Outcome).status == status
    assert [each.name for each in tmp_path.iterdir()] == ["outcome.json"]


class _Silent:
    """A watch that nobody looks at."""

    def progress(self, progress: Progress) -> None: ...

    def output(self, line: str) -> None: ...


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(KeyboardInterrupt, "interrupted", 130), (OSError, "failed", 1)],
)
def test_record_is_true_when_the_run_cannot_be_read_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    status: str,
    code: int,
) -> None:
    def stop(*_values: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", lambda _plan, _watch: Outcome(status="ok"))
    monkeypatch.setattr(pipeline, "collect", stop)
    with pytest.raises(error):
        pipeline.run_job(composed(), tmp_path, overrides=(), watch=_Silent())
    record = pipeline.read_record(tmp_path / RUN_FILE)
    assert record is not None
    assert (record.status, record.exit_code) == (status, code)
    assert "before the run was read back" in record.reason


def test_a_run_whose_captures_cannot_be_analysed_here_is_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "run", lambda *_values: Outcome(status="ok"))
    pipeline.run_job(composed(), tmp_path, overrides=(), watch=_Silent())
    kept = pipeline.read_record(tmp_path / RUN_FILE)
    cannot = Outcome(status="cannot", reason="torch_npu cannot be loaded")
    monkeypatch.setattr(pipeline, "analyse", lambda *_values: cannot)
    with pytest.raises(MachineError, match="cannot be loaded"):
        pipeline.read_run(tmp_path, watch=_Silent(), limit_s=None)
    assert pipeline.read_record(tmp_path / RUN_FILE) == kept


def test_a_signal_without_a_name_is_a_death_too() -> None:
    assert _death(-40, "") == "the child process died of signal 40"


def test_a_folder_that_was_moved_elsewhere_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "kept").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "raw").symlink_to(tmp_path / "big")
    pipeline._clear(tmp_path / "run")
    assert not (tmp_path / "run" / "raw").is_symlink()
    assert (tmp_path / "big" / "kept").exists()


def test_a_folder_called_latest_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("latest", "run"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
    jobs.link_latest(Path("outputs") / "run")
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["latest", "run"]
