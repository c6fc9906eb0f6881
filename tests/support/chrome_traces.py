"""Events of torch's chrome traces, written by hand."""

from __future__ import annotations

from typing import Any


def event(cat: str, name: str, ts: float | str, dur: float, **more: Any) -> dict[str, Any]:
    args = more.pop("args", {})
    return {
        "ph": "X",
        "cat": cat,
        "name": name,
        "pid": 7,
        "tid": 1,
        "ts": ts,
        "dur": dur,
        **more,
        "args": args,
    }


def launch(number: int, ts: float, **args: Any) -> dict[str, Any]:
    return event("cuda_runtime", "cudaLaunchKernel", ts, 2, args={"correlation": number, **args})


def kernel(number: int, ts: float, **args: Any) -> dict[str, Any]:
    given = {"device": 3, "stream": 20, "correlation": number, **args}
    return event("kernel", "gemm", ts, 10, pid=3, tid=20, args=given)
