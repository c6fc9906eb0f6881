"""What a person sees of a child's lines, and of how far it is."""

from __future__ import annotations

import io
import time

import pytest

from harness.cli.progress import LONG_S, ConsoleProgress, how_far
from harness.execution.protocol import Progress
from harness.report.console import Console
from harness.waits import Wait, waiting

INFO = "[2026-11-26 12:43:26] [INFO] [9449] profiler.py: All profiling data parsed"
ERROR = "[2026-11-26 12:43:26] [ERROR] [9449] profiler.py: no data"
STARTS = "USDT:2026-11-26 12:43:26 9:9 SyncActivityProfilerHandler.cpp:52] profiler_start"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (STARTS, ""),
        (f"[rank1]: {STARTS}", ""),
        (f"|[U+0008]{INFO}", ""),
        (f"[rank3]: /[U+0008]{INFO}", ""),
        (f"|[U+0008]{ERROR}", f"│ {ERROR}\n"),
        ("[rank1]: epoch 1", "│ [rank1]: epoch 1\n"),
    ],
)
def test_chatter_is_kept_in_the_log_alone(line: str, shown: str) -> None:
    stream = io.StringIO()
    ConsoleProgress(Console(file=stream, width=200)).output(line)
    assert stream.getvalue() == shown


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def phase(name: str, done: int, total: int = 10) -> Progress:
    return Progress(phase=name, done=done, total=total)


def test_the_rest_of_a_run_is_estimated_by_the_steps_of_this_phase() -> None:
    clock = Clock()
    screen = ConsoleProgress(Console(file=io.StringIO()), clock=clock)
    screen.progress(phase("warmup", 0))
    clock.now = 30.0
    screen.progress(phase("warmup", 1))
    # The first steps are slow, and say nothing of those that follow.
    assert how_far(screen.shown, 31.0) == "1 of 10 steps, 31 s"
    clock.now = 40.0
    screen.progress(phase("baseline", 2))
    assert how_far(screen.shown, 41.0) == "2 of 10 steps, 1 s"
    clock.now = 44.0
    screen.progress(phase("baseline", 4))
    assert how_far(screen.shown, 44.0) == "4 of 10 steps, 4 s, about 12 s left"
    assert how_far(screen.shown, 50.0) == "4 of 10 steps, 10 s, about 6 s left"
    assert how_far(screen.shown, 56.0) == "4 of 10 steps, 16 s"


def test_several_captures_are_estimated_and_one_is_not() -> None:
    clock = Clock()
    screen = ConsoleProgress(Console(file=io.StringIO()), clock=clock)
    screen.progress(phase("analyse", 0, 3))
    clock.now = 9.0
    screen.progress(phase("analyse", 1, 3))
    assert how_far(screen.shown, 10.0) == "1 of 3 captures, 10 s, about 17 s left"
    one = ConsoleProgress(Console(file=io.StringIO()), clock=clock)
    one.progress(phase("analyse", 0, 1))
    assert how_far(one.shown, 14.0) == "5 s"


def test_what_takes_a_while_is_shown_with_its_size() -> None:
    clock = Clock()
    screen = ConsoleProgress(Console(file=io.StringIO()), clock=clock)
    screen.waiting(Wait(what="reading a.json", total=250_000_000, unit="bytes"))
    clock.now = 2.0
    screen.waiting(Wait(what="reading a.json", done=50_000_000, total=250_000_000, unit="bytes"))
    assert how_far(screen.shown, 2.0) == "50 of 250 MB, 2 s, about 8 s left"
    screen.waiting(Wait(what="checking what arrived"))
    assert how_far(screen.shown, 65.0) == "1:03"


def test_a_pipe_has_a_line_for_a_phase_and_for_what_takes_long() -> None:
    stream = io.StringIO()
    with ConsoleProgress(Console(file=stream, width=200)) as screen:
        for done in range(3):
            screen.progress(phase("active", done))
        with waiting("reading a.json", 9, "bytes") as more:
            for _ in range(9):
                more(1)
        with waiting("checking what arrived"):
            time.sleep(LONG_S + 1)
    assert stream.getvalue() == "recording (0 of 10 steps done)\nchecking what arrived\n"


def test_long_names_leave_room_for_the_figures() -> None:
    clock = Clock()
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True)
    with ConsoleProgress(console, clock=clock) as screen:
        screen.waiting(Wait(what=f"reading {'x' * 200}.json", total=90, unit="runs"))
        clock.now = 3725.0
        done = Wait(what=f"reading {'x' * 200}.json", done=45, total=90, unit="runs")
        screen.waiting(done)
        screen.bar.refresh()
        (row,) = console.render_lines(screen.bar.get_renderable(), pad=False)
    text = "".join(part.text for part in row)
    assert len(text) <= console.width
    assert text.endswith("45 of 90 runs, 1:02:05, about 1 h 2 min left")
    assert "reading x" in text
    assert "…" in text
