"""Counters that a machine does not have are told before a run that would find none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.doctor.diagnoses import cuda, host
from harness.doctor.machine import Machine
from harness.doctor.preflight import check_machine
from harness.errors import MachineError
from tests.support.composing import composed
from tests.support.machines import Fake

EXPERIMENTAL = "profiler.experimental"
READ_BY_ADMINISTRATORS = {
    "/proc/driver/nvidia/params": "RmProfilingAdminOnly: 1\n",
    "/proc/self/status": "CapEff:\t00000000a80425fb\n",
}


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which the kernel's own events alone can be counted."""
    answers = {"pagefaults": ""}
    monkeypatch.setattr(Machine, "count", lambda _, event: answers.get(event, "ENOENT"))
    return Machine()


def test_events_that_the_system_refuses_are_named_with_those_that_it_counts(
    virtual: Machine,
) -> None:
    assert host.uncounted(virtual, []) == host.uncounted(virtual, ["pagefaults"]) == ""
    says = host.uncounted(virtual, ["pagefaults", "cycles"])
    assert "does not count cycles (ENOENT), and torch would drop every event" in says
    assert says.endswith(f"{EXPERIMENTAL}.performance_events=[pagefaults] counts here")


def test_a_run_that_asks_for_them_is_not_for_this_machine(virtual: Machine) -> None:
    assert virtual.count("cycles")
    setting = f"{EXPERIMENTAL}.performance_events"
    check_machine(composed(f"{setting}=[pagefaults]"), print)
    with pytest.raises(MachineError, match="does not count cycles"):
        check_machine(composed(f"{setting}=[cycles]"), print)


def test_gpu_counters_that_administrators_alone_may_read_are_told() -> None:
    assert cuda.uncounted(Fake()) == ""
    assert cuda.uncounted(replace(Fake(), files={})) == "", "nobody knows"
    says = cuda.uncounted(replace(Fake(), files=READ_BY_ADMINISTRATORS))
    assert says.startswith(f"{EXPERIMENTAL}.profiler_metrics: only administrators may read them")
    assert "NVreg_RestrictProfilingToAdminUsers=0" in says
