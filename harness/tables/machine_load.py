"""Who else used the cores while steps were timed: the figures, and whether they matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

ALL_STEPS: Final = "steps"
"""Stands for the time from the first step of the warm-up to the last step of all."""
LEAST_SHARE: Final = 0.05
"""The share of their time that threads wait for a core above which times are not trusted."""
LEAST_CORES: Final = 0.2
"""Cores that others use, above which they are named."""
LEAST_NS: Final = 200_000_000
"""Below it, ticks of the kernel (10 ms, as a rule) are too coarse to tell whose time it was."""


class PhaseLoad(Struct, frozen=True, kw_only=True):
    """The use of the cores over one phase. Null where the system does not tell."""

    phase: str
    """baseline, active or unrecorded; steps: all steps, warm-up included."""
    duration_ns: int
    """How long it was looked at."""
    cores: int
    """On which the process may run."""
    core_limit: float | None = None
    """How many cores the process group may use at once (cgroup); null: no limit, or not known."""
    threads: int | None = None
    """Threads of torch within an operator."""
    own_cores: float | None = None
    """Mean number of cores under the run: its processes, those above it that belong to it."""
    other_cores: float | None = None
    """Mean number of these cores under everything else."""
    stolen_cores: float | None = None
    """Mean number of these cores that the hypervisor had given to other machines."""
    running: float | None = None
    """Mean number of threads of the process that ran."""
    waiting: float | None = None
    """Mean number of threads of the process that were ready to run and had no core."""
    throttled_ns: int | None = None
    """How long the limit of the process group stopped it."""
    load_average: float | None = None
    """Of the last minute, at the end."""
    runnable_threads: int | None = None
    """Of the whole machine: the most that ran or were ready, at the beginning or the end."""

    @property
    def waiting_share(self) -> float | None:
        """The share of the time in which the process's threads could run that they waited."""
        if self.running is None or self.waiting is None or not self.running + self.waiting:
            return None
        return self.waiting / (self.running + self.waiting)

    @property
    def disturbance(self) -> float:
        """The share of the time that was lost to waiting, to the hypervisor or to a limit."""
        stolen = (self.stolen_cores or 0.0) / self.cores
        throttled = (self.throttled_ns or 0) / self.duration_ns
        return max(self._waits, stolen if self.is_long else 0.0, throttled)

    @property
    def is_disturbed(self) -> bool:
        """Whether times that were measured meanwhile are not to be trusted."""
        return self.disturbance >= LEAST_SHARE

    @property
    def is_long(self) -> bool:
        """Whether it was looked at for long enough to tell whose time it was."""
        return self.duration_ns >= LEAST_NS

    @property
    def _waits(self) -> float:
        """The share of waiting; where it is not known, that of the cores that others took away."""
        share = self.waiting_share
        if share is not None:
            return share
        if self.other_cores is None or self.threads is None or not self.is_long:
            return 0.0
        wanted = min(self.threads, self.cores)
        taken = min(self.other_cores, wanted + self.other_cores - self.cores)
        return max(0.0, taken) / wanted if taken >= LEAST_CORES else 0.0

    def reasons(self, whole: PhaseLoad | None) -> Iterator[str]:
        """Yield what took the cores, as far as it was seen; `whole` is that of all steps."""
        seen = next((load for load in (self, whole) if load and load.is_long), None)
        if seen is not None and (seen.other_cores or 0.0) >= LEAST_CORES:
            yield f"other programs used {seen.other_cores:.1f} of {seen.cores} cores"
        if seen is not None and (seen.stolen_cores or 0.0) / seen.cores >= LEAST_SHARE:
            yield f"the hypervisor took {seen.stolen_cores:.1f} of {seen.cores} cores away"
        throttled = (self.throttled_ns or 0) / self.duration_ns
        if throttled >= LEAST_SHARE:
            limit = "" if self.core_limit is None else f" of {self.core_limit:g} cores"
            yield f"the cgroup's CPU limit{limit} stopped the run {throttled:.0%} of the time"
        usable = min(self.cores, self.core_limit or self.cores)
        if self.threads is not None and self.threads > usable:
            yield f"torch computes with {self.threads} threads on {usable:g} cores"


def most_disturbed(loads: Sequence[PhaseLoad]) -> PhaseLoad | None:
    """Return the phase of timed steps that was disturbed most; None if none was."""
    timed = [load for load in loads if load.phase != ALL_STEPS and load.is_disturbed]
    return max(timed, key=lambda load: load.disturbance, default=None)


def busy_machine(loads: Sequence[PhaseLoad], words: Mapping[str, str]) -> str:
    """Say in one sentence that the machine was busy while steps were timed; "" if it was not.

    `words` has a word for the steps of each phase.
    """
    worst = most_disturbed(loads)
    if worst is None:
        return ""
    whole = next((load for load in loads if load.phase == ALL_STEPS), None)
    reasons = list(worst.reasons(whole))
    share = worst.waiting_share
    if share is not None and share >= LEAST_SHARE:
        reasons.insert(0, f"the run's threads waited {share:.0%} of their time for a core")
        if len(reasons) == 1:
            reasons.append("what had the cores is not known")
    steps = words.get(worst.phase, worst.phase)
    return (
        f"busy machine while the {steps} steps were timed: {'; '.join(reasons)}. Do not trust"
        " these times: run again when the machine is idle"
    )
