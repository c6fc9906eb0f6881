"""Every name in the folders that the harness writes: of a run, a sweep, a merge, a comparison.

A leaf that every package may import: the child process writes by these names, all later stages
read by them. What is done with such folders is in `harness.capture`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

LOG_FILE: Final = "harness.log"
"""What the child process printed."""
_SUMMARY: Final = "summary.md"
_REPORT: Final = "report.html"
_TABLES: Final = "tables"


class RunFolder(Struct, frozen=True):
    """The folder of one run, or of one imported capture."""

    path: Path

    @property
    def record(self) -> Path:
        """The request, how the run ended, what was delivered: a `RunRecord`."""
        return self.path / "run.json"

    @property
    def plan(self) -> Path:
        """What the child process carries out: a `Plan`."""
        return self.path / "plan.json"

    @property
    def capture(self) -> Path:
        """What the capture is checked against, and what its readers reported: a `CaptureRecord`."""
        return self.path / "capture.json"

    @property
    def outcome(self) -> Path:
        """How the child process ended: an `Outcome`."""
        return self.path / "outcome.json"

    @property
    def analysis(self) -> Path:
        """How the device's own analysis ended: an `Outcome`."""
        return self.path / "analysis.json"

    @property
    def calls(self) -> Path:
        """The profiling calls of a rehearsal, as the emulator recorded them."""
        return self.path / "acl_calls.jsonl"

    @property
    def steps(self) -> Path:
        """A `StepTime` a line, written as each step ends."""
        return self.path / "steps.jsonl"

    @property
    def lines(self) -> Path:
        """When which line of the user's code ran: the table `lines`, as the process recorded it."""
        return self.path / "lines.parquet"

    @property
    def log(self) -> Path:
        """What the child process printed."""
        return self.path / LOG_FILE

    @property
    def summary(self) -> Path:
        """What is printed at the end."""
        return self.path / _SUMMARY

    @property
    def report(self) -> Path:
        """The same with all figures, for a browser."""
        return self.path / _REPORT

    @property
    def redacted_report(self) -> Path:
        """The report without what is private."""
        return self.path / "report-redacted.html"

    @property
    def raw(self) -> Path:
        """What the profiler wrote; of an imported capture, links to it."""
        return self.path / "raw"

    @property
    def captures(self) -> Path:
        """What a live engine wrote, for this run."""
        return self.path / "captures"

    @property
    def cycles(self) -> Path:
        """The tables of each finished cycle, until they are joined."""
        return self.path / "cycles"

    @property
    def tables(self) -> Path:
        """The joined tables."""
        return self.path / _TABLES

    @property
    def analyses(self) -> Path:
        """The tables that are computed from them."""
        return self.path / "analyses"

    @property
    def ranks(self) -> Path:
        """The run folders of the processes of a job of several ranks."""
        return self.path / "ranks"

    @property
    def merged_trace(self) -> Path:
        """The trace of all ranks of a job, for viewing."""
        return self.path / "merged_trace.json.gz"

    @property
    def view(self) -> Path:
        """What a viewer was given: made anew each time."""
        return self.path / "view"

    @property
    def viewed_trace(self) -> Path:
        """The trace of the whole run, or of some steps, for a viewer."""
        return self.view / "trace.json.gz"

    def rank(self, number: int) -> RunFolder:
        """Return the run folder of one process of the job, by its global rank."""
        return RunFolder(self.ranks / str(number))

    @property
    def of_job(self) -> RunFolder:
        """The run folder of the job that this one, of a rank, belongs to."""
        return RunFolder(self.path.parent.parent)

    @property
    def job(self) -> Path:
        """What each rank of a job carries out: a `Job`."""
        return self.path / "job.json"

    @property
    def stop_order(self) -> Path:
        """There once a job of several ranks is to end before its time: a `StopOrder`."""
        return self.ranks / "stop.json"

    @property
    def finished(self) -> Path:
        """There once a rank has made its steps, and waits for the others."""
        return self.path / "finished"

    def cycle(self, number: int) -> Path:
        """Return the folder of one cycle's tables."""
        return self.cycles / f"{number:03d}"

    def table(self, name: str) -> Path:
        """Return the file of a joined table."""
        return self.tables / f"{name}.parquet"

    def analysis_table(self, name: str) -> Path:
        """Return the file of a table that is computed from the joined ones."""
        return self.analyses / f"{name}.parquet"

    def cycle_folders(self) -> list[Path]:
        """Return the folders that torch_npu left, one for each cycle, in order."""
        return sorted(self.raw.glob("*_ascend_pt"))

    def traces(self) -> list[Path]:
        """Return torch's traces of cycles of which it wrote nothing else.

        Of one that was being compressed when harness was killed, the original.
        """
        if self.cycles.exists():
            return []
        plain = set(self.raw.glob("trace*.json"))
        packed = {
            path for path in self.raw.glob("trace*.json.gz") if path.with_suffix("") not in plain
        }
        return sorted(plain | packed)

    @property
    def replaced(self) -> tuple[Path, ...]:
        """All that a new run in the same folder replaces."""
        files = (self.record, self.plan, self.capture, self.outcome, self.analysis, self.log)
        rows = (self.calls, self.steps, self.lines, self.merged_trace, self.job, self.finished)
        shown = (self.summary, self.report, self.redacted_report)
        folders = (self.cycles, self.tables, self.analyses, self.raw, self.view, self.ranks)
        return (*files, *rows, *shown, *folders, self.captures)


