"""Who used the cores: exact figures from samples that are made up."""

from __future__ import annotations

from harness.execution.load_watch import LoadWatch, Sample
from harness.tables.machine_load import PhaseLoad, busy_machine, most_disturbed

WORDS = {"baseline": "unprofiled"}


def watched(*samples: Sample) -> tuple[PhaseLoad, ...]:
    left = iter(samples)
    watch = LoadWatch(lambda: next(left), cores=2, limit=None)
    watch.begin("baseline")
    watch.end()
    return watch.loads(threads=2)


def sample(
    seconds: float, busy: int = 0, own: int = 0, ran: float = 0, waited: float = 0
) -> Sample:
    return Sample(
        at_ns=int(seconds * 1e9),
        busy_ticks=busy,
        stolen_ticks=0,
        own_ticks=own,
        ran_ns=int(ran * 1e9),
        waited_ns=int(waited * 1e9),
    )


def test_a_busy_machine_is_told_with_its_figures() -> None:
    loads = watched(sample(0), sample(1, busy=200, own=80, ran=0.75, waited=0.25))
    assert [load.phase for load in loads] == ["baseline", "steps"]
    assert (loads[0].own_cores, loads[0].other_cores) == (0.8, 1.2)
    assert busy_machine(loads, WORDS) == (
        "busy machine while the unprofiled steps were timed: the run's threads waited 25% of their"
        " time for a core; other programs used 1.2 of 2 cores. Do not trust these times: run again"
        " when the machine is idle"
    )


def test_an_idle_machine_is_not() -> None:
    assert most_disturbed(watched(sample(0), sample(1, busy=190, own=180, ran=1.9))) is None


def test_nothing_is_said_of_what_was_not_seen() -> None:
    loads = watched(Sample(at_ns=0), Sample(at_ns=10**9))
    assert (loads[0].other_cores, loads[0].waiting) == (None, None)
    assert busy_machine(loads, WORDS) == ""


def test_a_short_phase_waits_but_names_nobody() -> None:
    """Ticks of 10 ms do not tell whose 5 ms it was."""
    loads = watched(sample(0), sample(0.05, busy=10, own=1, ran=0.04, waited=0.04))
    assert "waited 50%" in busy_machine(loads, WORDS)
    assert "what had the cores is not known" in busy_machine(loads, WORDS)
