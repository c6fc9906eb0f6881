"""The commands of ``msprof`` that torch_npu runs, and the files that each writes.

torch_npu searches the text of ``--help`` for CANN's features; ``--export=on`` writes the tables and
the timeline, or with ``--type=db`` the database; ``--analyze=on`` analyses communication, where
there is any (``torch_npu/profiler/analysis/prof_view/cann_parse``).

``HARNESS_EMULATOR_ERA`` chooses the headers (`columns.ERAS`), and ``HARNESS_EMULATOR_FAULTS`` the
faults (`faults.Faults`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.emulator import communication, sampled, summaries
from harness.emulator.collectives import Collective, read_collectives
from harness.emulator.database import Database
from harness.emulator.host import add_host, write_platform
from harness.emulator.kernels import Kernel, read_kernels, read_lines
from harness.emulator.sampled import Sampled, Window
from harness.emulator.timeline import Timeline
from harness.settings.faults import ERAS, NEWEST_ERA, Era, Faults

OUTPUT: Final = "mindstudio_profiler_output"
HOLD_S: Final = 0.5
"""torch_npu looks for the first file every 0.1 s, and drops the analysis that depends on it if this
program has ended by then."""

HCCL_TRACE: Final = 0x20
"""The bit of dataTypeConfig."""
HELP: Final = "emulated: the commands of CANN's msprof that torch_npu runs, for a recorded capture"


def main(words: Sequence[str]) -> int:
    """Run a command line, and return the exit code."""
    parser = argparse.ArgumentParser("msprof", description=HELP)
    parser.add_argument("--export", choices=["on", "off"], default="off")
    parser.add_argument("--analyze", choices=["on", "off"], default="off")
    parser.add_argument("--type", choices=["text", "db"], default="text")
    parser.add_argument("--output", type=Path, required=True, help="the folder PROF_...")
    options = parser.parse_args(words)
    faults = Faults.read(os.environ)
    era_name = os.environ.get("HARNESS_EMULATOR_ERA", NEWEST_ERA)
    era = next((era for era in ERAS if era == era_name), None)
    if era is None:
        print(
            f"emulated: HARNESS_EMULATOR_ERA={era_name}: one of {', '.join(ERAS)}", file=sys.stderr
        )
        return 2
    if faults.msprof == "fails":
        print("emulated: msprof fails, as HARNESS_EMULATOR_FAULTS requests", file=sys.stderr)
        return 1
    if not (options.output / "emulated" / "config.json").is_file():
        print(f"emulated: {options.output} is not a capture of the emulator", file=sys.stderr)
        return 2
    if options.export == "on":
        time.sleep(faults.slow_analysis_s)
        capture = Capture.read(options.output, faults, era)
        if "numa" in capture.config["settings"].get("8", "").split(","):
            write_platform(capture.folder.parent / f"PLATFORM_{capture.stamp}", capture.times)
        if options.type == "db":
            _publish_database(capture)
        else:
            _publish_texts(capture)
        time.sleep(HOLD_S)
    if options.analyze == "on":
        _analyse(Capture.read(options.output, faults, era), options.type)
    return 0


@dataclass(frozen=True)
class Capture:
    """A recorded capture, with the requested faults applied."""

    folder: Path
    config: dict[str, Any]
    kernels: dict[int, list[Kernel]]
    """By device."""
    collectives: dict[int, list[Collective]]
    """By device."""
    marks: list[dict[str, Any]]
    begin_ns: int
    end_ns: int
    pid: int
    era: Era
    """The emulated version of CANN, by its headers."""
    hit_rates: bool
    """Whether this chip counts the hits of its L2 cache."""

    @classmethod
    def read(cls, folder: Path, faults: Faults, era: Era) -> Capture:
        """Read what the emulator recorded."""
        recorded = folder / "emulated"
        config = json.loads((recorded / "config.json").read_text(encoding="utf-8"))
        # Without a level, nothing but the program's own marks is collected.
        devices = config["devices"] if config["level"] != "Level_none" else []
        # torch_npu's folder: <host>_<pid>_<time>_ascend_pt
        folder_name = re.search(r"_(\d+)_\d+_ascend_pt$", folder.resolve().parent.name)
        return cls(
            folder=folder,
            config=config,
            kernels={
                device: read_kernels(read_lines(recorded / f"device_{device}.jsonl"), faults)
                for device in devices
            },
            collectives={
                device: read_collectives(read_lines(recorded / f"hccl_{device}.jsonl"))
                for device in devices
            },
            marks=read_lines(recorded / "marks.jsonl"),
            begin_ns=_time_of(folder / "host" / "start_info", "collectionTimeBegin"),
            end_ns=_time_of(folder / "host" / "end_info", "collectionTimeEnd"),
            pid=int(folder_name[1]) if folder_name else 1,
            era=era,
            hit_rates=not faults.empty_hit_rate,
        )

    @property
    def stamp(self) -> str:
        """The time in file names: the capture's begin, so that every export has the same names."""
        return time.strftime("%Y%m%d%H%M%S", time.localtime(self.begin_ns // 1_000_000_000))

    @property
    def all_kernels(self) -> list[Kernel]:
        """The kernels of all devices."""
        return [kernel for kernels in self.kernels.values() for kernel in kernels]

    @property
    def all_collectives(self) -> list[Collective]:
        """The collectives of all devices."""
        return [each for collectives in self.collectives.values() for each in collectives]

    def tables(self) -> dict[str, summaries.Table]:
        """Return the tables of this level and these settings, by the name of their file."""
        level, mask = self.config["level"], self.config["data_type_config"]
        kernels, collectives = self.all_kernels, self.all_collectives
        tables = {
            "op_summary": summaries.op_summary(kernels, collectives, self.config, self.era),
            "task_time": summaries.task_time(kernels, level),
            "msprof_tx": summaries.msprof_tx(self.marks, self.pid),
        }
        if level in {"Level1", "Level2"}:
            tables["op_statistic"] = summaries.op_statistic(kernels)
            tables["api_statistic"] = summaries.api_statistic(kernels, collectives, level)
        if mask & 0x10:
            tables["l2_cache"] = summaries.l2_cache(kernels, hit_rates=self.hit_rates)
            if self.era == NEWEST_ERA:
                tables["soc_pmu"] = summaries.soc_pmu(kernels)
        return tables | self.sampled().tables

    @property
    def times(self) -> range:
        """The times of the samples."""
        return Window(self.config["devices"], self.begin_ns, self.end_ns).times

    def sampled(self) -> Sampled:
        """Return the samples of the settings, by the numbers of ``aclprofSetConfig``."""
        settings = self.config["settings"]
        window = Window(self.config["devices"], self.begin_ns, self.end_ns)
        samples = Sampled()
        if "3" in settings:
            sampled.add_memory(samples, window)
        if "5" in settings:
            sampled.add_networks(samples, window)
        if "6" in settings:
            sampled.add_links(samples, window)
        add_host(samples, window, settings.get("8", ""), self.pid)
        return samples

    def timeline(self) -> list[dict[str, Any]]:
        """Return the events."""
        timeline = Timeline(self.pid, self.config["level"])
        for device, kernels in self.kernels.items():
            timeline.add_kernels(device, kernels)
            timeline.add_collectives(self.collectives[device])
            timeline.add_overlap(device, kernels, self.collectives[device])
        timeline.add_marks(self.marks)
        timeline.add_sampled(self.sampled().events)
        return timeline.events()


def _time_of(path: Path, name: str) -> int:
    """Return a time of the capture in nanoseconds; a truncated capture has no end."""
    return int(json.loads(path.read_text(encoding="utf-8"))[name]) * 1000 if path.exists() else 0


def _publish_texts(capture: Capture) -> None:
    """Write all, then rename the folder: torch_npu starts to read as soon as there is a table."""
    with tempfile.TemporaryDirectory(dir=capture.folder, prefix="exporting_") as aside:
        output = Path(aside) / OUTPUT
        output.mkdir()
        _write_tables(output, capture.tables(), capture.stamp)
        timeline = json.dumps(capture.timeline())
        (output / f"msprof_{capture.stamp}.json").write_text(timeline, encoding="utf-8")
        note = "emulated: every time and counter here is invented\n"
        (output / "README.txt").write_text(note, encoding="utf-8")
        shutil.rmtree(capture.folder / OUTPUT, ignore_errors=True)
        output.rename(capture.folder / OUTPUT)


def _write_tables(folder: Path, tables: Mapping[str, summaries.Table], stamp: str) -> None:
    for name, (header, rows) in tables.items():
        if not rows:
            continue
        with (folder / f"{name}_{stamp}.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)


def _publish_database(capture: Capture) -> None:
    with tempfile.TemporaryDirectory(dir=capture.folder, prefix="exporting_") as aside:
        name = f"msprof_{capture.stamp}.db"
        database = Database(capture.config, capture.pid, capture.era)
        for kernel in capture.all_kernels:
            database.add_kernel(kernel)
        for collective in capture.all_collectives:
            database.add_collective(collective)
        for mark in capture.marks:
            database.add_mark(mark)
        for table, rows in capture.sampled().stored.items():
            database.add_sampled(table, rows)
        database.write(Path(aside) / name)
        (Path(aside) / name).replace(capture.folder / name)


def _analyse(capture: Capture, kind: str) -> None:
    """Write the analysis of communication, if it was recorded (``ACL_PROF_HCCL_TRACE``)."""
    if not capture.config["data_type_config"] & HCCL_TRACE or not capture.all_collectives:
        return
    write = {"text": communication.write_texts, "db": communication.write_database}[kind]
    write(capture.folder / communication.FOLDER, capture.all_collectives)
