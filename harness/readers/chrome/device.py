"""Which device a trace was recorded on, by what the file says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from harness.readers.chrome.metadata import Metadata
from harness.readers.chrome.vocabulary import KERNELS

CPU: Final = "cpu"
CUDA: Final = "cuda"
ROCM: Final = "rocm"
XPU: Final = "xpu"
MTIA: Final = "mtia"
MPS: Final = "mps"
HPU: Final = "hpu"
NPU: Final = "npu"
PRIVATE: Final = "privateuse1"
UNKNOWN: Final = "unknown device"
"""Has events, of kinds that no reader knows."""
_KINDS: Final = (("mtia_", MTIA), ("xpu_", XPU), ("hpu_", HPU), ("hip_", ROCM))
"""The beginnings of kinds that one device alone has (Kineto's ActivityType.h)."""
_CALLS: Final = (
    (re.compile(r"(?:hip|hsa)(?:[A-Z_]|$)"), ROCM),
    (re.compile(r"(?:ur[A-Z]|ze[A-Z]|pi[A-Z])"), XPU),
    (re.compile(r"acl(?:rt|nn)|AscendCL@"), NPU),
    (re.compile(r"syn[A-Z]"), HPU),
    (re.compile(r"cu(?:da)?[A-Z]"), CUDA),
)
"""Names of calls of the runtimes: HIP, oneAPI, CANN, SynapseAI, CUDA."""
_HEADS: Final = (
    (re.compile(r"^(?:hip|rocm|roctracer|rocprofiler)_"), ROCM),
    (re.compile(r"^(?:xpu|sycl|level_zero|pti)_"), XPU),
    (re.compile(r"^(?:cann|npu|torch_npu|ascend)_"), NPU),
    (re.compile(r"^(?:mtia)_"), MTIA),
    (re.compile(r"^(?:hpu|habana|synapse)_"), HPU),
)
"""Members of the head, such as hip_runtime_version."""
_NAMES: Final = (
    (re.compile(r"\bAMD\b|Instinct|Radeon|\bgfx\d", re.IGNORECASE), ROCM),
    (re.compile(r"\bIntel\b|\bArc\b", re.IGNORECASE), XPU),
    (re.compile(r"Ascend", re.IGNORECASE), NPU),
    (re.compile(r"\bMTIA\b", re.IGNORECASE), MTIA),
    (re.compile(r"Gaudi|Habana|\bHPU\b", re.IGNORECASE), HPU),
    (re.compile(r"\bApple\b|\bMPS\b", re.IGNORECASE), MPS),
    (re.compile(r"NVIDIA|Tesla|GeForce|Quadro", re.IGNORECASE), CUDA),
)
"""Names of models, in deviceProperties."""
_LABEL: Final = re.compile(r"^\W*(XPU|MTIA|MPS|HPU|NPU|ROCm|HIP)\b", re.IGNORECASE)
"""The label of a process: ``XPU 0``. Kineto labels every GPU ``GPU 0``."""
_LABELS: Final = {"ROCM": ROCM, "HIP": ROCM}
DEVICE_TYPES: Final[Mapping[int, str]] = {
    0: "cpu",
    1: "cuda",
    6: "hip",
    9: "xla",
    12: "xpu",
    13: "mps",
    14: "meta",
    15: "hpu",
    19: "mtia",
    20: "npu",
}
"""torch's numbers for types of devices (c10/core/DeviceType.h); 20 is PrivateUse1."""
_ALLOCATING: Final = {"hip": ROCM}


def device_of(
    head: Mapping[str, Any], kinds: Iterable[str], metadata: Metadata, types: Iterable[object]
) -> str:
    """Return the device that a trace was recorded on; cpu if there is none but the host.

    Args:
        head: What stands beside the events.
        kinds: The kinds of all events.
        metadata: The labels of processes, and the calls of the runtime.
        types: The types of devices that memory was allocated on, as in `DEVICE_TYPES`.
    """
    all_kinds = sorted(kinds)
    evidence = next(_evidence(head, all_kinds, metadata), None)
    if evidence:
        return evidence
    if any(kind.startswith("privateuse1_") for kind in all_kinds):
        return PRIVATE
    if device_names(head) or not KERNELS.isdisjoint(all_kinds):
        return CUDA
    for type_ in types:
        device = DEVICE_TYPES.get(type_, CPU) if isinstance(type_, int) else CPU
        device = _ALLOCATING.get(device, device)
        if device in (CUDA, ROCM, XPU, MPS, HPU, MTIA, NPU):
            return device
    unknown = any(events.on_device for events in metadata.unknown.values())
    return UNKNOWN if unknown else CPU


def _evidence(head: Mapping[str, Any], kinds: Iterable[str], metadata: Metadata) -> Iterator[str]:
    """Yield what the file says, the most certain first."""
    for kind in kinds:
        yield from (device for prefix, device in _KINDS if kind.startswith(prefix))
    for names in metadata.calls.values():
        for name in sorted(names):
            yield from (device for pattern, device in _CALLS if pattern.match(name))
    for labels in metadata.labels.values():
        for label in labels:
            if match := _LABEL.match(label):
                yield _LABELS.get(match[1].upper(), match[1].lower())
    for name in device_names(head):
        yield from (device for pattern, device in _NAMES if pattern.search(name))
    for name in head:
        yield from (device for pattern, device in _HEADS if pattern.match(name))


def device_names(head: Mapping[str, Any]) -> list[str]:
    """Return the names of the devices' models; until torch 1.9 under another word."""
    for word in ("deviceProperties", "computeProperties"):
        devices = head.get(word)
        names = [
            str(device["name"])
            for device in (devices if isinstance(devices, list) else [])
            if isinstance(device, dict) and "name" in device
        ]
        if names:
            return names
    return []
