"""What it costs to read a chrome trace into tables, beside others that load the whole file.

    pip install -e .[bench]
    python benchmarks/chrome_trace.py [--events N] [--repeat R] [--packed] [--trace PATH]

One synthetic trace of operators, calls to the driver, kernels and arrows, or a trace of your own.
The harness reads it, and one with twice the events; orjson decodes all of it, without a table of
anything; HolisticTraceAnalysis makes its data frame. Others that are not installed are left out.

Each measurement is a process of its own, the ways in turn, with nothing else in it but the imports,
which are not timed. Prints the median of seconds and of peak memory, what of that the tables are,
and the ratios. The allocator that polars brings keeps for a while what was freed, so the peak is
more than what is in use at once: the harness is measured a second time with an allocator that gives
all back at once.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

_MIB = 1 << 20
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
        # Event by event: a child's peak of memory begins with its parent's.
        for number, event in enumerate(_events(count)):
            file.write(f",\n{event}" if number else event)
        file.write("\n]}\n")


class _Measured(NamedTuple):
    seconds: float
    peak: float
    """MiB, of the whole process."""
    kept: float
    """MiB, of the tables; 0 where they are not ours."""
    rows: int


def _harness(path: Path) -> Callable[[], tuple[int, int]]:
    from harness.readers.base import ReadContext
    from harness.readers.chrome.reader import Chrome

    def tables() -> tuple[int, int]:
        frames = Chrome().read(path, ReadContext()).frames.values()
        return sum(frame.height for frame in frames), sum(int(f.estimated_size()) for f in frames)

    return tables


def _orjson(path: Path) -> Callable[[], tuple[int, int]]:
    loads = importlib.import_module("orjson").loads

    def decoded() -> tuple[int, int]:
        data = path.read_bytes()
        return len(loads(gzip.decompress(data) if path.suffix == ".gz" else data)["traceEvents"]), 0

    return decoded


def _hta(path: Path) -> Callable[[], tuple[int, int]]:
    analysis = importlib.import_module("hta.trace_analysis").TraceAnalysis

    def frame() -> tuple[int, int]:
        with contextlib.redirect_stdout(sys.stderr):
            return len(analysis(trace_files={0: str(path)}).t.get_trace(0)), 0

    return frame


_WAYS = {"harness": _harness, "orjson": _orjson, "hta": _hta}
_NAMES = {
    "harness": "harness, to tables",
    "twice": "harness, twice the events",
    "freed harness": "harness, freed at once",
    "freed twice": "twice, freed at once",
    "orjson": "orjson.loads, no tables",
    "hta": "HolisticTraceAnalysis",
}
_FREED = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
"""What tells jemalloc, polars' allocator, to keep nothing."""


def _child(way: str, path: Path) -> None:
    work = _WAYS[way](path)
    begin = time.perf_counter()
    count, kept = work()
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps([seconds, peak, kept / _MIB, count]))


def _measured(name: str, path: Path) -> _Measured:
    way = name if name in _WAYS else "harness"
    words = [sys.executable, __file__, "--child", way, str(path)]
    roots = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(filter(None, roots))}
        | (_FREED if "freed" in name else {}),
    )
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr}")
    return _Measured(*json.loads(done.stdout))


def _measurements(paths: dict[str, Path], repeat: int) -> dict[str, _Measured]:
    """Return the medians of each way."""
    found: dict[str, list[_Measured]] = {name: [] for name in paths}
    for _ in range(repeat):
        for name, path in paths.items():
            found[name].append(_measured(name, path))
    return {
        name: each[0]._replace(
            seconds=statistics.median(one.seconds for one in each),
            peak=statistics.median(one.peak for one in each),
        )
        for name, each in found.items()
    }


def _report(found: dict[str, _Measured]) -> None:
    for name, (seconds, peak, kept, rows) in found.items():
        tables = f"  {peak - kept:5.0f} MiB above the tables" if kept else ""
        sys.stdout.write(
            f"{_NAMES[name]:26} {seconds:7.2f} s {peak:6.0f} MiB  {rows:9,} rows{tables}\n"
        )
    mine = found["harness"]
    for name, other in found.items():
        if name == "twice":
            sys.stdout.write(f"twice the events: {other.seconds / mine.seconds:.2f} x the time\n")
        elif name in _WAYS and name != "harness":
            sys.stdout.write(
                f"harness / {_NAMES[name]}: {mine.seconds / other.seconds:.3f} x the time,"
                f" {mine.peak / other.peak:.2f} x the memory\n"
            )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--packed", action="store_true", help="as .json.gz")
    parser.add_argument("--trace", type=Path, help="a trace of your own")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child[0], Path(options.child[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, Path] = {}
        if options.trace:
            paths["harness"] = options.trace.resolve()
        else:
            for name, count in (("harness", options.events), ("twice", 2 * options.events)):
                paths[name] = Path(folder) / f"{name}.json{'.gz' if options.packed else ''}"
                _write(paths[name], count, packed=options.packed)
        paths |= {f"freed {name}": path for name, path in paths.items()}
        for name, module in (("orjson", "orjson"), ("hta", "hta")):
            if importlib.util.find_spec(module) is not None:
                paths[name] = paths["harness"]
        size = paths["harness"].stat().st_size / _MIB
        sys.stdout.write(f"{size:.0f} MiB, {options.repeat} times, {os.cpu_count()} processors\n")
        _report(_measurements(paths, options.repeat))


if __name__ == "__main__":
    main()
