"""HCCL of the emulator without torch: ranks are processes that call it; prints JSON."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

HCCL = ctypes.CDLL("libhccl.so")
HCCL.aclGetRecentErrMsg.restype = ctypes.c_char_p
SUM, PRODUCT, MAX, MIN = range(4)
TYPES = {"int8": 0, "int16": 1, "int32": 2, "float16": 3, "float32": 4, "int64": 5, "float64": 10}
BFLOAT16 = 11
ROOT_BYTES = 4108
FORK = multiprocessing.get_context("fork")


class Rank:
    """One process of a communicator, at work."""

    def __init__(self, rank: int, size: int, root: bytes | None, told: list[Connection]) -> None:
        self.rank, self.size = rank, size
        self._info = ctypes.create_string_buffer(root or b"", ROOT_BYTES)
        if root is None:
            assert HCCL.HcclGetRootInfo(self._info) == 0
            for connection in told:
                connection.send_bytes(self._info.raw)
        self.handle = ctypes.c_void_p()
        self.joined = self.join(rank, size)

    def join(self, rank: int, size: int) -> int:
        handle = ctypes.byref(self.handle)
        return int(HCCL.HcclCommInitRootInfo(size, self._info, rank, handle))

    def reduced(self, values: Any, kind: int, operation: int) -> Any:
        result = np.zeros_like(values)
        buffers = values.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p)
        count = ctypes.c_uint64(values.size)
        code = HCCL.HcclAllReduce(*buffers, count, kind, operation, self.handle, None)
        return result.tolist() if code == 0 else code

    def call(self, name: str, *arguments: Any) -> int:
        return int(getattr(HCCL, name)(*arguments, self.handle, None))

    def leave(self) -> int:
        return int(HCCL.HcclCommDestroy(self.handle))


Work = Callable[[Rank], Any]


def _worker(rank: int, size: int, pipes: list[Any], answer: Connection, work: Work) -> None:
    root = pipes[rank][0].recv_bytes() if rank else None
    own = Rank(rank, size, root, [sent for _, sent in pipes[1:]])
    answer.send([work(own), HCCL.aclGetRecentErrMsg().decode()])


def together(size: int, work: Work, sizes: list[int] | None = None) -> list[Any]:
    """Run `work` on each rank; return what each returned, and its last error."""
    pipes = [FORK.Pipe(duplex=False) for _ in range(size)]
    answers = [FORK.Pipe(duplex=False) for _ in range(size)]
    started = [
        FORK.Process(target=_worker, args=(rank, each, pipes, answers[rank][1], work))
        for rank, each in enumerate(sizes or [size] * size)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(30)
    found = [answer.recv() if answer.poll() else None for answer, _ in answers]
    assert not any(process.is_alive() for process in started)
    return found


def data(values: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


def reduces(rank: Rank) -> dict[str, Any]:
    found: dict[str, Any] = {"joined": rank.joined}
    for name in ("int8", "int16", "int32", "int64", "float16", "float32"):
        values = np.array([rank.rank + 1, -3 + rank.rank, 5], dtype=name)
        for operation in (SUM, PRODUCT, MAX, MIN):
            found[f"{name} {operation}"] = rank.reduced(values, TYPES[name], operation)
    wrapping = np.array([100], dtype="int8")
    found["wrapping"] = rank.reduced(wrapping, TYPES["int8"], SUM)
    halves = (np.array([1.0, 2.5, 256.0], dtype="float32").view("uint32") >> 16).astype("uint16")
    found["bfloat16"] = rank.reduced(halves, BFLOAT16, SUM)
    found["float64"] = rank.reduced(np.zeros(1), TYPES["float64"], SUM)
    return found | {"left": rank.leave()}


def moves(rank: Rank) -> dict[str, bool]:
    """Move more than fits into one exchange, and nothing at all."""
    many = 1_500_001
    sent = np.arange(many, dtype="int16") + rank.rank
    got = sent.copy()
    count = ctypes.c_uint64(many)
    found = {"broadcast": rank.call("HcclBroadcast", data(got), count, TYPES["int16"], 2) == 0}
    found["broadcast is exact"] = bool((got == np.arange(many, dtype="int16") + 2).all())
    all_parts = np.zeros((rank.size, many), dtype="int16")
    code = rank.call("HcclAllGather", data(sent), data(all_parts), count, TYPES["int16"])
    expected = np.arange(many, dtype="int16") + np.arange(rank.size, dtype="int16")[:, None]
    found["gather is exact"] = code == 0 and bool((all_parts == expected).all())
    part = np.zeros(many, dtype="int16")
    code = rank.call("HcclReduceScatter", data(all_parts), data(part), count, TYPES["int16"], SUM)
    found["scatter is exact"] = code == 0 and bool((part == 3 * expected[rank.rank]).all())
    found["barrier"] = rank.call("HcclBarrier") == 0
    nothing = np.zeros(0, dtype="float32")
    found["nothing"] = rank.reduced(nothing, TYPES["float32"], SUM) == []
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    shared = [line for line in maps.splitlines() if "emulated-hccl" in line]
    found["no name"] = bool(shared) and all("/memfd:" in line for line in shared)
    return found | {"left": rank.leave() == 0}


def differs(rank: Rank) -> list[Any]:
    values = np.zeros(2 + rank.rank, dtype="float32")
    codes = [rank.reduced(values, TYPES["float32"], SUM) for _ in range(2)]
    return [rank.joined, *codes]


def dies(rank: Rank) -> list[Any]:
    if rank.rank:
        os.kill(os.getpid(), signal.SIGKILL)
    return [rank.reduced(np.zeros(1, dtype="float32"), TYPES["float32"], SUM)]


def late(rank: Rank) -> list[Any]:
    if rank.rank:
        signal.sigtimedwait([], 2)
    return [rank.reduced(np.zeros(1, dtype="float32"), TYPES["float32"], SUM)]


def refused(rank: Rank) -> list[Any]:
    return [rank.call("HcclReduce"), HCCL.HcclCommInitAll()]


def alone(rank: Rank) -> list[Any]:
    values = np.array([1, 2], dtype="float32")
    count, kind = ctypes.c_uint64(values.size), TYPES["float32"]
    code = rank.call("HcclBroadcast", data(values), count, kind, 0)
    return [code, rank.reduced(values, kind, SUM)]


def on_streams(rank: Rank) -> list[Any]:
    """Record barriers on two streams, of which the second waits for the first."""
    with tempfile.TemporaryDirectory() as folder:
        HCCL.aclprofInit(folder.encode(), len(folder))
        HCCL.aclprofCreateConfig.restype = ctypes.c_void_p
        devices, level1 = (ctypes.c_uint32 * 1)(0), ctypes.c_uint64(0x27)
        config = ctypes.c_void_p(HCCL.aclprofCreateConfig(devices, 1, 255, None, level1))
        HCCL.aclprofStart(config)
        first, second, event = (ctypes.c_void_p() for _ in range(3))
        HCCL.aclrtCreateStream(ctypes.byref(first))
        HCCL.aclrtCreateStream(ctypes.byref(second))
        HCCL.aclrtCreateEventWithFlag(ctypes.byref(event), 0)
        for _ in range(100):  # their invented time exceeds that of the calls
            HCCL.HcclBarrier(rank.handle, first)
        HCCL.aclrtRecordEvent(event, first)
        HCCL.aclrtStreamWaitEvent(second, event)
        HCCL.HcclBarrier(rank.handle, second)
        HCCL.aclprofStop(config)
        (path,) = Path(folder).glob("PROF_*/emulated/hccl_0.jsonl")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def joins(rank: Rank) -> int:
    return rank.joined


def main() -> None:
    os.environ["HCCL_EXEC_TIMEOUT"] = os.environ["HCCL_CONNECT_TIMEOUT"] = "1"
    found = {
        "reduces": together(3, reduces),
        "moves": together(3, moves),
        "streams": together(1, on_streams),
        "alone": together(1, alone),
        "differs": together(2, differs),
        "dies": together(2, dies),
        "late": together(2, late),
        "refused": together(1, refused),
        "sizes": together(2, joins, [2, 3]),
        "too many": together(1, joins, [65]),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
