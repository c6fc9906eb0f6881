"""Counters that a machine does not have are told before a run that would find none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.doctor.diagnoses import cuda, host
from harness.doctor.machine import Machine
from harness.doctor.preflight import check_machine, check_sweep
from harness.errors import MachineError
from tests.support.composing import composed
from tests.support.machines import Fake, answers

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


def test_what_stops_every_job_of_a_sweep_is_said_once(virtual: Machine) -> None:
    assert virtual.count("cycles")
    setting = f"{EXPERIMENTAL}.performance_events"
    cycles, pagefaults = composed(f"{setting}=[cycles]"), composed(f"{setting}=[pagefaults]")
    with pytest.raises(MachineError) as stopped:
        check_sweep([cycles] * 16)
    assert str(stopped.value).count("does not count cycles") == 1
    with pytest.raises(MachineError) as stopped:
        check_sweep([cycles, composed(f"{setting}=[instructions]")])
    assert str(stopped.value).count("does not count cycles (ENOENT), instructions (ENOENT)") == 1
    assert len(str(stopped.value).splitlines()) == 1
    check_sweep([cycles, pagefaults])
    check_sweep([])


def test_gpus_that_torch_does_not_find_stop_a_sweep() -> None:
    assert cuda.lacks(Fake()) == ""
    blind = answers(cuda="13.0", gpus=[], warnings="", cupti=True)
    says = cuda.lacks(replace(Fake(), commands={cuda.CUDA_CODE: blind}))
    assert says.startswith("device=cuda cannot run on this machine: torch finds none.")


def test_gpu_counters_that_administrators_alone_may_read_are_told() -> None:
    assert cuda.uncounted(Fake()) == ""
    assert cuda.uncounted(replace(Fake(), files={})) == "", "nobody knows"
    says = cuda.uncounted(replace(Fake(), files=READ_BY_ADMINISTRATORS))
    assert says.startswith(f"{EXPERIMENTAL}.profiler_metrics: only administrators may read them")
    assert "NVreg_RestrictProfilingToAdminUsers=0" in says
