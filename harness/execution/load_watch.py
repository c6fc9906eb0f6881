"""Watch who uses the cores while steps are timed: by /proc, at the ends of each phase.

Nothing is read within a step. What the system does not tell stays unknown.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from harness.execution.protocol import RecordingPlan
from harness.tables.machine_load import ALL_STEPS, PhaseLoad

_PARENT: Final = 1
"""The places in /proc/PID/stat, after the name of the program: proc(5)."""
_TIMES: Final = slice(11, 15)
"""Of the process, in user and kernel mode, then of its children that it has waited for."""
_BUSY: Final = (0, 1, 2, 5, 6)
"""The columns of /proc/stat: user, nice, system, interrupts."""
_STOLEN: Final = 7
_CONTROLLER: Final = "cpu"
"""The name of the control groups that limit the use of cores."""
_TIMED: Final = frozenset({"baseline", "active", "unrecorded"})


class Sample(NamedTuple):
    """Sums since the machine or the process started; None where the system does not tell."""

    at_ns: int
    busy_ticks: int | None = None
    """Of the usable cores, whoever used them."""
    stolen_ticks: int | None = None
    own_ticks: int | None = None
    """Of the processes of the run."""
    ran_ns: int | None = None
    """Of the threads of this process."""
    waited_ns: int | None = None
    throttled_ns: int | None = None
    load_average: float | None = None
    runnable_threads: int | None = None


class System:
    """What the kernel tells of the cores and of their use."""

    def __init__(self, owner: int, root: Path = Path("/")) -> None:
        """Look at the system below `root`.

        Args:
            owner: The process whose descendants, and which itself, are the run.
            root: Where ``proc`` and ``sys`` are.
        """
        self.owner = owner
        self.proc = root / "proc"
        self.cgroups = root / "sys/fs/cgroup"
        # Absent on macOS.
        affinity = getattr(os, "sched_getaffinity", None)
        self.usable: frozenset[int] = frozenset(
            affinity(0) if affinity else range(os.cpu_count() or 1)
        )
        self._groups = tuple(self._limited_groups())

    def sample(self) -> Sample:
        """Look once; takes some milliseconds, more where there are thousands of processes."""
        ran, waited = self._threads()
        average, runnable = self._load_average()
        busy, stolen = self._cores()
        own = self._own_ticks()
        return Sample(
            at_ns=time.perf_counter_ns(),
            busy_ticks=busy,
            stolen_ticks=stolen,
            own_ticks=own,
            ran_ns=ran,
            waited_ns=waited,
            throttled_ns=self._throttled(),
            load_average=average,
            runnable_threads=runnable,
        )

    @property
    def core_limit(self) -> float | None:
        """How many cores the control groups of this process may use at once."""
        limits = [limit for group in self._groups if (limit := _limit(group)) is not None]
        return min(limits, default=None)

    def _cores(self) -> tuple[int | None, int | None]:
        busy = stolen = 0
        seen = False
        for line in _read(self.proc / "stat").splitlines():
            name, *columns = line.split()
            if name[3:].isdigit() and int(name[3:]) in self.usable:
                ticks = [int(column) for column in columns]
                busy += sum(ticks[column] for column in _BUSY)
                stolen += ticks[_STOLEN]
                seen = True
        return (busy, stolen) if seen else (None, None)

    def _own_ticks(self) -> int | None:
        parents: dict[int, list[int]] = defaultdict(list)
        ticks: Counter[int] = Counter()
        for process in _numbers(self.proc):
            # The name of the program may contain spaces and brackets.
            fields = _read(self.proc / str(process) / "stat").rpartition(")")[2].split()
            if fields:
                parents[int(fields[_PARENT])].append(process)
                ticks[process] = sum(map(int, fields[_TIMES]))
        if os.getpid() not in ticks:
            return None
        own, left = 0, [self.owner]
        while left:
            process = left.pop()
            own += ticks[process]
            left += parents.pop(process, [])
        return own

    def _threads(self) -> tuple[int | None, int | None]:
        tasks = self.proc / "self/task"
        lines = [_read(tasks / str(thread) / "schedstat").split() for thread in _numbers(tasks)]
        times = [(int(line[0]), int(line[1])) for line in lines if line]
        if not times:
            return None, None
        return sum(ran for ran, _ in times), sum(waited for _, waited in times)

    def _load_average(self) -> tuple[float | None, int | None]:
        words = _read(self.proc / "loadavg").split()
        if not words:
            return None, None
        return float(words[0]), int(words[3].partition("/")[0])

    def _throttled(self) -> int | None:
        times = [_throttled(group) for group in self._groups if _limit(group) is not None]
        return max((time for time in times if time is not None), default=None)

    def _limited_groups(self) -> Iterator[Path]:
        """Yield the control groups that this process is in, with those above: cgroups(7)."""
        for line in _read(self.proc / "self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and _CONTROLLER not in controllers.split(","):
                continue
            top = self.cgroups / controllers
            place = top / path.lstrip("/")
            # A container may see the path that it has outside of it.
            yield from (group for group in (place, *place.parents) if group.is_relative_to(top))


class LoadWatch:
    """Adds up the use of the cores over the phases of a run."""

    def __init__(self, sample: Callable[[], Sample], cores: int, limit: float | None) -> None:
        """Take samples by `sample`; `cores` and `limit` are as in `PhaseLoad`."""
        self._sample = sample
        self._still = PhaseLoad(phase="", duration_ns=0, cores=cores, core_limit=limit)
        self._intervals: dict[str, list[tuple[Sample, Sample]]] = defaultdict(list)
        self._begun: tuple[str, Sample] | None = None
        self._first: Sample | None = None
        self._is_blind = False

    @classmethod
    def of_run(cls, plan: RecordingPlan, *, in_child: bool) -> LoadWatch:
        """Watch for a run; `in_child`: this is a child process of the harness's."""
        system = System(_owner(plan.world_size, in_child=in_child))
        return cls(system.sample, len(system.usable), system.core_limit)

    @classmethod
    def blind(cls) -> LoadWatch:
        """Return one that looks at nothing."""
        watch = cls(lambda: Sample(at_ns=0), cores=1, limit=None)
        watch._is_blind = True
        return watch

    def begin(self, phase: str) -> None:
        """Begin a row of steps of one phase, before its first step; within the row, do nothing."""
        if self._is_blind or (self._begun is not None and self._begun[0] == phase):
            return
        if phase in _TIMED or self._first is None:
            sample = self._sample()
            self._first = self._first or sample
            self._begun = (phase, sample) if phase in _TIMED else None

    def end(self) -> None:
        """End a row of steps, after its last step."""
        if self._begun is not None:
            phase, begun = self._begun
            self._begun = None
            self._intervals[phase].append((begun, self._sample()))

    def loads(self, threads: int | None) -> tuple[PhaseLoad, ...]:
        """Return the use of the cores in each phase of timed steps that has ended, and in all."""
        if self._first is None or not self._intervals:
            return ()
        last = max((end for rows in self._intervals.values() for _, end in rows), key=_time)
        rows = {**self._intervals, ALL_STEPS: [(self._first, last)]}
        still = replace(self._still, threads=threads)
        return tuple(_load(replace(still, phase=phase), each) for phase, each in rows.items())


