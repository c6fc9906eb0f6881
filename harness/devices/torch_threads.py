"""One step recorded with the operators of all its threads: what torch's profiler leaves out.

torch records the thread that starts the profiler, and what autograd does for it. A thread of the
program's own is recorded only with ``profile_all_threads``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from harness.devices.base import LoweredProfiler
from harness.tables.thread_counts import ThreadCounts

_MARK = "harness.threads"
_OPERATOR = "cpu_op"


class _Operator(NamedTuple):
    start_ns: int
    end_ns: int
    name: str


TakeCounts = Callable[[ThreadCounts], None]


def counting(
    lowered: LoweredProfiler,
    activities: Sequence[str],
    take: TakeCounts,
    upkeep: AbstractSet[str] = frozenset(),
) -> AbstractContextManager[None] | None:
    """Return a context that counts the operators of one step by thread; None if it need not.

    Args:
        lowered: What the run's profiler gets.
        activities: The names of all the run's activities in torch. Kineto is set up once in a
            process, by its first profiler: one without CUDA would leave CUPTI out for all.
        take: Gets the counts. It is not called where another profiler ended this one.
        upkeep: The operators that threads of the device's own run at times of their own.
    """
    if "host" not in lowered.activities or lowered.experimental.get("profile_all_threads"):
        return None
    return _counting(activities, take, upkeep)


@contextmanager
def _counting(
    activities: Sequence[str], take: TakeCounts, upkeep: AbstractSet[str]
) -> Iterator[None]:
    import torch
    from torch._C._profiler import _ExperimentalConfig
    from torch.profiler import ProfilerActivity, record_function

    from harness.devices.torch_cycles import CycleProfiler

    if torch._C._autograd._profiler_enabled():  # noqa: SLF001 - as the recorder asks
        yield
        return
    profiler = CycleProfiler(
        activities=[getattr(ProfilerActivity, name) for name in activities],
        experimental_config=_ExperimentalConfig(profile_all_threads=True),
    )
    with profiler, record_function(_MARK):
        yield
    results = profiler.profiler and profiler.profiler.kineto_results
    by_thread: dict[int, list[_Operator]] = defaultdict(list)
    step_thread = None
    for event in results.events() if results else ():
        if event.activity_type() == _OPERATOR:
            end_ns = event.start_ns() + event.duration_ns()
            operator = _Operator(event.start_ns(), end_ns, event.name())
            by_thread[event.start_thread_id()].append(operator)
        elif event.name() == _MARK:
            step_thread = event.start_thread_id()
    if step_thread is not None:
        take(counts_of(by_thread.pop(step_thread, []), list(by_thread.values()), upkeep))


def counts_of(
    step: list[_Operator],
    others: Sequence[list[_Operator]],
    upkeep: AbstractSet[str] = frozenset(),
) -> ThreadCounts:
    """Count the operators of a step by name, without those of torch's own workers.

    A kernel that works in several threads may call operators in them, as flash attention on a CPU
    calls aten::empty. All of these lie within operators of the step's thread, which waits for them.
    A thread that runs nothing but `upkeep` does no work of the step's.
    """
    covered = _joined(step)
    starts = [start_ns for start_ns, _ in covered]

    def is_torchs_own(operator: _Operator) -> bool:
        if operator.name in upkeep:
            return True
        place = bisect_right(starts, operator.start_ns) - 1
        return place >= 0 and operator.end_ns <= covered[place][1]

    return ThreadCounts(
        of_step=_by_name(step),
        of_others=tuple(_by_name(ran) for ran in others if not all(map(is_torchs_own, ran))),
    )


def _by_name(operators: Sequence[_Operator]) -> dict[str, int]:
    return dict(Counter(operator.name for operator in operators))


def _joined(operators: Sequence[_Operator]) -> list[tuple[int, int]]:
    """Return the time within operators, as ranges that do not overlap."""
    ranges: list[tuple[int, int]] = []
    for start_ns, end_ns, _ in sorted(operators):
        if ranges and start_ns <= ranges[-1][1]:
            ranges[-1] = ranges[-1][0], max(ranges[-1][1], end_ns)
        else:
            ranges.append((start_ns, end_ns))
    return ranges
