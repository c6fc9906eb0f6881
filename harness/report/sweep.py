"""The section of a sweep: its jobs, their figures and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.capture.run_record import RunRecord
from harness.capture.sweep_record import SWEEP_FILE
from harness.errors import ExitCode
from harness.report.markdown import markdown
from harness.report.section import Section
from harness.report.units import duration
from harness.sweep.table import Jobs, short_names, sweep_table


def sections(
    swept: Sequence[str], found: Jobs, kept: Sequence[bool], folder: Path
) -> list[Section]:
    """Return the table of a sweep's jobs, for people, with the reasons of those that failed."""
    rows = []
    notes = []
    short = short_names(swept)
    figures = sweep_table(swept, found, folder).rows(named=True)
    for (job, record), figure, there in zip(found, figures, kept, strict=True):
        times = [figure[name] for name in ("unprofiled_step_ns", "profiled_step_ns", "device_ns")]
        unprofiled, profiled, device = ("–" if time is None else duration(time) for time in times)
        slower = figure["overhead"]
        rows.append(
            (
                *(job.values.get(key, "") for key in swept),
                "–" if job.exit_code is None else str(job.exit_code),
                unprofiled,
                profiled,
                "–" if slower is None else f"{slower:.2f} ×",
                device,
                f"{_result(record)}, kept" if there else _result(record),
            )
        )
        if job.reason:
            values = zip(short, (job.values.get(key, "") for key in swept), strict=True)
            notes.append(f"{' '.join(map('='.join, values))}: {job.reason}")
    records = [record for _, record in found if record is not None]
    done = sum(record.verdict == "delivered" and not record.exit_code for record in records)
    emulated = " (emulated: invented)" if any(each.emulated for each in records) else ""
    notes.append(f"{folder}/: {SWEEP_FILE}, summary.md, tables/, and a folder for each job")
    if left := sum(job.exit_code != ExitCode.OK for job, _ in found):
        jobs = f"{left} job{'s' if left > 1 else ''}"
        notes.append(f"the same command again keeps what was delivered, and runs {jobs}")
    columns = (">exit", ">unprofiled step", ">profiled step", ">overhead", ">device/step", "result")
    return [
        Section(
            title=f"Sweep{emulated}: {done} of {len(found)} jobs delivered",
            columns=(*short, *columns),
            rows=tuple(rows),
            notes=tuple(notes),
        )
    ]


def _result(record: RunRecord | None) -> str:
    if record is None or record.exit_code is None:
        return "no result"
    if record.exit_code in {ExitCode.OK, ExitCode.NOT_DELIVERED}:
        return record.verdict.replace("_", " ")
    return "unavailable" if record.exit_code == ExitCode.UNAVAILABLE else record.status


def keep_summary(parts: Sequence[Section], folder: Path) -> None:
    """Write the table of a sweep's jobs into its folder."""
    (folder / "summary.md").write_text(markdown(parts), encoding="utf-8")