def _owner(world_size: int, *, in_child: bool) -> int:
    """Return the process whose descendants are the run: of several ranks, their launcher's."""
    parent = os.getppid()
    if not in_child:
        return parent if world_size > 1 else os.getpid()
    if world_size == 1:
        return parent
    fields = _read(Path(f"/proc/{parent}/stat")).rpartition(")")[2].split()
    return int(fields[_PARENT]) if fields else parent


def _time(sample: Sample) -> int:
    return sample.at_ns


def _load(still: PhaseLoad, intervals: Sequence[tuple[Sample, Sample]]) -> PhaseLoad:
    duration = sum(end.at_ns - begin.at_ns for begin, end in intervals)

    def total(name: str) -> float | None:
        grown = [
            (getattr(end, name), getattr(begin, name))
            for begin, end in intervals
            if getattr(end, name) is not None and getattr(begin, name) is not None
        ]
        # A thread or a process that has ended takes its sum along.
        return sum(max(0, end - begin) for end, begin in grown) if grown else None

    def cores(ticks: float | None) -> float | None:
        if ticks is None or not duration:
            return None
        return round(ticks / os.sysconf("SC_CLK_TCK") * 1e9 / duration, 3)

    busy, own = total("busy_ticks"), total("own_ticks")
    others = None if busy is None or own is None else max(0.0, busy - own)
    ran, waited, throttled = total("ran_ns"), total("waited_ns"), total("throttled_ns")
    ends = [sample for interval in intervals for sample in interval]
    return replace(
        still,
        duration_ns=max(1, duration),
        own_cores=cores(own),
        other_cores=cores(others),
        stolen_cores=cores(total("stolen_ticks")),
        running=None if ran is None else round(ran / max(1, duration), 3),
        waiting=None if waited is None else round(waited / max(1, duration), 3),
        throttled_ns=None if throttled is None else round(throttled),
        load_average=ends[-1].load_average,
        runnable_threads=max(
            (each.runnable_threads for each in ends if each.runnable_threads is not None),
            default=None,
        ),
    )


def _limit(group: Path) -> float | None:
    """Return how many cores a control group may use at once: cgroups(7), of both versions."""
    words = _read(group / "cpu.max").split()
    if not words:
        words = [_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:
        # "max", or -1 below: no limit; or there are no such files.
        return None
    return quota / period if quota > 0 else None


def _throttled(group: Path) -> int | None:
    """Return for how many nanoseconds a control group was stopped since it began."""
    counts = dict(line.split() for line in _read(group / "cpu.stat").splitlines())
    if "throttled_usec" in counts:
        return int(counts["throttled_usec"]) * 1000
    return int(counts["throttled_time"]) if "throttled_time" in counts else None


def _numbers(folder: Path) -> Iterator[int]:
    """Yield the entries of a folder that are numbers: of processes, of threads."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return
    yield from (int(name) for name in names if name.isdigit())


def _read(path: Path) -> str:
    """Return a small file of the kernel's; "" if it is not there: a process may have ended."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
