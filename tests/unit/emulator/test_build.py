"""The compiler of the emulator ends with the harness that is interrupted."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.emulator.build import _ran
from harness.stopping import Interrupted, interrupt


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


def test_an_interrupt_kills_what_the_compiler_has_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/inner; wait"

    def send() -> None:
        while not (tmp_path / "inner").exists():
            time.sleep(0.02)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    threading.Thread(target=send).start()
    with pytest.raises(Interrupted):
        _ran(["/bin/sh", "-c", script])
    inner = Path("/proc", (tmp_path / "inner").read_text().strip(), "stat")
    until = time.monotonic() + 5
    while inner.exists() and " Z " not in inner.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    assert not inner.exists() or " Z " in inner.read_text()


def test_what_it_prints_and_how_it_ends_is_returned() -> None:
    done = _ran(["/bin/sh", "-c", "echo out; echo wrong >&2; exit 3"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "wrong\n")
