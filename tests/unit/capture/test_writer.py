"""A process is told from a later one with the same number."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from msgspec.structs import replace

from harness.capture.run_record import DIED, RunRecord
from harness.capture.writer import Life, life_of, this_process


def test_this_process_is_alive() -> None:
    writer = this_process()
    assert writer.pid == os.getpid()
    assert writer.started is not None
    assert life_of(writer, here=True) == "alive"


@pytest.mark.parametrize(
    ("changes", "here", "life"),
    [
        ({"started": 1}, True, "dead"),  # another process has the number now
        ({"pid": 2**22 - 1}, True, "dead"),
        ({"boot": "before"}, True, "dead"),
        ({"boot": "another machine's"}, False, "unknown"),
        ({"namespace": "pid:[another container's]"}, True, "unknown"),
        ({"started": None}, True, "alive"),
    ],
)
def test_the_number_alone_does_not_tell(changes: dict[str, object], here: bool, life: Life) -> None:
    assert life_of(replace(this_process(), **changes), here=here) == life


def test_a_process_that_has_ended_and_waits_for_its_parent_is_dead() -> None:
    code = "from harness.capture.writer import this_process as t; import msgspec, sys;"
    code += "sys.stdout.buffer.write(msgspec.json.encode(t()))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        left = child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        record = RunRecord(
            status="running", verdict="pending", exit_code=None, versions={}, host="", requested={}
        )
        assert record.life == "dead", "no number: an older harness wrote it"
        assert f'"pid":{child.pid}' in left.decode()
        writer = replace(this_process(), pid=child.pid)
        assert life_of(writer, here=True) == "dead"
    assert record.unended == DIED
