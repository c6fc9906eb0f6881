"""How a child process died, in words; and that its end is noticed at once."""

from __future__ import annotations

import selectors
import subprocess
import sys

import pytest

from harness.execution.process import _death
from harness.execution.waiting import take_what_comes, woken_by_end


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-11, "SIGSEGV (signal 11)"),
        (-9, "out of memory"),
        (-6, "SIGABRT"),
        (3, "exited with code 3 before it could report; its last output: oh"),
    ],
)
def test_death_is_named(code: int, words: str) -> None:
    assert words in _death(code, "oh")


def test_a_signal_without_a_name_is_a_death_too() -> None:
    assert _death(-40, "") == "the child process died of signal 40"


def test_the_end_of_a_process_ends_the_wait_for_what_it_prints() -> None:
    silent = "import os, time; os.close(1); time.sleep(0.2)"
    with (
        subprocess.Popen([sys.executable, "-c", silent], stdout=subprocess.PIPE) as process,
        selectors.DefaultSelector() as ready,
    ):
        assert process.stdout is not None
        ready.register(process.stdout, selectors.EVENT_READ, lambda _data: None)
        with woken_by_end(process.pid, ready):
            while process.poll() is None:
                # Once its output is closed, nothing but its end can end the wait.
                assert take_what_comes(ready, timeout_s=10)
        assert not ready.get_map()
