"""One job, run in whatever process Hydra's launcher has chosen. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from msgspec import Struct
from omegaconf import DictConfig, OmegaConf

from harness.capture.run_folder import link_latest, shown
from harness.capture.run_record import RunRecord
from harness.cli import streams
from harness.cli.console import ERR, OUT
from harness.cli.progress import ConsoleProgress, headline
from harness.configuration.composition import BASIC_LAUNCHER
from harness.configuration.resolve import request_of
from harness.errors import ExitCode, RefusedError, WriteError
from harness.estimate import about, clock
from harness.execution.process import ProgressListener
from harness.execution.protocol import Progress
from harness.files import remove_empty
from harness.paths import RunFolder
from harness.pipeline.concluding import Finished
from harness.pipeline.running import run_job
from harness.report.brief import in_detail
from harness.report.terminal import show
from harness.settings.ranks import Rank, rank_of
from harness.settings.request import Request
from harness.stopping import Interrupted
from harness.sweep import interrupts
from harness.sweep.current import CurrentJob, current_job, how_far
from harness.workloads.program import Program


class _Work(Struct, frozen=True):
    """What a job is to do."""

    request: Request
    folder: Path
    overrides: tuple[str, ...]


def job(config: DictConfig) -> int | None:
    """Run one job that Hydra composed, and return its exit code; None if it was not run.

    Launchers pickle this function by its name: it stays at the top of its module. Whatever a
    workload does, this neither raises nor exits: the record of the run has the code.
    """
    # A launcher may have chosen another process than that of the command.
    streams.keep_going()
    run, work = HydraConfig.get(), _work(config)
    if str(run.mode) != "RunMode.MULTIRUN":
        rank = rank_of(os.environ)
        try:
            if rank.rank:
                return _other_rank(work, rank)
            finished = _shown_run(work, begun=link_latest)
        except WriteError as error:
            _print(str(error))
            return error.exit_code
        file = RunFolder(work.folder).summary.name
        show(in_detail(finished.summary, work.request.report.detail, file), OUT)
        return finished.record.exit_code
    current = current_job(Path(run.sweep.dir), work.folder.name)
    if run.launcher["_target_"] == BASIC_LAUNCHER:
        return _after_another(current, work)
    return _beside_others(current, work)


def slurm_job(config: DictConfig) -> int | None:
    """Run one job of a sweep by itself, in a folder of the sweep's, and return its exit code.

    Slurm ends it by SIGTERM, and so does who cancels the sweep: what it has is written down.
    """
    work = _work(config)
    current = current_job(work.folder.parent, work.folder.name)
    if interrupts.marked(current.sweep):
        _print("not run: the sweep was interrupted")
        return ExitCode.INTERRUPTED
    try:
        return _on_this_machine(work, _Quiet()).record.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except WriteError as error:
        remove_empty([work.folder])
        _print(str(error))
        return error.exit_code


def _work(config: DictConfig) -> _Work:
    """Return what a job is to do that Hydra composed."""
    run = HydraConfig.get()
    groups = OmegaConf.to_container(run.runtime.choices)
    assert isinstance(groups, dict)
    request, problems = request_of(config, {str(group): groups[group] for group in groups})
    if request is None:
        raise RefusedError(problems)
    texts = tuple(str(text) for text in run.overrides.task)
    return _Work(request, Path(run.runtime.output_dir), texts)


def _nothing(_folder: Path) -> None:
    """Do nothing when a job of a sweep begins."""


def _shown_run(work: _Work, begun: Callable[[Path], None] = _nothing) -> Finished:
    is_program = isinstance(work.request.workload, Program)
    with ConsoleProgress(ERR, beside_program=is_program) as screen:
        done = _carried_out(work, screen, begun)
    if done.traceback:
        text = _before_reason(done.traceback.rstrip(), done.record.reason)
        OUT.print(f"\n{text}", highlight=False, markup=False)
    return done


def _before_reason(traceback: str, reason: str) -> str:
    """Return a traceback without its end where the reason, shown below it, says that."""
    lines = traceback.splitlines()
    last = lines[-1]
    return "\n".join(lines[:-1]) if last and reason.endswith(last) else traceback


def _carried_out(
    work: _Work, listener: ProgressListener, begun: Callable[[Path], None]
) -> Finished:
    """Run a job in one process, in the ranks that this one starts, or as rank 0 of a launcher's."""
    rank = rank_of(os.environ)
    if rank.world_size > 1:
        from harness.ranks.outer import Place, lead_ranks

        return lead_ranks(
            Place(work.request, rank, work.folder),
            overrides=work.overrides,
            listener=listener,
            begun=begun,
        )
    return _on_this_machine(work, listener, begun)


