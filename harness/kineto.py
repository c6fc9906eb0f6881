"""What is asked of torch's profiler: its events, and the ranges that go with them."""

# ruff: noqa: D102 - the methods are torch's, and so is their meaning

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch._C._autograd import DeviceType


class Event(Protocol):
    """What is asked of an event: the part of `torch._C._autograd._KinetoEvent` in use."""

    def activity_type(self) -> str: ...
    def correlation_id(self) -> int: ...  # torch's (operators) or the driver's (all others)
    def device_index(self) -> int: ...
    def device_resource_id(self) -> int: ...  # the stream of a kernel
    def device_type(self) -> DeviceType: ...
    def dtypes(self) -> list[str]: ...  # "" for an argument without one
    def end_ns(self) -> int: ...
    def end_thread_id(self) -> int: ...
    def flops(self) -> int: ...  # 0 for none
    def is_async(self) -> bool: ...
    def is_hidden_event(self) -> bool: ...
    def linked_correlation_id(self) -> int: ...  # of the operator behind it, 0 for none
    def name(self) -> str: ...
    def shapes(self) -> list[list[int]]: ...
    def stack(self) -> list[str]: ...
    def start_ns(self) -> int: ...
    def start_thread_id(self) -> int: ...


class Result(Protocol):
    """What is asked of a profile: the part of `torch._C._autograd._ProfilerResult` in use."""

    def events(self) -> Sequence[Event]: ...
    def experimental_event_tree(self) -> Sequence[Any]: ...


class HostRange(NamedTuple):
    """When the host was in a step, or in a stage of it, as the caller measured it."""

    step: int
    start_ns: int
    """Unix nanoseconds, as in the profile."""
    end_ns: int
    stage: str | None = None
    """Null for the step itself; its stages are ranges beside it."""