class SweepFolder(Struct, frozen=True):
    """The folder of a sweep; those of its jobs are in it."""

    path: Path

    @property
    def record(self) -> Path:
        """The expected jobs, and what became of each: a `SweepRecord`."""
        return self.path / "sweep.json"

    @property
    def slurm_record(self) -> Path:
        """How the jobs were given to Slurm: a `SlurmRecord`."""
        return self.path / "slurm.json"

    @property
    def slurm(self) -> Path:
        """What Slurm runs, and what the processes of its jobs print."""
        return self.path / "slurm"

    @property
    def slurm_script(self) -> Path:
        """The batch script of all jobs."""
        return self.slurm / "job.sh"

    def slurm_log(self, name: str) -> Path:
        """Return what a job's process prints on its node; `name` is Slurm's for the job."""
        return self.slurm / f"{name}.log"

    @property
    def lock(self) -> Path:
        """Locked while the sweep runs."""
        return self.path / ".lock"

    @property
    def interrupted(self) -> Path:
        """There once the sweep was interrupted: no further job of it begins."""
        return self.path / ".interrupted"

    @property
    def summary(self) -> Path:
        """What is printed at the end."""
        return self.path / _SUMMARY

    @property
    def report(self) -> Path:
        """The same with all figures, for a browser."""
        return self.path / _REPORT

    @property
    def tables(self) -> Path:
        """The table of the jobs."""
        return self.path / _TABLES

    def job(self, name: str) -> RunFolder:
        """Return the run folder of a job."""
        return RunFolder(self.path / name)

    def jobs(self) -> list[RunFolder]:
        """Return the run folders that have a record, in the order of their names."""
        folders = (RunFolder(path) for path in sorted(self.path.glob("*/")))
        return [folder for folder in folders if folder.record.exists()]


class MergedFolder(Struct, frozen=True):
    """The folder that runs were merged into; of a sweep, that of the sweep."""

    path: Path

    @property
    def record(self) -> Path:
        """Which runs were joined, and how: a `MergeRecord`."""
        return self.path / "merge.json"

    @property
    def summary(self) -> Path:
        """What is printed at the end."""
        return self.path / "merged.md"

    @property
    def report(self) -> Path:
        """The same with all figures, for a browser; of a sweep, also that of its jobs."""
        return self.path / _REPORT

    def table(self, name: str) -> Path:
        """Return the file of a merged table."""
        return self.path / _TABLES / f"{name}.parquet"


class ComparisonFolder(Struct, frozen=True):
    """The folder of a comparison that is kept."""

    path: Path

    @property
    def record(self) -> Path:
        """What differs, the answer, what made it so: a `ComparisonRecord`."""
        return self.path / "compare.json"

    @property
    def summary(self) -> Path:
        """What is printed."""
        return self.path / "comparison.md"

    @property
    def report(self) -> Path:
        """The same as a page for any browser."""
        return self.path / _REPORT

    def table(self, name: str) -> Path:
        """Return the file of the joined operators or kernels."""
        return self.path / _TABLES / f"{name}_compared.parquet"

    def run(self, side: str, number: int) -> RunFolder:
        """Return the run folder of a repetition: candidate-1, base-1 and so on."""
        return RunFolder(self.path / f"{side}-{number}")
