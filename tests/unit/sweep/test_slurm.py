"""What a sweep asks of Slurm, and what it makes of the answers; a stand-in gives these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from msgspec.structs import replace

from harness.capture.run_record import RunRecord, record_of
from harness.capture.sweep_record import SweepJob, SweepRecord
from harness.errors import MachineError, RefusedError
from harness.execution.protocol import write_json
from harness.paths import RunFolder, SweepFolder
from harness.settings.slurm import Slurm
from harness.sweep import interrupts, slurm, slurm_commands
from harness.sweep.slurm import Submitted, options_of, refuse_queued
from harness.sweep.slurm_record import SlurmRecord, Submission
from harness.sweep.slurm_results import told

RUNNING = RunRecord(
    status="running", verdict="pending", exit_code=None, versions={}, host="node", requested={}
)
SHORT = replace(RUNNING, status="ok", verdict="not_delivered", exit_code=3)
RECORD = SlurmRecord(
    submissions=(Submission(array="7", jobs=(0,)),),
    config_dir=None,
    config_name="config",
    overrides=(),
)
JOB = SweepJob(folder="seed=1", overrides=("seed=1",), values={"seed": "1"})
Says = Callable[..., None]


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Says:
    """Let Slurm's commands give these answers; one without an answer fails."""

    def set_answers(**answers: str) -> None:
        def run(words: Sequence[str]) -> CompletedProcess[str]:
            text = answers.get(words[0])
            return CompletedProcess(words, text is None, text or "", "Socket timed out")

        monkeypatch.setattr(slurm_commands, "_run", run)

    return set_answers


@pytest.fixture
def submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submitted:
    """Return a sweep of one job, which Slurm has."""
    monkeypatch.setattr(slurm, "_POLL_S", 0.01)
    monkeypatch.setattr(slurm, "_APPEARS_S", 0.5)
    (tmp_path / JOB.folder).mkdir()
    write_json(SweepRecord(swept=("seed",), jobs=(JOB,)), SweepFolder(tmp_path).record)
    write_json(RECORD, SweepFolder(tmp_path).slurm_record)
    return Submitted(tmp_path, RECORD, Slurm(time_min=30), print)


def ended(state: str, code: str) -> dict[str, str]:
    """Return what Slurm's controller says of the job that has ended."""
    shown = f"JobId=7 ArrayJobId=7 JobState={state} Reason=None ExitCode={code} DerivedExitCode=0:0"
    return {"squeue": f"7_0|{state}|n1|None\n", "scontrol": shown}


def test_each_setting_is_the_option_that_sbatch_has_for_it() -> None:
    assert options_of(Slurm()) == ["--nodes=1", "--ntasks=1"]
    whole = Slurm(
        partition="npu",
        account="me",
        qos="high",
        constraint="a3",
        time_min=30,
        gres="npu:1",
        cpus_per_task=8,
        memory="32G",
        exclusive=True,
        options=("--reservation=r",),
    )
    assert options_of(whole) == [
        *("--nodes=1", "--ntasks=1", "--partition=npu", "--account=me", "--qos=high"),
        *("--constraint=a3", "--time=30", "--gres=npu:1", "--cpus-per-task=8", "--mem=32G"),
        *("--exclusive", "--reservation=r"),
    ]


def test_a_queue_that_is_not_known_is_not_an_empty_one(submitted: Submitted, says: Says) -> None:
    says()
    with pytest.raises(MachineError, match="not known whether jobs 7 of an earlier command"):
        refuse_queued(submitted.folder)
    says(squeue="7_0|COMPLETED|n1|None\n")
    refuse_queued(submitted.folder)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with Slurm's commands, of which sbatch takes its time."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        (folder / name).write_text(
            "#!/bin/sh\nsleep 10\n" if name == "sbatch" else "#!/bin/sh\nenv\n"
        )
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_jobs_that_sbatch_may_have_taken_are_named(
    commands: Path, submitted: Submitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_commands, "_LIMIT_S", 0.2)
    assert commands.exists()
    name = submitted.folder.name
    with pytest.raises(MachineError) as raised:
        submitted.submit()
    assert str(raised.value) == (
        "sbatch: no answer in 0.2 s. It is not known whether Slurm has taken the jobs:"
        f" squeue --name={name} shows them, scancel --name={name} ends them"
    )
    # What only asks has left nothing behind.
    with pytest.raises(MachineError, match="sinfo must work first"):
        slurm.check(Slurm())


