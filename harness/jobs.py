"""The jobs of a sweep: their folder, their records, their table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.compose import Composition
from harness.pipeline import read_record
from harness.records import RUN_FILE, RunRecord
from harness.rendering import duration

OUTPUTS = Path("outputs")

Jobs = list[tuple[str, RunRecord | None]]
"""Each expected job: its swept settings, and its record if it left one."""


def sweep_folder(overrides: Sequence[str], composition: Composition, digest: str) -> Path:
    """Return where the sweep's results lie: the same for the same command."""
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        if key == "hydra.sweep.dir":
            return Path(value)
    request = composition.jobs[0].request
    assert request is not None
    return OUTPUTS / "sweeps" / f"{request.name}-{digest}"


def fixed_keys(composition: Composition) -> list[str]:
    """Return the keys that all jobs set alike, which their folders' names leave out."""
    keys = {text.partition("=")[0] for text in composition.jobs[0].overrides}
    return sorted(keys - set(composition.swept))


def swept_text(composition: Composition, overrides: Sequence[str]) -> str:
    """Return the part of a job's settings that the sweep varies."""
    fixed = set(fixed_keys(composition))
    kept = [text for text in overrides if text.partition("=")[0] not in fixed]
    return " ".join(kept) or "(nothing varies)"


def headline(console: Console, number: int, total: int, overrides: Sequence[str]) -> None:
    """Print which job begins."""
    console.print(
        f"\n[bold]job {number + 1} of {total}[/bold]  {escape(' '.join(overrides))}",
        highlight=False,
    )


def records(folder: Path, composition: Composition) -> Jobs:
    """Return the jobs that were expected, each with its record; None where it left none."""
    left: dict[tuple[str, ...], RunRecord] = {}
    for path in folder.glob(f"*/{RUN_FILE}"):
        record = read_record(path)
        if record:
            left[record.overrides] = record
    found: Jobs = []
    for job in composition.jobs:
        found.append((swept_text(composition, job.overrides), left.get(job.overrides)))
    return found


def show(console: Console, jobs: Jobs, folder: Path) -> None:
    """Print the table of a sweep's jobs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("job", overflow="fold")
    table.add_column("exit", justify="right")
    table.add_column("clean step", justify="right")
    table.add_column("profiled step", justify="right")
    table.add_column("result", overflow="fold")
    for name, record in jobs:
        if record is None:
            table.add_row(escape(name), "–", "–", "–", "left no result")
            continue
        times = [
            duration(record.timing[phase].median_ns) if phase in record.timing else "–"
            for phase in ("baseline", "active")
        ]
        result = record.reason or record.verdict.replace("_", " ")
        table.add_row(escape(name), str(record.exit_code), *times, escape(result))
    records = [record for _, record in jobs if record is not None]
    done = sum(record.verdict == "delivered" for record in records)
    title = "Sweep (emulated: invented)" if any(each.emulated for each in records) else "Sweep"
    console.print(f"\n[bold]{title}[/bold]  {done} of {len(jobs)} jobs delivered", highlight=False)
    console.print(table)
    console.print(f"  {folder}/", highlight=False, markup=False)


def new_folder() -> Path:
    """Return where a run of now goes, as conf/config.yaml says for all others."""
    now = datetime.now().astimezone()
    return OUTPUTS / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S-%f}"


def link_latest(folder: Path) -> None:
    """Let ``outputs/latest`` lead to a folder below outputs/; others are left alone."""
    target, outputs = folder.absolute(), OUTPUTS.absolute()
    if not target.is_relative_to(outputs):
        return
    outputs.mkdir(exist_ok=True)
    unfinished = outputs / f".latest.{os.getpid()}"
    unfinished.symlink_to(target.relative_to(outputs), target_is_directory=True)
    unfinished.replace(outputs / "latest")
