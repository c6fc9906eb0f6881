"""One step recorded with the operators of all its threads: what torch's profiler leaves out.

torch records the thread that starts the profiler, and what autograd does for it. A thread of the
program's own is recorded only with ``profile_all_threads``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from harness.devices.base import LoweredProfiler
from harness.tables.thread_counts import ThreadCounts

_MARK = "harness.threads"
_OPERATOR = "cpu_op"

TakeCounts = Callable[[ThreadCounts], None]


def counting(
    lowered: LoweredProfiler, activities: Sequence[str], take: TakeCounts
) -> AbstractContextManager[None] | None:
    """Return a context that counts the operators of one step by thread; None if it need not.

    Args:
        lowered: What the run's profiler gets.
        activities: The names of all the run's activities in torch. Kineto is set up once in a
            process, by its first profiler: one without CUDA would leave CUPTI out for all.
        take: Gets the counts. It is not called where another profiler ended this one.
    """
    if "host" not in lowered.activities or lowered.experimental.get("profile_all_threads"):
        return None
    return _counting(activities, take)


@contextmanager
def _counting(activities: Sequence[str], take: TakeCounts) -> Iterator[None]:
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
    by_thread: dict[int, Counter[str]] = defaultdict(Counter)
    step_thread = None
    for event in results.events() if results else ():
        if event.activity_type() == _OPERATOR:
            by_thread[event.start_thread_id()][event.name()] += 1
        elif event.name() == _MARK:
            step_thread = event.start_thread_id()
    if step_thread is not None:
        of_step = by_thread.pop(step_thread, Counter[str]())
        take(ThreadCounts(of_step=dict(of_step), of_others=tuple(map(dict, by_thread.values()))))
