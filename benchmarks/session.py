"""What a `harness.Session` costs a server: its requests outside of windows, and inside.

    python benchmarks/session.py [--rounds N]

A server on a pool of two threads answers the same requests in turn without a session, with one that
has no window, with windows of the bare profiler (a thread of its own starts it, stops it and writes
its trace), and with windows of the session of as many steps. Prints the median and the 95th
percentile of a request's time, as ratios to those without a session (outside) and with the bare
profiler (inside), and the cost of a step outside of a window.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import Self

os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile, record_function

import harness

REQUESTS = 60
STEPS = 240
"""Of a window; the requests of a round make 360, so that some meet its end."""
CALLS = 200_000
SETTINGS = ("profiler.record_shapes=true", "profiler.experimental.profile_all_threads=true")
Mark = Callable[[str], AbstractContextManager[None]]


def model(size: int) -> None:
    """Run for a millisecond or so."""
    left = torch.ones(size, 128)
    for _ in range(20):
        left = torch.relu(left @ torch.ones(128, 128))


def request(mark: Mark) -> float:
    """Answer a request: one prefill, five decodes; return its seconds."""
    begun = time.perf_counter()
    with mark("prefill"):
        model(128)
    for _ in range(5):
        with mark("decode"):
            model(8)
    return time.perf_counter() - begun


def served(pool: ThreadPoolExecutor, mark: Mark) -> list[float]:
    return list(pool.map(lambda _: request(mark), range(REQUESTS)))


class BareWindow:
    """A window as by hand: another thread starts the profiler, stops it, and writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started, self.ended = threading.Event(), threading.Event()
        self.counts = count(1)
        self.thread = threading.Thread(target=self.profiled)

    def profiled(self) -> None:
        """Profile, in the thread."""
        with profile(
            activities=[ProfilerActivity.CPU],
            record_shapes=True,
            experimental_config=_ExperimentalConfig(profile_all_threads=True),
        ) as profiler:
            self.started.set()
            self.ended.wait()
        profiler.export_chrome_trace(str(self.folder / "bare.json"))

    @contextmanager
    def mark(self, stage: str) -> Iterator[None]:
        """Make a step; the last one ends the window."""
        with record_function(stage):
            yield
        if next(self.counts) == STEPS:
            self.ended.set()

    def __enter__(self) -> Self:
        self.thread.start()
        self.started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join()


def outside(session: harness.Session) -> float:
    """Return the seconds of a step outside of a window."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        with session.step("decode", batch=8):
            pass
    return (time.perf_counter() - begun) / CALLS


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(2) as pool,
        harness.Session(*SETTINGS, out=folder, read="later") as session,
    ):
        for number in range(rounds + 1):
            found = {"none": served(pool, lambda _: nullcontext())}
            found["outside"] = served(pool, session.step)
            with BareWindow(Path(folder)) as bare:
                found["bare"] = served(pool, bare.mark)
            window = session.window(steps=STEPS)
            window.wait("recording")
            found["window"] = served(pool, session.step)
            window.wait()
            for name, seconds in found.items() if number else ():
                times.setdefault(name, []).extend(seconds)
        cost = outside(session)
    show(times)
    print(f"a step outside of a window: {cost * 1e6:.2f} us (at most 2)")


def show(times: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(seconds) for name, seconds in times.items()}
    late = {name: statistics.quantiles(seconds, n=20)[-1] for name, seconds in times.items()}
    for name in times:
        print(f"{name:8} median {middle[name] * 1e3:7.2f} ms, 95 % {late[name] * 1e3:7.2f} ms")
    for name, base in (("outside", "none"), ("window", "bare")):
        print(
            f"{name} / {base}: median {middle[name] / middle[base]:.3f},"
            f" 95 % {late[name] / late[base]:.3f}"
        )


if __name__ == "__main__":
    main()
