"""What only torch's event tree knows of allocations."""

from __future__ import annotations

from collections import defaultdict, deque

from harness.devices.kineto import Result

Allocation = tuple[str, str, int, int, int]  # device to total_reserved, as in `memory`


def allocations(result: Result) -> dict[int, deque[Allocation]]:
    """By time in unix nanoseconds, what only torch's event tree knows."""
    from torch._C._profiler import _EventType

    by_time: dict[int, deque[Allocation]] = defaultdict(deque)
    nodes = list(result.experimental_event_tree())
    while nodes:
        node = nodes.pop()
        nodes.extend(reversed(node.children))
        if node.tag == _EventType.Allocation:
            of = node.extra_fields
            kind = "free" if of.alloc_size < 0 else "alloc"
            by_time[node.start_time_ns].append(
                (str(of.device), kind, of.alloc_size, of.total_allocated, of.total_reserved)
            )
    return by_time
