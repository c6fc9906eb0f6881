"""Who used the cores: exact figures from samples that are made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.execution.load_watch import LoadWatch, Sample, System
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


V2 = {
    "proc/self/cgroup": "0::/slice/job\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 9\nthrottled_usec 8\n",
    "sys/fs/cgroup/slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/slice/cpu.stat": "usage_usec 9\nnr_throttled 1\nthrottled_usec 250\n",
    "sys/fs/cgroup/slice/job/cpu.max": "max 100000\n",
    "sys/fs/cgroup/slice/job/cpu.stat": "usage_usec 9\nthrottled_usec 70000\n",
}
"""Version 2: the limit is that of the group above; what the others count is no limit's."""
V1 = {
    "proc/self/cgroup": "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/job/cpu.stat": "nr_periods 4\nnr_throttled 1\nthrottled_time 4000\n",
    "sys/fs/cgroup/memory/job/cpu.cfs_quota_us": "1\n",
    "sys/fs/cgroup/memory/job/cpu.cfs_period_us": "100000\n",
}
INSIDE = {
    "proc/self/cgroup": "0::/docker/123\n",
    "sys/fs/cgroup/cpu.max": "300000 100000\n",
    "sys/fs/cgroup/cpu.stat": "throttled_usec 5\n",
}
"""A container that sees its own group as the top, and its path as it is outside."""
FREE = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.stat": "usage_usec 9\n"}


@pytest.mark.parametrize(
    ("files", "limit", "throttled_ns"),
    [
        (V2, 1.5, 250_000),
        (V1, 0.5, 4_000),
        (INSIDE, 3.0, 5_000),
        (FREE, None, None),
        ({}, None, None),
    ],
)
def test_the_limit_of_a_control_group_holds_for_those_below(
    tmp_path: Path, files: dict[str, str], limit: float | None, throttled_ns: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    system = System(os.getpid(), root=tmp_path)
    assert system.core_limit == limit
    assert system.sample().throttled_ns == throttled_ns


def test_a_run_that_its_control_group_has_stopped_is_told_of() -> None:
    begun, ended = sample(0), sample(1, busy=190, own=180, ran=1.9)
    samples = iter([begun._replace(throttled_ns=100), ended._replace(throttled_ns=400_000_100)])
    watch = LoadWatch(lambda: next(samples), cores=2, limit=1.5)
    watch.begin("baseline")
    watch.end()
    loads = watch.loads(threads=2)
    assert (loads[0].core_limit, loads[0].throttled_ns) == (1.5, 400_000_000)
    assert "the cgroup's CPU limit of 1.5 cores stopped the run 40% of the time" in (
        busy_machine(loads, WORDS)
    )
