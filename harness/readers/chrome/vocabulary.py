"""The kinds of events in torch's chrome traces, of torch 1.8 to 2.13.

The kinds are Kineto's activity types (libkineto/include/ActivityType.h); until torch 1.10 they had
other words (libkineto/src/output_json.cpp of those years).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OPERATORS: Final = ("cpu_op", "user_annotation")
KERNELS: Final = frozenset(
    {"kernel", "gpu_memcpy", "gpu_memset", "concurrent_kernel", "mtia_ccp_events"}
)
"""What runs on a device: each event is a row of kernels."""
DEVICE_OR_HOST: Final = "hpu_op"
"""A kernel if it names its device or stream."""
FRAMES: Final = "python_function"
FLOWS: Final = ("ac2g", "async_cpu_to_gpu", "async")
ALLOCATIONS: Final = "cpu_instant_event"
OLD_OPERATORS: Final = "Operator"
WORDS: Final[Mapping[str, str]] = {
    OLD_OPERATORS: "cpu_op",
    "Kernel": "kernel",
    "Memcpy": "gpu_memcpy",
    "Memset": "gpu_memset",
    "Runtime": "cuda_runtime",
    "Driver": "cuda_driver",
    "Overhead": "overhead",
}
"""The words of torch 1.8 to 1.10, and those since."""
_LAUNCHES: Final = ("_runtime", "_driver")
_WITHOUT_ROWS: Final = frozenset(
    {
        *(FRAMES, "overhead", "Trace", "trace", "Net", "gpu_user_annotation"),
        *("external_correlation", "cuda_sync", "cuda_event", "cuda_profiler_range"),
        *("xpu_sync", "xpu_scope_profiler", "mtia_counters", "mtia_insight", "collective_comm"),
    }
)
"""Known kinds that no table has a place for."""


def launches(kind: str) -> bool:
    """Tell whether events of a kind are calls of a device's runtime or driver."""
    return kind.endswith(_LAUNCHES)


def has_rows(kind: str) -> bool:
    """Tell whether ranges of a kind are rows of operators or kernels."""
    return kind in OPERATORS or kind in KERNELS


def understood(kind: str) -> bool:
    """Tell whether a kind of ranges is one of torch's."""
    return has_rows(kind) or kind in _WITHOUT_ROWS or launches(kind)
