"""``msprof_<time>.json``: the events of hosts and devices, in the format for torch_npu and viewers.

The layout follows a real capture of an Ascend 910B: times are text in µs, a process is one layer
of one device, a flow ``HostToDevice<n>`` leads from the launch on the host to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from harness.emulator import sampled
from harness.emulator.kernels import FREQUENCY_MHZ, NO_MODEL, Kernel, us
from harness.emulator.sampled import Layer
from harness.emulator.summaries import mark_type

Event = dict[str, Any]

NO_SUBTASK: Final = 4294967295
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
        for name, start_ns, end_ns in overlap(kernels):
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


def overlap(kernels: Sequence[Kernel]) -> list[tuple[str, int, int]]:
    """Return when a device computed, and when it was free in between."""
    busy: list[tuple[int, int]] = []
    for kernel in kernels:
        if busy and kernel.start_ns <= busy[-1][1]:
            busy[-1] = busy[-1][0], max(busy[-1][1], kernel.end_ns)
        else:
            busy.append((kernel.start_ns, kernel.end_ns))
    computing = [("Computing", start_ns, end_ns) for start_ns, end_ns in busy]
    free = [("Free", end_ns, start_ns) for (_, end_ns), (start_ns, _) in pairwise(busy)]
    return sorted(computing + free, key=lambda interval: interval[1])
