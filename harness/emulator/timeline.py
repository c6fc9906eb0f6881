"""``msprof_<time>.json``: the events of hosts and devices, in the format for torch_npu and viewers.

The layout follows a real capture of an Ascend 910B: times are text in µs, a process is one layer
of one device, a flow ``HostToDevice<n>`` leads from the launch on the host to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from harness.emulator import sampled
from harness.emulator.collectives import Collective
from harness.emulator.kernels import FREQUENCY_MHZ, NO_MODEL, Kernel, us
from harness.emulator.sampled import Layer
from harness.emulator.summaries import mark_type

Event = dict[str, Any]

NO_SUBTASK: Final = 4294967295
THREADS_OF_GROUP: Final = 2
"""The collectives of a communicator, and the transfers that each consists of."""
OVERLAP_THREADS: Final = {
    "Computing": 0,
    "Communication": 1,
    "Communication(Not Overlapped)": 2,
    "Free": 3,
}


FRAMEWORK: Final = Layer("PID Name", "CPU", 6)
CANN: Final = Layer("CANN", "CPU", 7)
HARDWARE: Final = Layer("Ascend Hardware", "NPU", 13)
FREQUENCY: Final = Layer("AI Core Freq", "NPU", 14)
COMMUNICATION: Final = Layer("Communication", "NPU", 22)
OVERLAP: Final = Layer("Overlap Analysis", "NPU", 23)


class Timeline:
    """The events of one process and its devices.

    Args:
        pid: the captured process; the ids of layers derive from it.
        level: the profiler's level; only ``Level2`` has calls of the runtime.
    """

    def __init__(self, pid: int, level: str) -> None:
        self._pid = pid
        self._level = level
        self._threads: dict[tuple[Layer, int, int], str] = {}
        self._events: list[Event] = []

    def events(self) -> list[Event]:
        """Return all events, first those that name processes and threads."""
        return [*self._emulated(), *self._names(), *self._events]

    def add_kernels(self, device: int, kernels: Sequence[Kernel]) -> None:
        """Add one device's kernels, the calls that launched them, and the flows between both."""
        for kernel in kernels:
            self._add_launch(kernel)
            self._add_kernel(kernel)
        if kernels:
            pid = self._process(FREQUENCY, device)
            self._counter(pid, "AI Core Freq", kernels[0].start_ns, {"MHz": FREQUENCY_MHZ})

    def add_collectives(self, collectives: Sequence[Collective]) -> None:
        """Add collectives, the calls that launched them, and the flows between both."""
        groups = dict.fromkeys(collective.group_id for collective in collectives)
        threads = {group: THREADS_OF_GROUP * place for place, group in enumerate(groups)}
        for collective in collectives:
            self._add_call(collective)
            self._add_collective(collective, threads[collective.group_id])

    def add_overlap(
        self, device: int, kernels: Sequence[Kernel], collectives: Sequence[Collective]
    ) -> None:
        """Add when the device computed and communicated, both at once, or neither."""
        for name, start_ns, end_ns in overlap(kernels, collectives):
            thread = OVERLAP_THREADS[name]
            pid = self._process(OVERLAP, device, thread, name)
            self._span((pid, thread), name, start_ns, end_ns, {})

    def add_marks(self, marks: Iterable[dict[str, Any]]) -> None:
        """Add the program's own marks and ranges."""
        for mark in marks:
            pid = self._process(FRAMEWORK, 0, mark["thread"])
            start_ns, end_ns = mark["start_ns"], mark["end_ns"]
            args = {"event_type": mark_type(mark), "domain": mark["domain"]}
            where = pid, mark["thread"]
            self._span(where, mark["message"], start_ns, end_ns, args)

    def add_sampled(self, events: Iterable[sampled.Event]) -> None:
        """Add the samples of devices and of the host."""
        for event in events:
            pid = self._process(event.layer, event.device, event.thread)
            if event.end_ns:
                where = pid, event.thread
                self._span(where, event.name, event.time_ns, event.end_ns, event.values)
            else:
                self._counter(pid, event.name, event.time_ns, event.values)

    def _add_launch(self, kernel: Kernel) -> None:
        pid = self._process(CANN, 0, kernel.thread)
        calls = [("Node", "launch", kernel.launch_ns, kernel.host_end_ns)]
        if self._level != "Level0":
            calls.insert(0, ("AscendCL", kernel.api, kernel.host_start_ns, kernel.host_end_ns))
        if self._level == "Level2":
            calls.append(("Runtime", "KernelLaunch", kernel.launch_ns, kernel.host_end_ns))
        for layer, name, start_ns, end_ns in calls:
            args = {
                "Thread Id": kernel.thread,
                "Mode": "ACL_OP" if layer == "AscendCL" else name,
                "level": {"AscendCL": "acl"}.get(layer, layer.lower()),
                "id": name,
                "item_id": kernel.name if layer == "Node" else "0",
                "connection_id": kernel.connection,
            }
            self._span((pid, kernel.thread), f"{layer}@{name}", start_ns, end_ns, args)
        self._flow("s", pid, kernel.thread, kernel.launch_ns, kernel.connection)

    def _add_kernel(self, kernel: Kernel) -> None:
        pid = self._process(HARDWARE, kernel.device, kernel.stream, f"Stream {kernel.stream}")
        vector = kernel.core == "AI_VECTOR_CORE"
        mixed = kernel.core.startswith("MIX")
        args = {
            "Model Id": NO_MODEL,
            "Task Type": "AI_CORE" if vector else kernel.core,
            "Physic Stream Id": kernel.stream,
            "Task Id": kernel.task,
            "Batch Id": 0,
            "Subtask Id": 0 if mixed else NO_SUBTASK,
            "connection_id": kernel.connection,
        }
        where = pid, kernel.stream
        self._span(where, kernel.name, kernel.start_ns, kernel.end_ns, args)
        self._flow("f", pid, kernel.stream, kernel.start_ns, kernel.connection)

    def _add_call(self, collective: Collective) -> None:
        pid = self._process(CANN, 0, collective.thread)
        calls = [("Node", "launch"), ("Communication", collective.type)]
        if self._level != "Level0":
            calls.insert(0, ("AscendCL", collective.api))
        for layer, name in calls:
            args = {
                "Thread Id": collective.thread,
                "Mode": name,
                "level": {"AscendCL": "acl"}.get(layer, layer.lower()),
                "id": name,
                "item_id": collective.type if layer == "Node" else "0",
                "connection_id": collective.connection,
            }
            where = pid, collective.thread
            times = collective.host_start_ns, collective.host_end_ns
            self._span(where, f"{layer}@{name}", *times, args)
        self._flow("s", pid, collective.thread, collective.launch_ns, collective.connection)

    def _add_collective(self, collective: Collective, thread: int) -> None:
        """Add a collective, and its transfers: the last rank is waited for before they begin."""
        device, plane = collective.device, thread + 1
        title = f"Group {collective.group_id} Communication"
        pid = self._process(COMMUNICATION, device, thread, title)
        self._process(COMMUNICATION, device, plane, "Plane 0")
        args = {
            "rank_size": collective.ranks,
            "connection_id": collective.connection,
            "model id": NO_MODEL,
            "data_type": collective.data_type,
            "alg_type": "emulated",
            "count": collective.count,
            "relay": "no",
            "retry": "no",
        }
        start_ns, end_ns = collective.start_ns, collective.end_ns
        self._span((pid, thread), collective.name, start_ns, end_ns, args)
        self._flow("f", pid, thread, start_ns, collective.connection)
        moving_ns = start_ns + collective.wait_ns
        for name, begin_ns, until_ns, size in (
            ("Notify_Wait", start_ns, moving_ns, 0),
            ("Memcpy", moving_ns, end_ns, collective.moved),
        ):
            where = {"task type": name, "stream id": collective.stream, "size(Byte)": size}
            self._span((pid, plane), name, begin_ns, until_ns, where)

    def _process(self, layer: Layer, device: int, thread: int = 0, name: str = "") -> int:
        self._threads.setdefault((layer, device, thread), name or f"Thread {thread}")
        return self._id(layer, device)

    def _id(self, layer: Layer, device: int) -> int:
        """Return the id of a layer as torch_npu's ``get_pid_format`` and msprof make it."""
        return self._pid << 10 | layer.order << 5 | device

    def _span(
        self, where: tuple[int, int], name: str, start_ns: int, end_ns: int, args: Event
    ) -> None:
        pid, thread = where
        event = {"name": name, "pid": pid, "tid": thread, "ts": us(start_ns), "ph": "X"}
        event["dur"] = (end_ns - start_ns) / 1000
        self._events.append(event | {"args": args} if args else event)

    def _counter(self, pid: int, name: str, time_ns: int, args: Event) -> None:
        event = {"name": name, "pid": pid, "tid": 0, "ts": us(time_ns), "ph": "C", "args": args}
        self._events.append(event)

    def _flow(self, phase: str, pid: int, thread: int, time_ns: int, connection: int) -> None:
        event = {
            "name": f"HostToDevice{connection}",
            "ph": phase,
            "cat": "HostToDevice",
            "id": str(connection),
            "pid": pid,
            "tid": thread,
            "ts": us(time_ns),
        }
        self._events.append(event if phase == "s" else event | {"bp": "e"})

    def _emulated(self) -> Iterator[Event]:
        """Label the timeline as emulated, by an event that CANN does not have and readers skip."""
        yield _named("emulated", self._id(CANN, 0), 0, {"emulated": True, "by": "harness"})

    def _names(self) -> Iterator[Event]:
        for layer, device in dict.fromkeys((layer, device) for layer, device, _ in self._threads):
            pid = self._id(layer, device)
            label = f"{layer.label} {device}" if layer.label == "NPU" else layer.label
            yield _named("process_name", pid, 0, {"name": layer.name})
            yield _named("process_labels", pid, 0, {"labels": label})
            yield _named("process_sort_index", pid, 0, {"sort_index": layer.order})
        for (layer, device, thread), name in self._threads.items():
            pid = self._id(layer, device)
            yield _named("thread_name", pid, thread, {"name": name})
            yield _named("thread_sort_index", pid, thread, {"sort_index": thread})


