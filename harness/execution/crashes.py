"""What the Python stack of a crash says of its cause."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from harness.files import regular

_TAIL: Final = 64 << 10
"""Bytes at the end of a log; `faulthandler` prints at most 100 frames of a thread."""
_STACK: Final = re.compile(
    r"^Fatal Python error: .*?^Current thread [^\n]*:\n((?: +File \"[^\n]*\n)+)",
    re.MULTILINE | re.DOTALL,
)
"""As Python's faulthandler prints it, the innermost frame first."""
_FRAME: Final = re.compile(r'File "([^"\n]+)", line (\d+) in (\S+)')
_OURS: Final = str(Path(__file__).parents[1])
_LOOP: Final = str(Path(__file__).with_name("session.py"))
_PROFILERS: Final = ("/torch/profiler/profiler.py", "/torch_npu/profiler/profiler.py")
_BELOW: Final = "/torch/autograd/profiler.py"
_STARTS: Final = frozenset({"_prepare_trace", "_start_trace"})
"""Of that module, which has ranges, too."""


class _Frame(NamedTuple):
    file: str
    line: str
    function: str

    @property
    def starts_profiler(self) -> bool:
        """Whether it is one of a profiler."""
        if self.file.endswith(_BELOW):
            return self.function in _STARTS
        return self.file.endswith(_PROFILERS)


def cause_of_crash(log: Path) -> str:
    """Say what the last stack in a log shows of the crash; "" if there is none."""
    stacks = _STACK.findall(_end_of(log))
    if not stacks:
        return ""
    innermost = _FRAME.search(stacks[-1])
    assert innermost is not None
    frames = list(_of_workload(stacks[-1]))
    callers = [
        caller
        for called, caller in pairwise(frames)
        if called.starts_profiler
        and not caller.starts_profiler
        and not caller.file.endswith(_BELOW)
    ]
    if not callers:
        file, line, function = innermost.groups()
        return (
            f"a crash in native code, called in {Path(file).name}, line {line}, in {function} (the"
            " stack in harness.log)"
        )
    file, line, function = callers[0]
    return (
        "the workload's step runs a profiler of its own while the harness's records"
        f" ({Path(file).name}, line {line}, in {function}, in the stack of harness.log), and torch"
        " crashes there: take that profiler out of the step"
    )


def _of_workload(stack: str) -> Iterator[_Frame]:
    """Yield the frames that the loop's step has called; none if the harness itself was at work."""
    frames: list[_Frame] = []
    for match in _FRAME.finditer(stack):
        frame = _Frame(*match.groups())
        if frame.file.startswith(_OURS):
            if frame.file == _LOOP:
                yield from frames
            return
        frames.append(frame)


def _end_of(log: Path) -> str:
    if not log.exists():
        return ""
    with regular(log) as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read(_TAIL).decode(errors="replace")
