"""Make all faults, print a line for each, and write docs/faults.md.

python -m tests.faults [--only WORDS] [--at-once N] [--write PATH]
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.page import page
from tests.faults.scene import Fault, Left
from tests.faults.table import all_faults, made


def main() -> int:
    """Return 1 if anything is wrong with what one of the faults left."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", help="faults whose names hold these words")
    parser.add_argument("--at-once", type=int, default=2, help="commands that run at a time")
    parser.add_argument("--write", type=Path, help="the page to write")
    options = parser.parse_args()
    faults = [fault for fault in all_faults() if options.only in fault.name]
    began = time.monotonic()
    results: list[tuple[Fault, Left]] = []
    failed = 0
    with ThreadPoolExecutor(options.at_once) as pool:
        for fault, (left, wrong) in zip(faults, pool.map(made, faults), strict=True):
            results.append((fault, left))
            failed += bool(wrong)
            status = left.record.status if left.record else "no record"
            verdict = "WRONG" if wrong else "right"
            print(f"{verdict}  {fault.name}: {left.code}, {status}, {left.kept}")
            for line in wrong:
                print(f"       {line}", flush=True)
    kinds = len({fault.kind for fault in faults})
    minutes = (time.monotonic() - began) / 60
    print(f"{len(faults)} faults of {kinds} kinds in {minutes:.1f} minutes, {failed} wrong")
    if options.write and not options.only:
        options.write.write_text(page(results), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
