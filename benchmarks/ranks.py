"""What it costs to read a folder of eight ranks, beside one rank, in time and memory.

    python benchmarks/ranks.py [--events N] [--ranks R] [--repeat K]

Every rank has the same synthetic trace, with a collective in each launch's place of a thousand. One
rank is read as a capture, eight as a folder of ranks: imported, checked, analysed and compared.

Each measurement is a process of its own, one rank and all ranks in turn; imports are not timed.
Prints the median of seconds and of peak memory, and the ratios: at most 8.5 x the time, and the
memory of one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_OF_A_LAUNCH = 4
_STEP = 500
_COLLECTIVE = 50


def _events(count: int, rank: int) -> Iterator[str]:
    """Yield `count` events: two operators, the call to the driver and the kernel."""
    head = '{"ph":"X","pid":1,"tid":1,'
    for number in range(count // _OF_A_LAUNCH):
        ts = number * 100
        if number % _STEP == 0:
            yield (
                f'{head}"cat":"user_annotation","name":"ProfilerStep#{number // _STEP}",'
                f'"ts":{ts}.000,"dur":{_STEP * 100 - 1}.500,"args":{{"External id":0}}}}'
            )
        for depth, name in enumerate(("aten::linear", "aten::addmm")):
            yield (
                f'{head}"cat":"cpu_op","name":"{name}","ts":{ts + depth * 10}.125,'
                f'"dur":{80 - depth * 20}.250,"args":{{"External id":{number * 2 + depth + 1},'
                f'"Input type":["float","float"],"Input Dims":[[{number % 7 + 1},64],[64,128]]}}}}'
            )
        yield (
            f'{head}"cat":"cuda_runtime","name":"cudaLaunchKernel","ts":{ts + 20}.500,"dur":5.000,'
            f'"args":{{"External id":{number * 2 + 2},"cbid":211,"correlation":{number}}}}}'
        )
        moves = number % _COLLECTIVE == 0
        name = "ncclDevKernel_AllReduce_Sum_f32" if moves else f"gemm_{number % 20}"
        more = ',"Collective name":"allreduce","Process Group Name":"0"' if moves else ""
        yield (
            f'{{"ph":"X","cat":"kernel","name":"{name}","pid":0,"tid":7,"ts":{ts + 60 - rank}.001,'
            f'"dur":{30 + rank}.999,"args":{{"External id":{number * 2 + 2},"device":0,"stream":7,'
            f'"correlation":{number}{more}}}}}'
        )


def _write(path: Path, count: int, rank: int) -> None:
    with path.open("w") as file:
        file.write(f'{{"schemaVersion":1,"distributedInfo":{{"rank":{rank}}},"traceEvents":[\n')
        for number, event in enumerate(_events(count, rank)):
            file.write(f",\n{event}" if number else event)
        file.write("\n]}\n")


def _child(path: Path, out: Path) -> None:
    from harness.across.reading import read_rank_folder
    from harness.capture.sources import rank_folder
    from harness.pipeline.reading import read_capture

    begin = time.perf_counter()
    found = rank_folder(path)
    done = read_rank_folder(found, out) if found else read_capture(path, out)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps([seconds, peak, done.record.exit_code]))


def _measured(path: Path, out: Path) -> tuple[float, float]:
    roots = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(path), str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, roots))},
    )
    shutil.rmtree(out, ignore_errors=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, peak, code = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{path}: exit code {code}")
    return seconds, peak


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(Path(options.child[0]), Path(options.child[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "all").mkdir()
        for rank in range(options.ranks):
            _write(place / "all" / f"{rank}.json", options.events, rank)
        paths = {"one": place / "all" / "0.json", "all": place / "all"}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in paths}
        for _ in range(options.repeat):
            for name, path in paths.items():
                found[name].append(_measured(path, place / "out"))
    middle = {
        name: [statistics.median(each) for each in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    for name, (seconds, peak) in middle.items():
        sys.stdout.write(f"{name:4} {seconds:7.2f} s {peak:6.0f} MiB\n")
    pairs = zip(found["all"], found["one"], strict=True)
    ratio = statistics.median(of_all[0] / of_one[0] for of_all, of_one in pairs)
    memory = middle["all"][1] / middle["one"][1]
    sys.stdout.write(f"{options.ranks} ranks / one: {ratio:.2f} x the time (median of the pairs), ")
    sys.stdout.write(f"{memory:.2f} x the memory\n")


if __name__ == "__main__":
    main()
