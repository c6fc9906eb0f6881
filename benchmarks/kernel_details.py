"""What it costs to read a kernel_details.csv into a typed table on disk, beside pandas.read_csv.

    python benchmarks/kernel_details.py [--rows N] [--repeat R]

The file has the 39 columns of CANN 8.3 with the group MemoryAccess: shapes in quotes, a tab behind
the start, N/A for what a kernel lacks. The harness reads it as it reads any capture, every cell by
its type, and writes the table `kernels` as parquet; pandas only makes its frame, where shapes and
dtypes are texts and starts are rounded floats. Each repetition is a process of its own, the ways in
turn, and imports are not timed. Prints the medians of seconds, of CPU seconds and of peak memory,
and the ratios.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HEADER = (
    "Device_id,Model ID,Task ID,Stream ID,Name,Type,OP State,Accelerator Core,Start Time(us),"
    "Duration(us),Wait Time(us),Block Dim,Mix Block Dim,HF32 Eligible,Input Shapes,"
    "Input Data Types,Input Formats,Output Shapes,Output Data Types,Output Formats,Context ID,"
    "aicore_time(us),aic_total_cycles,aic_read_main_memory_datas(KB),"
    "aic_write_main_memory_datas(KB),aic_GM_to_L1_datas(KB),aic_L0C_to_L1_datas(KB),"
    "aic_L0C_to_GM_datas(KB),aic_GM_to_UB_datas(KB),aic_UB_to_GM_datas(KB),aiv_time(us),"
    "aiv_total_cycles,aiv_read_main_memory_datas(KB),aiv_write_main_memory_datas(KB),"
    "aiv_GM_to_L1_datas(KB),aiv_L0C_to_L1_datas(KB),aiv_L0C_to_GM_datas(KB),"
    "aiv_GM_to_UB_datas(KB),aiv_UB_to_GM_datas(KB)"
)
_COUNTERS = 18
_OF_HALF = _COUNTERS // 2

# A layer of a transformer: name, type, core, and shapes of inputs and outputs, where `B` is the
# number of tokens, which differs from step to step.
_LAYER = (
    ("aclnnRmsNorm_RmsNorm_RmsNorm", "RmsNorm", "AI_VECTOR_CORE", "B,4096;4096", "B,4096;B,1"),
    ("aclnnMatmul_MatMulCommon_MatMulV2", "MatMulV2", "AI_CORE", "B,4096;4096,6144", "B,6144"),
    ("aclnnSplit_SplitV_SplitV", "SplitV", "AI_VECTOR_CORE", "B,6144;3;", "B,4096;B,1024;B,1024"),
    ("aclnnCos_CosAiCore_Cos", "Cos", "AI_VECTOR_CORE", "B,1,128", "B,1,128"),
    ("aclnnMul_MulAiCore_Mul", "Mul", "AI_VECTOR_CORE", "B,32,128;B,1,128", "B,32,128"),
    (
        "aclnnFlashAttentionScore_FlashAttentionScore_FlashAttentionScore",
        "FlashAttentionScore",
        "MIX_AIC",
        "B,32,128;B,8,128;B,8,128;;;2048,2048;;;",
        "B,32,8;B,32,8;0;B,32,128",
    ),
    ("aclnnMatmul_MatMulCommon_MatMulV2", "MatMulV2", "AI_CORE", "B,4096;4096,4096", "B,4096"),
    ("hcom_allReduce__868_{}_1", "hcom_allReduce_", "HCCL", "", ""),
    ("aclnnAdd_AddAiCore_Add", "Add", "AI_VECTOR_CORE", "B,4096;B,4096", "B,4096"),
    ("aclnnMatmul_MatMulCommon_MatMulV2", "MatMulV2", "AI_CORE", "B,4096;4096,28672", "B,28672"),
    ("aclnnSwiGlu_SwiGlu_SwiGlu", "SwiGlu", "AI_VECTOR_CORE", "B,28672", "B,14336"),
    ("MemSet", "MemSet", "AI_VECTOR_CORE", "", ""),
)
FILE = Path("ASCEND_PROFILER_OUTPUT", "kernel_details.csv")
_TOKENS = tuple(range(512, 4096, 128))
_NOTHING = "N/A"


def _rows(count: int) -> Iterator[str]:
    """Yield `count` rows, each with its end of line."""
    any_ = random.Random(0)  # noqa: S311 - no secret
    at = 1_790_857_026_000_000_000
    layer = [
        (name, type_, core, *(f"{_tensors(i, n)},{_tensors(o, n)}" for n in _TOKENS))
        for name, type_, core, i, o in _LAYER
    ]
    for number in range(count):
        name, type_, core, *tensors = layer[number % len(layer)]
        spent = any_.randrange(1_500, 400_000)
        at += spent + any_.randrange(20, 3_000)
        communicates = core == "HCCL"
        where = "0,4294967295," + (
            f"{_NOTHING},{_NOTHING}" if communicates else f"{number % 65536},2"
        )
        state, blocks, mixed, hf32 = (
            (_NOTHING, "0", _NOTHING, _NOTHING) if communicates else ("dynamic", "48", "0", "NO")
        )
        words = tensors[number // 5000 % len(_TOKENS)]
        yield (
            f"{where},{name.format(number)},{type_},{state},{core},"
            f"{at // 1000}.{at % 1000:03}\t,{spent / 1000},"
            f"{any_.randrange(100_000) / 1000},{blocks},{mixed},{hf32},{words},"
            f"{'0' if core == 'MIX_AIC' else _NOTHING},{_counters(core, spent, any_)}\r\n"
        )


def _tensors(shapes: str, tokens: int) -> str:
    """Return the cells of shapes, dtypes and formats."""
    if not shapes:
        return ",".join([_NOTHING] * 3)
    slots = shapes.split(";")
    dtypes, formats = (";".join(word if s else "" for s in slots) for word in ("DT_BF16", "ND"))
    return f'"""{shapes.replace("B", str(tokens))}""",{dtypes},{formats}'


def _counters(core: str, spent: int, any_: random.Random) -> str:
    if core == "HCCL":
        return ",".join([_NOTHING] * _COUNTERS)
    idle = "0.0,0" + ",0.0" * (_OF_HALF - 2)
    moved = ",".join(str(any_.randrange(50_000_000) / 1000) for _ in range(_OF_HALF - 4))
    busy = f"{spent / 1000},{spent * 1850 // 1000 * 48},{moved},0.0,0.0"
    return {"AI_CORE": f"{busy},{idle}", "MIX_AIC": f"{busy},{busy}"}.get(core, f"{idle},{busy}")


def _write(folder: Path, rows: int) -> None:
    path = folder / FILE
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        file.write(f"{HEADER}\r\n")
        file.writelines(_rows(rows))


def _harness(folder: Path) -> Callable[[], int]:
    from harness.capture import cycles
    from harness.paths import RunFolder
    from harness.readers.ascend.text import AscendText
    from harness.readers.base import ReadContext

    def table() -> int:
        reading = AscendText().read(folder, ReadContext())
        cycles.write([reading], RunFolder(folder))
        return reading.event_counts["kernel"].rows

    shutil.rmtree(RunFolder(folder).cycles, ignore_errors=True)
    return table


def _pandas(folder: Path) -> Callable[[], int]:
    import pandas as pd  # type: ignore[import-untyped]

    return lambda: len(pd.read_csv(folder / FILE))


WAYS: dict[str, Callable[[Path], Callable[[], int]]] = {"harness": _harness, "pandas": _pandas}


def _child(way: str, folder: Path) -> None:
    work = WAYS[way](folder)
    begin, cpu = time.perf_counter(), time.process_time()
    rows = work()
    spent = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps([*spent, peak, rows]))


def _measured(way: str, folder: Path) -> list[float]:
    words = [sys.executable, __file__, "--child", way, str(folder)]
    found: list[float] = json.loads(subprocess.check_output(words))
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child[0], Path(options.child[1]))
        return
    with tempfile.TemporaryDirectory() as root:
        once, twice = Path(root) / "once_ascend_pt", Path(root) / "twice_ascend_pt"
        _write(once, options.rows)
        _write(twice, options.rows * 2)
        ways = {"harness": ("harness", once)}
        if importlib.util.find_spec("pandas"):
            ways["pandas"] = ("pandas", once)
        else:
            print("pandas is not installed: pip install -e .[bench]")
        ways["harness, twice the rows"] = ("harness", twice)
        size = (once / FILE).stat().st_size / (1 << 20)
        print(f"{options.rows:,} rows, {size:.0f} MiB, {options.repeat} times")
        found: dict[str, list[list[float]]] = {name: [] for name in ways}
        for _ in range(options.repeat):
            for name, (way, folder) in ways.items():
                found[name].append(_measured(way, folder))
    medians = {
        name: [statistics.median(each) for each in zip(*runs, strict=True)]
        for name, runs in found.items()
    }
    for name, (wall, cpu, peak, rows) in medians.items():
        print(f"{name:24} {wall:6.2f} s  {cpu:6.2f} s of CPU  {peak:6.0f} MiB  {rows:9,.0f} rows")
    for of, to in (("harness", "pandas"), ("harness, twice the rows", "harness")):
        if to not in medians:
            continue
        ratios = [mine / other for mine, other in zip(medians[of], medians[to], strict=True)]
        words = f"{of} / {to}"
        print(f"{words:34} time {ratios[0]:.2f}, CPU {ratios[1]:.2f}, peak {ratios[2]:.2f}")


if __name__ == "__main__":
    main()