def _named(name: str, pid: int, thread: int, args: Event) -> Event:
    return {"name": name, "pid": pid, "tid": thread, "args": args, "ph": "M"}


Interval = tuple[int, int]


def overlap(
    kernels: Iterable[Kernel], collectives: Iterable[Collective]
) -> list[tuple[str, int, int]]:
    """Return when a device computed, communicated, or did neither in between."""
    computing = _union((kernel.start_ns, kernel.end_ns) for kernel in kernels)
    moving = _union((collective.start_ns, collective.end_ns) for collective in collectives)
    busy = _union([*computing, *moving])
    intervals = {
        "Computing": computing,
        "Communication": moving,
        "Communication(Not Overlapped)": _without(moving, computing),
        "Free": [(end_ns, start_ns) for (_, end_ns), (start_ns, _) in pairwise(busy)],
    }
    return sorted(
        ((name, *each) for name, found in intervals.items() for each in found),
        key=lambda interval: interval[1],
    )


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    """Join intervals that touch."""
    joined: list[Interval] = []
    for start_ns, end_ns in sorted(intervals):
        if joined and start_ns <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end_ns)
        else:
            joined.append((start_ns, end_ns))
    return joined


def _without(intervals: Iterable[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Return the parts of intervals that are in none of the others, which are apart and sorted."""
    parts: list[Interval] = []
    for start_ns, end_ns in intervals:
        at_ns = start_ns
        for from_ns, to_ns in others:
            if from_ns < end_ns and to_ns > at_ns:
                if from_ns > at_ns:
                    parts.append((at_ns, from_ns))
                at_ns = to_ns
        if at_ns < end_ns:
            parts.append((at_ns, end_ns))
    return parts
