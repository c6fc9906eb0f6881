"""What it costs to read a chrome trace into tables, beside decoding all of it.

    python benchmarks/chrome_trace.py [--events N] [--repeat R] [--packed]

One synthetic trace of operators, calls to the driver, kernels and arrows. The other way is that of
tools that load the whole file (`orjson.loads`; `json.loads` where orjson is not installed) before
they make a table of anything. Each repetition is a process of its own, the ways in turn; prints the
median of seconds and of peak memory, and their ratios.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_OF_A_LAUNCH = 5
_STEP = 1000


def _events(count: int) -> Iterator[str]:
    """Yield `count` events: two operators, the call to the driver, the arrow and the kernel."""
    head = '{"ph":"X","pid":1,"tid":1,'
    for number in range(count // _OF_A_LAUNCH):
        ts = number * 100
        if number % _STEP == 0:
            yield (
                f'{head}"cat":"user_annotation","name":"ProfilerStep#{number // _STEP}",'
                f'"ts":{ts}.000,"dur":{_STEP * 100 - 1}.500,"args":{{"External id":0}}}}'
            )
        dims = f"[[{number % 7 + 1},64],[64,128]]"
        for depth, name in enumerate(("aten::linear", "aten::addmm")):
            yield (
                f'{head}"cat":"cpu_op","name":"{name}","ts":{ts + depth * 10}.125,'
                f'"dur":{80 - depth * 20}.250,"args":{{"External id":{number * 2 + depth + 1},'
                f'"Sequence number":{number},"Fwd thread id":0,"Record function id":0,'
                f'"Concrete Inputs":["",""],"Input type":["float","float"],'
                f'"Input Strides":[[64,1],[1,64]],"Input Dims":{dims},"Ev Idx":{number}}}}}'
            )
        yield (
            f'{head}"cat":"cuda_runtime","name":"cudaLaunchKernel","ts":{ts + 20}.500,"dur":5.000,'
            f'"args":{{"External id":{number * 2 + 2},"cbid":211,"correlation":{number}}}}}'
        )
        yield (
            f'{{"ph":"s","id":{number},"pid":1,"tid":1,"ts":{ts + 20}.500,"cat":"ac2g",'
            '"name":"ac2g"}'
        )
        yield (
            f'{{"ph":"X","cat":"kernel","name":"gemm_{number % 20}","pid":0,"tid":7,'
            f'"ts":{ts + 60}.001,"dur":30.999,"args":{{"External id":{number * 2 + 2},"queued":0,'
            f'"device":0,"context":1,"stream":7,"correlation":{number},"registers per thread":90,'
            '"shared memory":49152,"blocks per SM":0.59,"warps per SM":2.37,"grid":[64,1,1],'
            '"block":[128,1,1],"est. achieved occupancy %":4}}'
        )


def _write(path: Path, count: int, *, packed: bool) -> None:
    with gzip.open(path, "wt", 1) if packed else path.open("w") as file:
        file.write('{"schemaVersion":1,"baseTimeNanoseconds":1790857026000000000,"traceEvents":[\n')
        file.write(",\n".join(_events(count)))
        file.write("\n]}\n")


def _tables(path: Path) -> int:
    from harness.readers.base import Origin
    from harness.readers.chrome import Chrome

    return sum(frame.height for frame in Chrome().read(path, Origin()).frames.values())


def _decoded(path: Path) -> int:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if importlib.util.find_spec("orjson") is None:
        return len(json.loads(data)["traceEvents"])
    return len(importlib.import_module("orjson").loads(data)["traceEvents"])


def _child(way: str, path: Path) -> None:
    begin = time.perf_counter()
    count = _tables(path) if way == "tables" else _decoded(path)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps([seconds, peak, count]))


def _measured(way: str, path: Path) -> tuple[float, float, int]:
    words = [sys.executable, __file__, "--child", way, str(path)]
    seconds, peak, count = json.loads(subprocess.check_output(words))
    return seconds, peak, count


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--packed", action="store_true", help="as .json.gz")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child[0], Path(options.child[1]))
        return
    other = "json.loads" if importlib.util.find_spec("orjson") is None else "orjson.loads"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"trace.json{'.gz' if options.packed else ''}"
        _write(path, options.events, packed=options.packed)
        size = path.stat().st_size / (1 << 20)
        sys.stdout.write(f"{options.events:,} events, {size:.0f} MiB, {options.repeat} times\n")
        found: dict[str, list[tuple[float, float, int]]] = {"tables": [], "decoded": []}
        for _ in range(options.repeat):
            for way, each in found.items():
                each.append(_measured(way, path))
    medians = {}
    for way, name in (("tables", "harness, to tables"), ("decoded", f"{other}, no tables")):
        seconds, peaks, counts = zip(*found[way], strict=True)
        medians[way] = statistics.median(seconds), statistics.median(peaks)
        sys.stdout.write(
            f"{name:22} {medians[way][0]:6.2f} s  {medians[way][1]:7.0f} MiB"
            f"  ({counts[0]:,} {'rows' if way == 'tables' else 'objects'})\n"
        )
    time_ratio, memory_ratio = (
        mine / theirs for mine, theirs in zip(medians["tables"], medians["decoded"], strict=True)
    )
    sys.stdout.write(f"ratio                  {time_ratio:6.2f}    {memory_ratio:7.2f}\n")


if __name__ == "__main__":
    main()
