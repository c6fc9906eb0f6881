"""The kernels of a recorded capture: their names, and their invented counters."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from harness.emulator.columns import counter_header
from harness.settings.faults import Faults

NA: Final = "N/A"
FREQUENCY_MHZ: Final = 1800
CUBE_CORES: Final = 24
VECTOR_CORES: Final = 48
BYTES_PER_CORE: Final = 16384
NO_MODEL: Final = 4294967295
"""What CANN writes as the model of an operator without one."""

KERNEL_NAMES: Final = {
    "Addmm": ("MatMulCommon", "MatMulV2"),
    "BatchMatMul": ("BatchMatMulCommon", "BatchMatMulV2"),
    "Copy": ("TensorMoveAiCore", "TensorMove"),
    "Div": ("RealDivAiCore", "RealDiv"),
    "DropoutDoMask": ("DropoutDoMaskAiCore", "DropOutDoMask"),
    "DropoutGenMaskV2": ("DSAGenBitMask", "DSAGenBitMask"),
    "EqTensor": ("EqualAiCore", "Equal"),
    "FillScalar": ("FillAiCore", "Fill"),
    "LogSoftmax": ("LogSoftmaxAiCore", "LogSoftmaxV2"),
    "LogSoftmaxBackward": ("LogSoftmaxGrad", "LogSoftmaxGrad"),
    "Matmul": ("MatMulCommon", "MatMulV2"),
    "Mm": ("MatMulCommon", "MatMulV2"),
    "One": ("OnesLikeAiCore", "OnesLike"),
    "ReduceSum": ("ReduceSumOpAiCore", "ReduceSum"),
    "Relu": ("Relu", "Relu"),
    "ThresholdBackward": ("ReluGrad", "ReluGrad"),
    "Topk": ("TopkV2", "TopKV2"),
    "Zero": ("ZerosLikeAiCore", "MemSet"),
}
"""Operator → the rest of its kernel's name, and the kernel's type.

Taken from real captures, except for BatchMatMul, Matmul and Zero, which are guesses.
"""
ELEMENT_SIZES: Final = {
    "BOOL": 1,
    "DOUBLE": 8,
    "DT_BF16": 2,
    "FLOAT16": 2,
    "INT16": 2,
    "INT64": 8,
    "INT8": 1,
    "UINT8": 1,
}
"""In bytes; 4 for all others."""
CUBE: Final = ("MatMul", "BatchMatMul", "Conv", "GroupedMatmul")
MIXED_CUBE: Final = ("FlashAttention", "FusedInferAttention", "PromptFlashAttention")
MIXED_VECTOR: Final = ("ReduceSum", "ReduceMean", "TopK", "NLLLoss")


@dataclass(frozen=True)
class Tensor:
    """A tensor of a launch."""

    shape: tuple[int, ...]
    dtype: str
    format: str

    @property
    def size(self) -> int:
        """The number of bytes."""
        return math.prod(self.shape) * ELEMENT_SIZES.get(self.dtype, 4)


@dataclass(frozen=True)
class Kernel:
    """One launched kernel, in the wall clock's nanoseconds."""

    name: str
    type: str
    core: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    device: int
    stream: int
    task: int
    start_ns: int
    duration_ns: int
    api: str
    host_start_ns: int
    host_end_ns: int
    thread: int
    connection: int
    shapes_known: bool = True

    @cached_property
    def _identity(self) -> str:
        return f"{self.name}|{self.inputs}|{self.outputs}"

    @property
    def end_ns(self) -> int:
        """The end of the kernel."""
        return self.start_ns + self.duration_ns

    @property
    def launch_ns(self) -> int:
        """When the host launched it: within the call, and before the kernel's start."""
        return self.host_start_ns + min(500, (self.host_end_ns - self.host_start_ns) // 4)

    @property
    def blocks(self) -> tuple[int, int]:
        """The number of cores that run it, and of cores of the other kind that assist."""
        if self.core == "DSA_SQE":
            return 0, 0
        most = CUBE_CORES if self.core in {"AI_CORE", "MIX_AIC"} else VECTOR_CORES
        needed = math.ceil(_size(self.outputs or self.inputs) / BYTES_PER_CORE)
        used = max(1, min(most, needed))
        return used, 2 * used if self.core == "MIX_AIC" else 0

    def tensor_cells(self) -> tuple[str, ...]:
        """Return shapes, data types and formats of inputs and outputs.

        A cell of shapes has its own quotes. A memset has no shapes, and kernels of the DSA unit
        (random numbers) have none of inputs, as in real captures.
        """
        has_shapes = self.shapes_known and self.type != "MemSet"
        inputs = _cells(self.inputs) if has_shapes and self.core != "DSA_SQE" else (NA, NA, NA)
        return (*inputs, *(_cells(self.outputs) if has_shapes else (NA, NA, NA)))

    def share(self, what: str) -> float:
        """Return a number from 0 to 1, the same for this kernel in every run."""
        digest = hashlib.blake2b(f"{self._identity}|{what}".encode(), digest_size=4).digest()
        return round(int.from_bytes(digest) / 2**32 * 0.98, 3)

    def counters(self, metrics: int) -> dict[str, str]:
        """Return a value for each column of the group."""
        header = counter_header(metrics)
        if self.core == "DSA_SQE":
            return dict.fromkeys(header, NA)
        counters = _Counters(self)
        return {column: counters.value(column) for column in header}


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.size for tensor in tensors)


