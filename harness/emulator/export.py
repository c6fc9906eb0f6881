"""The commands that torch_npu gives ``msprof``, and what each leaves in the capture's folder.

``--help`` is searched for what CANN can do; ``--export=on`` writes the tables and the timeline, or
with ``--type=db`` the database; ``--analyze=on`` would analyse communication, of which there is
none here (``torch_npu/profiler/analysis/prof_view/cann_parse``).

``HARNESS_EMULATOR_ERA`` chooses the headers (`columns.ERAS`), ``HARNESS_EMULATOR_FAULTS`` what goes
wrong (`faults.Faults`).
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

from harness.emulator import sampled, summaries
from harness.emulator.database import Database
from harness.emulator.host import add_host, write_platform
from harness.emulator.kernels import Kernel, read_kernels, read_lines
from harness.emulator.sampled import Sampled, Window
from harness.emulator.timeline import Timeline
from harness.settings.faults import ERAS, NEWEST_ERA, Era, Faults

OUTPUT: Final = "mindstudio_profiler_output"
HOLD_S: Final = 0.5
"""torch_npu looks for the first file every 0.1 s, and drops what depends on it if this program
has ended by then."""

HELP: Final = "emulated: what torch_npu asks of CANN's msprof, over a recorded capture"


def main(words: Sequence[str]) -> int:
    """Do what a command line says, and return the exit code."""
    parser = argparse.ArgumentParser("msprof", description=HELP)
    parser.add_argument("--export", choices=["on", "off"], default="off")
    parser.add_argument("--analyze", choices=["on", "off"], default="off")
    parser.add_argument("--type", choices=["text", "db"], default="text")
    parser.add_argument("--output", type=Path, required=True, help="the folder PROF_...")
    asked = parser.parse_args(words)
    faults = Faults.read(os.environ)
    named = os.environ.get("HARNESS_EMULATOR_ERA", NEWEST_ERA)
    era = next((each for each in ERAS if each == named), None)
    if era is None:
        print(f"emulated: HARNESS_EMULATOR_ERA={named}: one of {', '.join(ERAS)}", file=sys.stderr)
        return 2
    if faults.msprof == "fails":
        print("emulated: msprof fails, as HARNESS_EMULATOR_FAULTS asks", file=sys.stderr)
        return 1
    if not (asked.output / "emulated" / "config.json").is_file():
        print(f"emulated: {asked.output} is no capture of the emulator", file=sys.stderr)
        return 2
    if asked.export == "on":
        time.sleep(faults.slow_analysis_s)
        capture = Capture.read(asked.output, faults, era)
        if "numa" in capture.config["settings"].get("8", "").split(","):
            write_platform(capture.folder.parent / f"PLATFORM_{capture.stamp}", capture.times)
        if asked.type == "db":
            _publish_database(capture)
        else:
            _publish_texts(capture)
        time.sleep(HOLD_S)
    return 0


@dataclass(frozen=True)
class Capture:
    """A recorded capture, after the faults asked for."""

    folder: Path
    config: dict[str, Any]
    kernels: dict[int, list[Kernel]]
    """By device."""
    marks: list[dict[str, Any]]
    begin_ns: int
    end_ns: int
    pid: int
    era: Era
    """Which CANN this is to be, by its headers."""
    hit_rates: bool
    """Whether this chip counts the hits of its L2 cache."""

    @classmethod
    def read(cls, folder: Path, faults: Faults, era: Era) -> Capture:
        """Read what the emulator recorded."""
        recorded = folder / "emulated"
        config = json.loads((recorded / "config.json").read_text(encoding="utf-8"))
        # Without a level nothing is collected on the device but what the program itself marks.
        devices = config["devices"] if config["level"] != "Level_none" else []
        # torch_npu's folder: <host>_<pid>_<time>_ascend_pt
        named = re.search(r"_(\d+)_\d+_ascend_pt$", folder.resolve().parent.name)
        return cls(
            folder=folder,
            config=config,
            kernels={
                device: read_kernels(read_lines(recorded / f"device_{device}.jsonl"), faults)
                for device in devices
            },
            marks=read_lines(recorded / "marks.jsonl"),
            begin_ns=_time_of(folder / "host" / "start_info", "collectionTimeBegin"),
            end_ns=_time_of(folder / "host" / "end_info", "collectionTimeEnd"),
            pid=int(named[1]) if named else 1,
            era=era,
            hit_rates=not faults.empty_hit_rate,
        )

    @property
    def stamp(self) -> str:
        """The time in the names of files: when the capture began, so that it is found again."""
        return time.strftime("%Y%m%d%H%M%S", time.localtime(self.begin_ns // 1_000_000_000))

    def tables(self) -> dict[str, summaries.Table]:
        """Return the tables of this level and these settings, by the name of their file."""
        level, mask = self.config["level"], self.config["data_type_config"]
        kernels = [kernel for found in self.kernels.values() for kernel in found]
        tables = {
            "op_summary": summaries.op_summary(kernels, self.config, self.era),
            "task_time": summaries.task_time(kernels, level),
            "msprof_tx": summaries.msprof_tx(self.marks, self.pid),
        }
        if level in {"Level1", "Level2"}:
            tables["op_statistic"] = summaries.op_statistic(kernels)
            tables["api_statistic"] = summaries.api_statistic(kernels, level)
        if mask & 0x10:
            tables["l2_cache"] = summaries.l2_cache(kernels, hit_rates=self.hit_rates)
            if self.era == NEWEST_ERA:
                tables["soc_pmu"] = summaries.soc_pmu(kernels)
        return tables | self.sampled().tables

    @property
    def times(self) -> range:
        """When samples are taken."""
        return Window(self.config["devices"], self.begin_ns, self.end_ns).times

    def sampled(self) -> Sampled:
        """Return what is sampled, whatever runs; by the numbers of ``aclprofSetConfig``."""
        settings = self.config["settings"]
        window = Window(self.config["devices"], self.begin_ns, self.end_ns)
        found = Sampled()
        if "3" in settings:
            sampled.add_memory(found, window)
        if "5" in settings:
            sampled.add_networks(found, window)
        if "6" in settings:
            sampled.add_links(found, window)
        add_host(found, window, settings.get("8", ""), self.pid)
        return found

    def timeline(self) -> list[dict[str, Any]]:
        """Return the events."""
        timeline = Timeline(self.pid, self.config["level"])
        for device, kernels in self.kernels.items():
            timeline.add_kernels(device, kernels)
        timeline.add_marks(self.marks)
        timeline.add_sampled(self.sampled().events)
        return timeline.events()


def _time_of(path: Path, name: str) -> int:
    """Return a time of the capture in nanoseconds; a capture that was cut off has no end."""
    return int(json.loads(path.read_text(encoding="utf-8"))[name]) * 1000 if path.exists() else 0


def _publish_texts(capture: Capture) -> None:
    """Write all, then rename the folder: torch_npu starts reading at the first table it sees."""
    with tempfile.TemporaryDirectory(dir=capture.folder, prefix="exporting_") as aside:
        made = Path(aside) / OUTPUT
        made.mkdir()
        _write_tables(made, capture.tables(), capture.stamp)
        timeline = json.dumps(capture.timeline())
        (made / f"msprof_{capture.stamp}.json").write_text(timeline, encoding="utf-8")
        note = "emulated: every time and counter here is invented\n"
        (made / "README.txt").write_text(note, encoding="utf-8")
        shutil.rmtree(capture.folder / OUTPUT, ignore_errors=True)
        made.rename(capture.folder / OUTPUT)


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
        for kernel in (kernel for found in capture.kernels.values() for kernel in found):
            database.add_kernel(kernel)
        for mark in capture.marks:
            database.add_mark(mark)
        for table, rows in capture.sampled().stored.items():
            database.add_sampled(table, rows)
        database.write(Path(aside) / name)
        (Path(aside) / name).replace(capture.folder / name)