def _on_this_machine(
    work: _Work, listener: ProgressListener, begun: Callable[[Path], None] = _nothing
) -> Finished:
    """Run a job in one process, or in ranks that this one starts."""
    if work.request.execution.kind == "torchrun":
        from harness.ranks.pipeline import run_ranks

        return run_ranks(
            work.request, work.folder, overrides=work.overrides, listener=listener, begun=begun
        )
    return run_job(
        work.request, work.folder, overrides=work.overrides, listener=listener, begun=begun
    )


def _other_rank(work: _Work, rank: Rank) -> int | None:
    """Run a rank other than 0 of an outer launcher's; what goes wrong is said with its number."""
    from harness.ranks.outer import Place, run_rank

    listener = _Quiet(lends_streams=isinstance(work.request.workload, Program))
    done = run_rank(
        Place(work.request, rank, work.folder), overrides=work.overrides, listener=listener
    )
    record = done.record
    if record.status != "ok":
        if done.traceback and not listener.lends_streams:
            _print(f"rank {rank.rank}:\n{done.traceback.rstrip()}")
        _print(f"rank {rank.rank} of {rank.world_size} {record.status}: {record.reason}")
    return record.exit_code


def _after_another(current: CurrentJob, work: _Work) -> int | None:
    """Run a job in the process of the sweep, after the one before it; show how it goes.

    Raises:
        Interrupted: The sweep was interrupted before; the jobs that are left need not be composed.
    """
    if interrupts.marked(current.sweep):
        left = current.total - current.number
        _print(f"{left} job{'s' if left > 1 else ''} not run: the sweep was interrupted")
        raise Interrupted
    elapsed = [f"{clock(current.elapsed_s)} so far"] if current.number else []
    rest = [about(current.left_s)] if current.left_s else []
    kept = [f"{current.kept_jobs} kept"] if current.kept_jobs else []
    note = ", ".join([*elapsed, *rest, *kept])
    headline(ERR, current.number, current.total, current.varied, note)
    # The table of the sweep tells of those that were delivered.
    return _unless_needless(current, work, lambda: _shown_run(work).record, _print)


def _beside_others(current: CurrentJob, work: _Work) -> int | None:
    """Run a job in a process of its own; print whole lines, which name it."""

    def say(text: str) -> None:
        _print(f"job {current.number + 1} of {current.total}  {current.varied}: {text}")

    def quiet_run() -> RunRecord:
        say("begins")
        with interrupts.obeyed(current.sweep):
            return _on_this_machine(work, _Quiet()).record

    return _unless_needless(current, work, quiet_run, say, lambda: how_far(current.sweep))


def _unless_needless(
    current: CurrentJob,
    work: _Work,
    run: Callable[[], RunRecord],
    say: Callable[[str], None],
    progress: Callable[[], str] | None = None,
) -> int | None:
    """Run a job of a sweep, unless it is kept, or the sweep was interrupted.

    If it runs beside others, it says how it ended, and their `progress`; else only if it was not
    delivered.
    """
    if interrupts.marked(current.sweep):
        say("not run: the sweep was interrupted")
        return None
    if current.kept:
        say("kept from before; sweep.resume=false runs it again")
        return None
    try:
        record = run()
    except KeyboardInterrupt:
        interrupts.mark(current.sweep)
        say("interrupted")
        return ExitCode.INTERRUPTED
    except WriteError as error:
        remove_empty([work.folder])
        say(str(error))
        return error.exit_code
    if record.status == "interrupted":
        interrupts.mark(current.sweep)
    if progress or record.exit_code:
        verdict = record.verdict.replace("_", " ")
        summary = RunFolder(shown(work.folder)).summary
        rest = progress() if progress else ""
        say(f"{verdict}, exit code {record.exit_code}: {summary}" + (f" ({rest})" if rest else ""))
    return record.exit_code


def _print(text: str) -> None:
    ERR.print(text, markup=False, highlight=False, soft_wrap=True)


class _Quiet:
    """A listener for jobs that run at the same time: what they print is in their harness.log."""

    def __init__(self, *, lends_streams: bool = False) -> None:
        """`lends_streams`: a program of the user's has the terminal, which others share."""
        self._lends_streams = lends_streams

    @property
    def lends_streams(self) -> bool:
        """Whether a program of the user's reads and writes the command's own streams."""
        return self._lends_streams

    def progress(self, progress: Progress) -> None:
        """Show nothing."""

    def output(self, line: str) -> None:
        """Show nothing."""
