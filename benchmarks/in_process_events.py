"""What it costs to turn a profile into tables, beside torch's own key_averages().

    python benchmarks/in_process_events.py [--events N] [--repeat R] [--torch-repeat R]
                                           [--memory] [--stacks]

One process, one profile of many small operators on the CPU, with shapes. Prints microseconds of
CPU time per event (of all threads, so that a busy machine matters little) and the growth of the
process's peak memory. The tables are made first: the peak only ever grows.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable

# An installed torch_npu stops `import torch` where CANN is missing.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

import torch
from torch._C._autograd import _ProfilerResult
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, record_function

from harness.devices.torch_events import tables_of
from harness.tables.markers import STAGE_MARK, STEP_MARK


def _profiled(rounds: int, *, memory: bool, stacks: bool) -> profile:
    weight, bias = torch.randn(4, 4), torch.randn(4)
    prof: profile
    with profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        profile_memory=memory,
        with_stack=stacks,
        experimental_config=_ExperimentalConfig(verbose=stacks),
    ) as prof:
        for first in range(0, rounds, 1000):
            with record_function(f"{STEP_MARK}{first // 1000}"):
                for number in range(first, min(first + 1000, rounds)):
                    with record_function(f"{STAGE_MARK}even" if number % 2 else "odd"):
                        batch = torch.randn(number % 7 + 1, 4)
                        hidden = torch.nn.functional.linear(batch, weight, bias).relu()
                        torch.cat([hidden, batch]).softmax(-1).sum()
    return prof


def _result(prof: profile) -> _ProfilerResult:
    assert prof.profiler is not None
    assert prof.profiler.kineto_results is not None
    return prof.profiler.kineto_results


def _timed(work: Callable[[], object], repeat: int) -> tuple[list[float], int]:
    """Return CPU seconds of each run, and how many MiB the peak of the process grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeat):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=5, help="runs of the tables (median)")
    parser.add_argument("--torch-repeat", type=int, default=1, help="runs of torch; 0 for none")
    parser.add_argument("--memory", action="store_true", help="with allocations")
    parser.add_argument("--stacks", action="store_true", help="with Python stacks")
    given = parser.parse_args()
    options = {"memory": given.memory, "stacks": given.stacks}

    trial = len(_result(_profiled(200, **options)).events()) / 200
    prof = _profiled(max(1, round(given.events / trial)), **options)
    result = _result(prof)
    events = len(result.events())
    print(f"{events} events, torch {torch.__version__}, {options}")

    def tables() -> None:
        tables_of(result, rank=0, first_id=0, flops=False, **options)

    ours, growth = _timed(tables, given.repeat)
    per_event = statistics.median(ours) / events * 1e6
    print(
        f"tables_of:    {per_event:7.2f} us per event, peak +{growth} MiB, {_spread(ours, events)}"
    )
    if not given.torch_repeat:
        return

    def averages() -> None:
        assert prof.profiler is not None
        prof.profiler._function_events = None  # torch keeps the events that it has parsed
        prof.key_averages(group_by_input_shape=True)

    torchs, growth = _timed(averages, given.torch_repeat)
    theirs = statistics.median(torchs) / events * 1e6
    print(
        f"key_averages: {theirs:7.2f} us per event, peak +{growth} MiB, {_spread(torchs, events)}"
    )
    print(f"ratio:        {theirs / per_event:7.1f}")


def _spread(seconds: list[float], events: int) -> str:
    low, high = (bound / events * 1e6 for bound in (min(seconds), max(seconds)))
    return f"{len(seconds)} runs, {low:.2f} to {high:.2f} us"


if __name__ == "__main__":
    main()
