"""A sweep that Slurm runs, as its command sees it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from harness.cli.arguments import Command
from harness.cli.console import ERR
from harness.configuration.composition import Composition
from harness.configuration.overrides import opened
from harness.settings.slurm import Slurm
from harness.stopping import Held
from harness.sweep import interrupts, slurm
from harness.sweep.slurm import Submitted
from harness.sweep.slurm_results import told as told_by_slurm
from harness.sweep.table import Jobs

_OF_HYDRA: Final = ("hydra.", "hydra/")
_STOPPING: Final = (
    "stopping: Slurm's jobs are cancelled; running ones write down what they have; once more"
    " leaves at once, and does not wait for them"
)

_BESIDE_EACH_OTHER: Final = (
    "jobs that Slurm puts on one node slow each other down: do not compare their times, or set"
    " hydra.launcher.exclusive=true"
)


def check(settings: Slurm, folder: Path) -> None:
    """Refuse what Slurm would not take, and a sweep that it still runs.

    Raises:
        MachineError: Slurm is not here.
        RefusedError: It would not take the jobs; or it has jobs of this sweep.
    """
    slurm.check(settings)
    slurm.refuse_queued(folder)


def prepared(
    command: Command, composition: Composition, folder: Path, kept: Sequence[bool]
) -> Submitted | None:
    """Return the jobs that are to be given to Slurm; None where another launcher runs them."""
    if composition.slurm is None:
        return None
    numbers = [number for number, there in enumerate(kept) if not there]
    if len(numbers) < len(kept):
        _print(f"{len(kept) - len(numbers)} kept from before; sweep.resume=false runs all again")
    asked = composition.slurm
    if len(numbers) > 1 and not asked.exclusive and asked.at_once != 1:
        _print(_BESIDE_EACH_OTHER)
    own = [text for text in opened(command.overrides) if text.lstrip("+~").startswith(_OF_HYDRA)]
    record = slurm.record_for(numbers, command.config_dir, command.config_name, own)
    return Submitted(folder, record, composition.slurm, _print)


def carry_out(submitted: Submitted) -> None:
    """Give the jobs to Slurm, and wait until all have ended.

    Raises:
        Interrupted: By the second signal that stops; all jobs were cancelled before.
        RefusedError: Slurm refuses them.
        MachineError: Slurm does not answer.
    """
    with interrupts.first_marks(submitted.folder, _print, _STOPPING), ExitStack() as ending:
        # Unless all have ended, nobody would wait for them.
        ending.callback(_cancel, submitted)
        submitted.submit()
        submitted.wait()
        ending.pop_all()


def _cancel(submitted: Submitted) -> None:
    with Held():
        submitted.cancel()


def told(results: Jobs, submitted: Submitted | None) -> Jobs:
    """Return the results of a sweep, with Slurm's word where a job of its left none."""
    return results if submitted is None else told_by_slurm(results, submitted)


def _print(text: str) -> None:
    ERR.print(text, markup=False, highlight=False, soft_wrap=True)
