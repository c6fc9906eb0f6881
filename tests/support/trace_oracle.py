"""What a chrome trace says, by json and Decimal alone: it knows nothing of the readers."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

HOST = {"cpu_op", "user_annotation", "Operator"}
DEVICE = {"kernel", "gpu_memcpy", "gpu_memset", "Kernel", "Memcpy", "Memset", "mtia_ccp_events"}
CALLS = {"cuda_runtime", "Runtime", "xpu_runtime", "mtia_runtime"}


def rows_of(path: Path) -> tuple[list[Any], list[Any]]:
    """Return operators: rank, start, duration, name, thread, step; kernels: the same with their
    stream, and the start of their operator. A process is a number, or "[LABEL] number".
    """
    events = json.loads(path.read_text(), parse_float=Decimal)["traceEvents"]
    for e in events:
        e["at"], e["for"] = int(e["ts"] * 1000), int(e["dur"] * 1000)
        e["label"], e["mark"] = str(e["pid"]).rpartition("]")[0], "Step#" in e["name"]
    host, device, calls = ([e for e in events if e["cat"] in c] for c in (HOST, DEVICE, CALLS))
    pids = sorted({e["pid"] for e in host})

    def around(e: Any, *, mark: bool) -> list[Any]:
        near = [o for o in host if o["pid"] == e["pid"] and 0 <= e["at"] - o["at"] < o["for"]]
        return [o for o in near if o["mark"] == mark and (mark or o["tid"] == e["tid"])]

    def step(e: Any) -> int | None:
        return next((int(o["name"].partition("#")[2]) for o in around(e, mark=True)), None)

    kernels = []
    for e in device:
        key = (e["args"]["correlation"], e["label"])
        call = next(c for c in calls if (c["args"]["correlation"], c["label"]) == key)
        operator = max(around(call, mark=False), key=lambda o: o["at"], default=None)
        row = (pids.index(call["pid"]), e["at"], e["for"], e["name"], e["args"]["stream"])
        kernels.append((*row, step(operator or call), operator and operator["at"]))
    rows = [(pids.index(e["pid"]), e["at"], e["for"], e["name"], int(e["tid"])) for e in host]
    return [(*r, step(e)) for r, e in zip(rows, host, strict=True) if not e["mark"]], kernels
