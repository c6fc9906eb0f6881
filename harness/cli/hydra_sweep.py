"""A sweep is run by Hydra, job by job, and shown as a table. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.capture.run_folder import held, link_latest, make
from harness.cli import slurm_sweep
from harness.cli.arguments import Command
from harness.cli.console import ERR, OUT
from harness.cli.hydra_job import job
from harness.cli.hydra_main import hydra_for, refusals
from harness.cli.left_behind import nothing_left_without
from harness.cli.progress import ConsoleProgress
from harness.configuration.composition import Composition, identity
from harness.configuration.overrides import opened, quoted
from harness.doctor.preflight import check_sweep
from harness.errors import ExitCode, RefusedError, worst
from harness.files import full_disk_named
from harness.merge.pipeline import merge_runs
from harness.paths import MergedFolder, SweepFolder
from harness.report.brief import in_detail
from harness.report.html.keep import keep_summary
from harness.report.html.sweep import sweep_page
from harness.report.section import Section
from harness.report.sweep import sections
from harness.report.terminal import show
from harness.sweep import interrupts, jobs
from harness.sweep.table import Jobs

_TO_MERGE: Final = 2

_BATCH = 16
"""Jobs that Hydra composes anew before the first of them runs; some 0.1 s each."""
_AT_ONCE = 128
"""The same for a launcher that runs them at once, and waits for all of a batch."""


def sweep(command: Command, composition: Composition) -> ExitCode:
    """Run the jobs of a sweep, show its table, and merge what varies counters alone."""
    folder = jobs.sweep_folder(composition, identity(composition))
    _check_machine(composition, folder)
    made = make(folder, "--out" if command.out else "hydra.sweep.dir")
    nothing_left = nothing_left_without(SweepFolder(folder).record, made)
    with nothing_left, held(folder, ERR.print):
        kept = jobs.kept(folder, composition, ERR.print)
        interrupts.clear(folder)
        with jobs.recorded(folder, composition, kept) as reserve:
            link_latest(folder)
            submitted = slurm_sweep.prepared(command, composition, folder, kept)
            try:
                with full_disk_named(folder):
                    if submitted is None:
                        _launch(command, composition, folder)
                    else:
                        slurm_sweep.carry_out(submitted)
            except KeyboardInterrupt:
                interrupts.mark(folder)
            finally:
                if interrupts.marked(folder):
                    jobs.close_killed(folder, composition)
                # Whatever goes wrong in one job, what became of the others is shown.
                results = slurm_sweep.told(jobs.results(folder, composition), submitted)
                parts = sections(composition.swept, results, kept, folder)
                show(_few(parts, composition, SweepFolder(folder).summary), OUT)
                jobs.save(folder, composition.swept, results, reserve)
                keep_summary(parts, sweep_page(composition.swept, results, kept, folder), folder)
        if interrupts.marked(folder):
            return ExitCode.INTERRUPTED
        codes = [jobs.exit_code(results)]
        if jobs.varies_counters(composition):
            codes.append(_merged(folder, composition, results))
        return worst(codes)


def _few(parts: Sequence[Section], composition: Composition, summary: Path) -> list[Section]:
    """Return as much of a summary as the first of the jobs asks for; `summary` has all of it."""
    request = composition.jobs[0].request
    assert request is not None
    return in_detail(parts, request.report.detail, str(summary))


def _check_machine(composition: Composition, folder: Path) -> None:
    """Raise `MachineError` if this machine, where all jobs will run, can do none of them.

    Or if Slurm, where they will, is not there or would take none.
    """
    kept = jobs.kept(folder, composition, _nobody)
    if composition.in_this_process and not any(kept):
        check_sweep(job.request for job in composition.jobs if job.request)
    if composition.slurm and not all(kept):
        slurm_sweep.check(composition.slurm, folder)


def _nobody(_text: str) -> None:
    """Say nothing: what is found is said when the folder is held."""


def _launch(command: Command, composition: Composition, folder: Path) -> None:
    """Let Hydra's launcher run the jobs, here or in processes of its own."""
    fixed = jobs.fixed_keys(composition)
    overrides = [
        f"hydra.sweeper.max_batch_size={_BATCH if composition.in_this_process else _AT_ONCE}",
        *opened(command.overrides),
        "+hydra.callbacks.harness._target_=harness.cli.hydra_callback.ForgetConfigs",
        # A launcher's process may have another current folder.
        f"hydra.sweep.dir={quoted(str(folder.absolute()))}",
        "hydra.sweep.subdir='${harness.slug:${hydra.job.override_dirname}}'",
        f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(repr, fixed))}]",
        "hydra.mode=MULTIRUN",
    ]
    hydra = hydra_for(command)
    if composition.in_this_process:
        with refusals():
            hydra.multirun(command.config_name, job, overrides)
        return
    try:
        with interrupts.first_marks(folder, ERR.print), refusals():
            ERR.print("jobs that run at once slow each other down: do not compare their times")
            hydra.multirun(command.config_name, job, overrides)
    except _launcher_errors() as error:
        # A launcher's own error, as when a worker was killed: jobs raise none.
        if not interrupts.marked(folder):
            name = composition.launcher.rpartition(".")[2]
            text = f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"
            ERR.print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)


def _launcher_errors() -> tuple[type[Exception], ...]:
    """Return the errors of launchers; those of Ray, if it was loaded, are no RuntimeErrors."""
    ray = sys.modules.get("ray.exceptions")
    return (RuntimeError,) if ray is None else (RuntimeError, ray.RayError)


def _merged(folder: Path, composition: Composition, results: Jobs) -> ExitCode:
    """Merge what a sweep over counters measured; say so if that is refused."""
    if sum(record is not None and record.status == "ok" for _, record in results) < _TO_MERGE:
        ERR.print("\nnot merged: a merge takes two runs or more; the table says why jobs failed")
        return ExitCode.NOT_DELIVERED
    request = composition.jobs[0].request
    assert request is not None
    try:
        with ConsoleProgress(ERR):
            done = merge_runs([folder], folder, request.merge, request.analysis)
    except RefusedError as error:
        ERR.print("\nnot merged:", style="bold red", highlight=False)
        for problem in error.problems:
            ERR.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
        return ExitCode.NOT_DELIVERED
    show(_few(done.summary, composition, MergedFolder(folder).summary), OUT)
    return done.exit_code
