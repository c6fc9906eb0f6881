"""Events made by hand: what no machine without a GPU can record, and what seldom happens."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from torch._C._autograd import DeviceType

from harness.devices.torch_events import Converted, tables_of


class Fake(Struct, kw_only=True):
    """An event with `_KinetoEvent`'s methods and numbers of our own."""

    kind: str = "cpu_op"
    label: str = "aten::add"
    start: int
    end: int
    thread: int = 1
    end_thread: int | None = None
    asynchronous: bool = False
    hidden: bool = False
    on_device: bool = False
    device: int = 0
    stream: int = 7
    correlation: int = 0
    link: int = 0
    operations: int = 0
    sizes: list[list[Any]] = []
    types: list[str] = []
    frames: list[str] = []
    sequence: int = -1
    forward_thread: int = 0

    def activity_type(self) -> str:
        return self.kind

    def name(self) -> str:
        return self.label

    def start_ns(self) -> int:
        return self.start

    def end_ns(self) -> int:
        return self.end

    def start_thread_id(self) -> int:
        return self.thread

    def end_thread_id(self) -> int:
        return self.thread if self.end_thread is None else self.end_thread

    def fwd_thread_id(self) -> int:
        return self.forward_thread

    def sequence_nr(self) -> int:
        return self.sequence

    def is_async(self) -> bool:
        return self.asynchronous

    def is_hidden_event(self) -> bool:
        return self.hidden

    def device_type(self) -> DeviceType:
        return DeviceType.CUDA if self.on_device else DeviceType.CPU

    def device_index(self) -> int:
        return self.device

    def device_resource_id(self) -> int:
        return self.stream

    def correlation_id(self) -> int:
        return self.correlation

    def linked_correlation_id(self) -> int:
        return self.link

    def flops(self) -> int:
        return self.operations

    def structured_input_shapes(self) -> list[list[Any]]:
        return self.sizes

    def dtypes(self) -> list[str]:
        return self.types

    def stack(self) -> list[str]:
        return self.frames


class FakeResult(Struct):
    fakes: list[Fake]
    tree: list[Any] = []

    def events(self) -> list[Fake]:
        return self.fakes

    def experimental_event_tree(self) -> list[Any]:
        return self.tree


def convert(*fakes: Fake, **arguments: Any) -> Converted:
    return tables_of(
        FakeResult(list(fakes)), **({"rank": 0, "first_id": 0, "memory": False} | arguments)
    )


def mark(name: str, start: int, end: int, thread: int = 1) -> Fake:
    return Fake(kind="user_annotation", label=name, start=start, end=end, thread=thread)


def kernel(start: int, end: int, **given: Any) -> Fake:
    fields: dict[str, Any] = {"kind": "kernel", "label": "gemm"} | given
    return Fake(start=start, end=end, on_device=True, **fields)
