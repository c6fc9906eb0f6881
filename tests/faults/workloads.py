"""Faults: workloads that raise, fork, print without end, or write where they should not."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Final

from tests.faults.scene import Fault, Left, Scene, run
from tests.faults.workload import BEFORE_A_STEP, PHASES, harmful

_RAISES: Final[Mapping[str, tuple[str, str]]] = {
    "an error without a text": ("raise ValueError", "ValueError"),
    "an error of 50 MB": ("raise ValueError('x' * 50_000_000)", "characters more"),
    "an error with a NUL and a lone surrogate": (
        "raise ValueError('a\\0b\\udc80c\\x1b[31m\\nd')",
        "ValueError: a",
    ),
    "an error whose text raises": (
        """
class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")
raise Odd""",
        "Odd",
    ),
    "an error whose text is no text": (
        "class Odd(Exception):\n    def __str__(self):\n        return 7\nraise Odd",
        "Odd",
    ),
    "a cancelled task": (
        "import asyncio\nraise asyncio.CancelledError('stop')",
        "CancelledError",
    ),
    "a generator's end": ("raise GeneratorExit", "GeneratorExit"),
    "a base exception of its own": (
        "class Mine(BaseException):\n    pass\nraise Mine('mine')",
        "Mine: mine",
    ),
    "an interrupt of its own": ("raise KeyboardInterrupt('mine')", "KeyboardInterrupt"),
    "an exit with code 0": ("sys.exit(0)", "SystemExit"),
    "an exit with a text": ("sys.exit('bye')", "SystemExit: bye"),
    "an exit past all handlers": ("os._exit(0)", "exited with code 0"),
}
_PASSES: Final[Mapping[str, tuple[str, str]]] = {
    "a fork that returns": ("os.fork()", ""),
    "50 MB without a newline": ("sys.stdout.write('x' * 50_000_000)\nsys.stdout.flush()", ""),
    "300,000 lines": ("sys.stdout.write('line\\n' * 300_000)\nsys.stdout.flush()", ""),
    "clocks that stand still": (
        """
time.time = time.monotonic = time.perf_counter = lambda: 0.0
time.time_ns = time.monotonic_ns = time.perf_counter_ns = lambda: 0""",
        "",
    ),
    "words into all descriptors": (
        """
for number in range(3, 256):
    try:
        os.write(number, b"not mine\\n")
    except OSError:
        pass""",
        "",
    ),
    "a closed standard output": ("os.close(1)", ""),
}


def faults() -> Iterator[Fault]:
    """Return the faults of this file."""
    for kind, (code, says) in _RAISES.items():
        for phase in PHASES:
            begun = phase not in BEFORE_A_STEP
            yield Fault(
                kind=f"the workload: {kind}",
                phase=phase,
                act=functools.partial(_harm, code=code, phase=phase),
                codes=frozenset({1}),
                statuses=frozenset({"failed"}),
                keeps=frozenset({"steps", "summary"} if begun else {"summary"}),
                says=says,
            )
    for kind, (code, says) in _PASSES.items():
        for phase in PHASES:
            yield Fault(
                kind=f"the workload: {kind}",
                phase=phase,
                act=functools.partial(_harm, code=code, phase=phase),
                codes=frozenset({0, 1, 3} if "descriptors" in kind else {0}),
                statuses=frozenset({"ok", "failed"} if "descriptors" in kind else {"ok"}),
                keeps=frozenset({"steps", "summary"}),
                says=says,
            )


def _harm(scene: Scene, *, code: str, phase: str) -> Left:
    scene.own_traceback = True
    return run(scene, *harmful(scene, phase, code))