def _cells(tensors: Sequence[Tensor]) -> tuple[str, str, str]:
    shapes = ";".join(",".join(map(str, tensor.shape)) for tensor in tensors)
    dtypes, formats = (tensor.dtype for tensor in tensors), (tensor.format for tensor in tensors)
    return f'"{shapes}"', ";".join(dtypes), ";".join(formats)


def us(ns: int) -> str:
    """Write nanoseconds as CANN writes microseconds: with all their digits."""
    return f"{ns // 1000}.{ns % 1000:03d}"


class _Counters:
    """Invented counters, the same for the same kernel in every run.

    Times are shares of the half's time; the bytes moved are those of the tensors. A half that the
    kernel does not use counts 0, as in real captures.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        halves = {"AI_CORE": ("aic",), "MIX_AIC": ("aic", "aiv")}
        self._used = halves.get(kernel.core, ("aiv",))

    def value(self, column: str) -> str:
        half = "aiv" if column.startswith("aiv") else "aic"
        if column == "cube_utilization(%)":
            return self._cube_utilization()
        if half not in self._used or column.startswith("aiv_l0c_"):
            return "0" if _is_count(column) else "0.0"
        name = column.removeprefix(f"{half}_")
        if column in {"aicore_time(us)", "aiv_time(us)"}:
            return _rounded(self._time_us(half))
        if name == "total_cycles":
            return str(self._cycles(half))
        if name.endswith("_time(us)"):
            return _rounded(
                self._time_us(half) * self._kernel.share(column.replace("time(us)", "ratio"))
            )
        if name.endswith(("_ratio", "_rate")):
            return _rounded(self._kernel.share(column))
        if name.endswith("(GB/s)"):
            return _rounded(
                self._bytes() / self._time_us(half) / 1000 * (1 + self._kernel.share(column))
            )
        if name.endswith("_datas(KB)"):
            return _rounded(self._moved_kb(half, name))
        return str(round(self._bytes() * (1 + self._kernel.share(column))))

    def _time_us(self, half: str) -> float:
        share = 0.9 + 0.08 * self._kernel.share(f"{half}_time")
        return round(self._kernel.duration_ns / 1000 * share, 3)

    def _cycles(self, half: str) -> int:
        blocks, assisting = self._kernel.blocks
        used = assisting if half == "aiv" and assisting else blocks
        return round(self._time_us(half) * FREQUENCY_MHZ * used)

    def _cube_utilization(self) -> str:
        if "aic" not in self._used:
            return "0"
        possible = FREQUENCY_MHZ * CUBE_CORES * self._kernel.duration_ns / 1000
        return _rounded(self._cycles("aic") / possible * 100)

    def _bytes(self) -> int:
        return _size(self._kernel.inputs) + _size(self._kernel.outputs)

    def _moved_kb(self, half: str, name: str) -> float:
        read, written = _size(self._kernel.inputs) / 1024, _size(self._kernel.outputs) / 1024
        paths = {"aic": ("GM_to_L1", "L0C_to_GM"), "aiv": ("GM_to_UB", "UB_to_GM")}[half]
        if name.startswith(("read_main", paths[0])):
            return read
        return written if name.startswith(("write_main", paths[1])) else 0.0


def _is_count(column: str) -> bool:
    return column.endswith(("cycles", "fops", "_hit", "_allocate"))


def _rounded(value: float) -> str:
    return str(round(value, 3))


def apply(faults: Faults, kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return one device's kernels with the faults applied."""
    kept = list(kernels)[math.ceil(len(kernels) * faults.lost_head) :]
    count = min(faults.dropped_kernels, len(kept))
    dropped = {(2 * number + 1) * len(kept) // (2 * count) for number in range(count)}
    return [
        replace(kernel, shapes_known=kernel.type not in faults.na_shapes)
        for index, kernel in enumerate(kept)
        if index not in dropped
    ]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines, which may be absent; a crash may have cut off its last line."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def read_kernels(launches: Iterable[dict[str, Any]], faults: Faults) -> list[Kernel]:
    """Turn the recorded launches of one device into kernels, in order of their start."""
    tasks: Counter[int] = Counter()
    kernels = []
    for launch in launches:
        tasks[launch["stream"]] += 1
        kernels.append(_kernel(launch, tasks[launch["stream"]]))
    return apply(faults, sorted(kernels, key=lambda kernel: kernel.start_ns))


def _kernel(launch: dict[str, Any], task: int) -> Kernel:
    middle, kind = KERNEL_NAMES.get(launch["type"], (f"{launch['type']}AiCore", launch["type"]))
    return Kernel(
        name=f"{launch['op']}_{middle}_{kind}",
        type=kind,
        core=_core(kind),
        inputs=_tensors(launch["inputs"]),
        outputs=_tensors(launch["outputs"]),
        device=launch["device"],
        stream=launch["stream"],
        task=task,
        start_ns=launch["start_ns"],
        duration_ns=launch["duration_ns"],
        api=launch["op"],
        host_start_ns=launch["host_start_ns"],
        host_end_ns=launch["host_end_ns"],
        thread=launch["thread"],
        connection=launch["correlation"],
    )


def _core(kind: str) -> str:
    cores = {CUBE: "AI_CORE", MIXED_CUBE: "MIX_AIC", MIXED_VECTOR: "MIX_AIV", ("DSA",): "DSA_SQE"}
    return next(
        (core for starts, core in cores.items() if kind.startswith(starts)), "AI_VECTOR_CORE"
    )


def _tensors(records: Iterable[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(tuple(record["shape"]), record["dtype"], record["format"]) for record in records
    )
