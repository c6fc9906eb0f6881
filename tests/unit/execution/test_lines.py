"""Lines of the user's own code: which runs when, by Python's own tracing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from harness.execution import lines
from harness.execution.lines import LineTrace, is_own

SOURCE = """\
import json

def inner(value):
    doubled = value * 2
    return doubled

def outer():
    first = inner(1)
    text = json.dumps({"a": 1})
    return first

def numbers():
    yield 1
    yield 2

def consumer():
    total = 0
    for number in numbers():
        total += number
    return total

def fails():
    try:
        inner(None)
    except TypeError:
        return "caught"

def stops(trace):
    trace.stop()
    return 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = tmp_path / "own_code.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = ModuleType("own_code")
    exec(compile(SOURCE, str(path), "exec"), made.__dict__)  # noqa: S102 - as a user's file
    return made


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Iterator[LineTrace]:
    """Trace with a clock that is one nanosecond later at each call."""
    before = sys.gettrace()
    sys.settrace(None)  # As under coverage, which has one.
    ticks = count(1)
    # Frames of this test are the user's own, too; only own_code.py is to count.
    monkeypatch.setattr(lines, "is_own", lambda file: file.endswith("own_code.py"))
    yield LineTrace(lambda: next(ticks))
    sys.settrace(before)


def traced(trace: LineTrace, call: Callable[[], object]) -> list[tuple[int, int, int]]:
    """Return line, start and duration of each segment."""
    trace.start()
    try:
        call()
    finally:
        trace.stop()
    return [(part.line, part.start_ns, part.duration_ns) for part in trace.segments()]


def test_each_moment_belongs_to_the_innermost_line(module: ModuleType, trace: LineTrace) -> None:
    # Times: 1 start; outer is called (2), lines 8 (3); inner is called (4), lines 4 (5) and 5 (6),
    # returns (7); outer's lines 9 (8) and 10 (9), returns (10).
    assert traced(trace, module.outer) == [
        (8, 3, 2),
        (4, 5, 1),
        (5, 6, 1),
        (8, 7, 1),
        (9, 8, 1),
        (10, 9, 1),
    ]


def test_a_generator_goes_on_where_it_was(module: ModuleType, trace: LineTrace) -> None:
    found = [line for line, _, _ in traced(trace, module.consumer)]
    assert found == [17, 18, 13, 18, 19, 18, 14, 18, 19, 18, 20]


def test_an_exception_ends_the_lines_of_what_raised(module: ModuleType, trace: LineTrace) -> None:
    found = [line for line, _, _ in traced(trace, module.fails)]
    assert found == [23, 24, 4, 24, 25, 26]


def test_times_are_without_gaps_and_in_order(module: ModuleType, trace: LineTrace) -> None:
    found = traced(trace, module.consumer)
    ends = [start + duration for _, start, duration in found]
    assert ends[:-1] == [start for _, start, _ in found[1:]]


def test_frames_that_were_there_before_count_too(module: ModuleType, trace: LineTrace) -> None:
    code = compile(
        "def f(trace):\n    trace.start()\n    x = 1\n    trace.stop()\n",
        str(Path(str(module.outer.__code__.co_filename))),
        "exec",
    )
    scope: dict[str, Callable[[LineTrace], None]] = {}
    exec(code, scope)  # noqa: S102
    scope["f"](trace)
    assert [part.line for part in trace.segments()] == [2, 3, 4]


def test_frames_are_left_as_they_were(module: ModuleType, trace: LineTrace) -> None:
    source = (
        "import sys\ndef f(trace):\n    trace.start()\n    trace.stop()\n"
        "    return sys._getframe().f_trace\n"
    )
    scope: dict[str, Callable[[LineTrace], object]] = {}
    exec(compile(source, module.outer.__code__.co_filename, "exec"), scope)  # noqa: S102
    assert scope["f"](trace) is None


def test_the_table_names_file_function_and_text(module: ModuleType, trace: LineTrace) -> None:
    traced(trace, module.outer)
    table = lines.table(trace, rank=3)
    assert table.select("rank", "file", "line", "function", "text").row(1) == (
        3,
        "own_code.py",
        4,
        "inner",
        "doubled = value * 2",
    )


def test_after_the_end_nothing_is_traced(module: ModuleType, trace: LineTrace) -> None:
    traced(trace, module.outer)
    assert sys.gettrace() is None
    before = len(list(trace.segments()))
    module.outer()
    assert len(list(trace.segments())) == before


def test_another_tracer_is_left_alone_and_named(module: ModuleType, trace: LineTrace) -> None:
    def other(*_: object) -> None:
        return None

    sys.settrace(other)
    assert traced(trace, module.outer) == []
    assert sys.gettrace() is other
    sys.settrace(None)
    (note,) = trace.notes
    assert note == (
        "lines of code were not all recorded: another tracer was active, such as a debugger or"
        " coverage.py"
    )


def test_a_tracer_that_takes_over_is_named(module: ModuleType, trace: LineTrace) -> None:
    trace.start()
    module.outer()
    sys.settrace(None)
    trace.stop()
    assert "took over" in trace.notes[0]


def test_another_thread_may_end_it(module: ModuleType, trace: LineTrace) -> None:
    started, ended = threading.Event(), threading.Event()
    after: list[object] = []

    def steps() -> None:
        trace.start()
        module.inner(1)
        started.set()
        ended.wait()
        module.inner(1)
        after.append(sys.gettrace())

    thread = threading.Thread(target=steps)
    thread.start()
    started.wait()
    trace.stop()
    ended.set()
    thread.join()
    assert after == [None]
    assert [part.line for part in trace.segments()] == [4, 5]
    assert trace.notes == ()


def test_it_ends_where_too_many_lines_were_recorded(
    module: ModuleType, trace: LineTrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST", 4)
    assert [line for line, _, _ in traced(trace, module.outer)] == [8, 4]
    trace.start()
    assert "changed more than 4 times" in trace.notes[0]


def test_which_files_are_the_users_own(tmp_path: Path) -> None:
    import torch

    own = [tmp_path / "train.py", Path(lines.__file__).parents[1] / "workloads" / "mlp.py"]
    others = [
        Path(threading.__file__),
        Path(torch.__file__),
        Path(pytest.__file__),
        Path(lines.__file__),
        Path("/tmp/torchinductor_me/ab/cab.py"),  # noqa: S108 - a name
    ]
    assert all(is_own(str(path)) for path in own)
    assert not any(is_own(str(path)) for path in others)
    assert is_own("<ipython-input-1-abc>")
    assert not is_own("<frozen importlib._bootstrap>")