def test_no_variable_hides_jobs_from_who_asks(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SQUEUE_PARTITION", "SQUEUE_USERS", "SCANCEL_INTERACTIVE", "SBATCH_WAIT"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_WAIT_ALL_NODES", "1")
    shown = slurm_commands._run([str(commands / "squeue")]).stdout
    assert "SLURM_CONF" in shown
    assert "SBATCH_WAIT_ALL_NODES=1" in shown, "the user's own option"
    assert "other" not in shown


@pytest.mark.parametrize("name", ["SBATCH_CLUSTERS", "SLURM_CLUSTERS"])
def test_a_variable_that_sends_jobs_elsewhere_is_refused(
    commands: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert commands.exists()
    monkeypatch.setenv(name, "far")
    with pytest.raises(RefusedError) as raised:
        slurm_commands.check_commands()
    (problem,) = raised.value.problems
    assert (problem.setting, problem.given) == (name, "far")
    assert problem.fix.startswith(f"env -u {name} python -m harness")


def test_the_record_of_a_job_that_ended_by_itself_is_waited_for(
    submitted: Submitted, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared file system shows it late, and then it is kept as the node has written it."""
    path = submitted.folder / JOB.folder
    write_json(RUNNING, RunFolder(path).record)
    looks = 0

    def late(folder: Path) -> RunRecord | None:
        nonlocal looks
        looks += 1
        if looks == 3:
            write_json(SHORT, RunFolder(folder).record)
        return record_of(folder)

    monkeypatch.setattr(slurm, "record_of", late)
    says(**ended("FAILED", "3:0"))
    submitted.wait()
    assert looks == 3
    results = [(replace(JOB, exit_code=3, reason="shapes missing"), record_of(path))]
    assert told(results, submitted) == results
    assert record_of(path) == SHORT


@pytest.mark.parametrize("marked", [False, True])
def test_a_job_that_was_interrupted_has_a_result_if_the_sweep_was(
    submitted: Submitted, says: Says, capsys: pytest.CaptureFixture[str], marked: bool
) -> None:
    if marked:
        interrupts.mark(submitted.folder)
    stopped = replace(SHORT, status="interrupted", exit_code=130)
    path = RunFolder(submitted.folder / JOB.folder)
    write_json(stopped, path.record)
    says(**ended("FAILED", "130:0"), scancel="")
    submitted.wait()
    line = capsys.readouterr().out.splitlines()[-1]
    how = (
        f"interrupted, exit code 130: {path.summary}"
        if marked
        else f"stopped by a signal before its end, what it has: {path.summary}"
    )
    assert line == f"job 1 of 1  seed=1: {how}"
    ((job, _),) = told([(replace(JOB, exit_code=130), stopped)], submitted)
    why = "Slurm's job 7_0: a signal stopped it before its end, and it wrote down what it had"
    assert (job.exit_code, job.reason) == ((130, "") if marked else (1, why))


@pytest.mark.parametrize(
    ("state", "code", "why"),
    [
        ("CANCELLED", "0:0", "it was cancelled (CANCELLED)"),
        ("TIMEOUT", "0:0", "its time was over (TIMEOUT; hydra.launcher.time_min=30)"),
        ("NODE_FAIL", "0:0", "its node failed (NODE_FAIL)"),
        ("FAILED", "0:9", "it was killed by SIGKILL (FAILED): last words"),
        ("FAILED", "1:0", "its process ended with exit code 1: last words"),
        ("COMPLETED", "0:0", "it ended well (COMPLETED), and {folder} does not say so"),
    ],
)
def test_a_job_whose_record_says_that_it_runs_ended_as_slurm_says(
    submitted: Submitted, says: Says, state: str, code: str, why: str
) -> None:
    path = submitted.folder / JOB.folder
    write_json(RUNNING, RunFolder(path).record)
    log = SweepFolder(submitted.folder).slurm_log("7_0")
    log.parent.mkdir()
    log.write_text("first\nlast words\n\n", encoding="utf-8")
    says(**ended(state, code))
    submitted.wait()
    ((job, record),) = told([(JOB, record_of(path))], submitted)
    assert job.exit_code == 1
    assert job.reason == f"Slurm's job 7_0: {why.format(folder=path)}"
    assert record is not None
    assert (record.status, record.exit_code) == ("failed", 1)
    assert record.reason == f"{job.reason}; what was recorded by then is kept"
