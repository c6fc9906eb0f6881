"""What tests of rehearsals ask of a run."""

from __future__ import annotations

import csv
import json
from typing import Any

from harness.capture.run_record import READ, RunRecord
from tests.conftest import Run


def statuses(record: RunRecord) -> dict[str, str]:
    return {item.setting: item.status for item in record.delivery}


def undelivered(record: RunRecord) -> dict[str, str]:
    """What did not come; at Level0 some files have nothing that they could be compared with."""
    found = {setting: each for setting, each in statuses(record).items() if each != "delivered"}
    return {name: each for name, each in found.items() if (name, each) != (READ, "not_checkable")}


def calls(run: Run) -> list[Any]:
    return [json.loads(line) for line in (run.latest / "acl_calls.jsonl").read_text().splitlines()]


def kernel_details(run: Run) -> list[dict[str, str]]:
    (path,) = run.latest.glob("raw/*_ascend_pt/ASCEND_PROFILER_OUTPUT/kernel_details.csv")
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))
