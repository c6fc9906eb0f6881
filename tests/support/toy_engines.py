"""A small server that answers as an engine does, and records with the real torch.profiler.

    python toy_engines.py sglang|vllm JSON

JSON has the fields of `Behaviour`. Prints its address, then serves until its input ends. It is
written from the engines' documented routes; nothing of it is theirs.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import msgspec

REFUSAL: Final = "Profiling is not in progress. Call /start_profile first."


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server is like."""

    version: str = ""
    ranks: int = 2
    key: str = ""
    """The key that it wants; empty for none."""
    folder: str = ""
    """vllm: its torch_profiler_dir; empty: it has no profiler."""
    drops: tuple[str, ...] = ()
    """Arguments of the profiler that it does not pass on."""
    works: bool = True
    """Whether it has requests to work on."""
    elsewhere: str = ""
    """sglang: where it writes instead, as one on another machine."""
    dies_after: float = 0.0
    """Seconds after the start of a window until all of it is gone; 0 for never."""
    stop_hangs: bool = False
    slow_rank: float = 0.0
    """Seconds that the last rank is late in writing."""
    lazy_rank: bool = False
    """Whether the last rank never records."""


class ProfileReq(msgspec.Struct, kw_only=True):
    """sglang 0.5.23: the fields of the body, with their types."""

    output_dir: str | None = None
    start_step: int | None = None
    num_steps: int | None = None
    activities: list[str] | None = None
    profile_by_stage: bool = False
    with_stack: bool | None = None
    record_shapes: bool | None = None
    profile_id: str | None = None
    merge_profiles: bool = False
    profile_prefix: str | None = None
    profile_stages: list[str] | None = None
    detailed_annotations: bool = False


class StartProfileRequest(msgspec.Struct, kw_only=True):
    """vLLM 0.33.0: the same."""

    profile_prefix: str | None = None
    delay_iterations: int | None = None
    max_iterations: int | None = None
    profiler_kwargs: dict[str, Any] | None = None


class Order(msgspec.Struct, kw_only=True):
    """What a worker is told."""

    arguments: dict[str, Any]
    """Of torch.profiler.profile."""
    delay: int = 0
    steps: int
    """0 for until it is stopped."""
    folder: str
    name: str
    late: float = 0.0


class Window:
    """A worker's profiler while it records."""

    def __init__(self, order: Order) -> None:
        from torch.profiler import ProfilerActivity, profile

        self.order, self.done = order, 0
        self.profile = profile(activities=[ProfilerActivity.CPU], **order.arguments)
        self.profile.start()

    def end(self) -> None:
        self.profile.stop()
        time.sleep(self.order.late)
        folder = Path(self.order.folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.profile.export_chrome_trace(str(folder / self.order.name))


def worker(rank: int, world: int, store: str, works: bool, orders: Connection) -> None:
    """Run steps, and record some of them when it is told to."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    left, right = torch.ones(8, 8), torch.ones(8, 8)
    # The first profiler of a process takes seconds to start.
    first = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    first.start()
    first.stop()
    orders.send("ready")
    window: Window | None = None
    while True:
        if orders.poll(0.01):
            told = orders.recv()
            if told is None:
                orders.send(window is not None)
                if window is not None:
                    window.end()
                window = None
                orders.send("written")
            else:
                window = Window(told)
                orders.send("started")
        if works:
            torch.relu(left @ right)
            if window is not None:
                window.done += 1
                if window.done == window.order.steps:
                    window.end()
                    window = None


class Engine:
    """The workers, and what they are told."""

    def __init__(self, kind: str, behaviour: Behaviour) -> None:
        self.kind, self.behaviour = kind, behaviour
        self.lock, self.is_active = threading.Lock(), False
        context = get_context("spawn")
        store = str(Path(tempfile.mkdtemp()) / "store")
        self.pipes, self.processes = [], []
        for rank in range(behaviour.ranks):
            ours, theirs = context.Pipe()
            words = (rank, behaviour.ranks, store, behaviour.works, theirs)
            process = context.Process(target=worker, args=words, daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)
        for pipe in self.pipes:
            assert pipe.recv() == "ready"

    def start(self, orders: list[Order]) -> None:
        for pipe, order in zip(self.pipes, orders, strict=True):
            for name in self.behaviour.drops:
                order.arguments.pop(name, None)
            pipe.send(order)
        for pipe in self.pipes:
            assert pipe.recv() == "started"
        if self.behaviour.dies_after:
            threading.Timer(self.behaviour.dies_after, self._die).start()

    def _die(self) -> None:
        for process in self.processes:
            process.kill()
        os._exit(9)

    def stop(self) -> bool:
        """Return whether any was recording still."""
        for pipe in self.pipes:
            pipe.send(None)
        were = [pipe.recv() for pipe in self.pipes]
        assert all(pipe.recv() == "written" for pipe in self.pipes)
        return any(were)

    def ordered(self, **order: Any) -> list[Order]:
        last = self.behaviour.ranks - 1
        made = []
        for rank in range(self.behaviour.ranks):
            late = self.behaviour.slow_rank if rank == last else 0.0
            lazy = self.behaviour.lazy_rank and rank == last
            folder = tempfile.gettempdir() if lazy else order["folder"]
            given = {**order, "arguments": dict(order["arguments"]), "folder": folder}
            made.append(Order(**{**given, "name": order["name"].format(rank=rank)}, late=late))
        return made


class Handler(BaseHTTPRequestHandler):
    """The routes of both engines."""

    engine: Engine
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: Any = b"") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.route(b"")

    def do_POST(self) -> None:
        self.route(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def route(self, body: bytes) -> None:
        behaviour = self.engine.behaviour
        if behaviour.key and self.headers.get("Authorization") != f"Bearer {behaviour.key}":
            self.answer(401, {"error": "Unauthorized"})
        elif self.path == "/stop_profile" and behaviour.stop_hangs:
            time.sleep(600)
        else:
            with self.engine.lock:
                getattr(self, f"of_{self.engine.kind}")(body)

    # --- sglang

    def of_sglang(self, body: bytes) -> None:
        behaviour = self.engine.behaviour
        match self.path:
            case "/server_info":
                width = max(1, behaviour.ranks)
                sizes = {"tp_size": width, "pp_size": 1, "dp_size": 1, "attn_dp_size": 1}
                self.answer(200, {"version": behaviour.version or "0.5.23", **sizes})
            case "/start_profile":
                self.start_sglang(body)
            case "/stop_profile":
                # A RuntimeError in the route is all that a client sees of the refusal.
                if self.engine.stop():
                    self.answer(200, b"Stop profiling. This will take some time.\n")
                else:
                    self.answer(500, b"Internal Server Error")
            case _:
                self.answer(404, {"detail": "Not Found"})

    def start_sglang(self, body: bytes) -> None:
        try:
            asked = msgspec.json.decode(body or b"{}", type=ProfileReq)
        except msgspec.ValidationError as error:
            self.answer(422, {"detail": [{"type": "value_error", "msg": str(error)}]})
            return
        shapes, stack = asked.record_shapes is not False, asked.with_stack is not False
        orders = self.engine.ordered(
            arguments={"record_shapes": shapes, "with_stack": stack},
            steps=asked.num_steps or 0,
            folder=self.engine.behaviour.elsewhere or asked.output_dir or tempfile.gettempdir(),
            name=f"{asked.profile_prefix}-{time.time()}-TP-{{rank}}.trace.json.gz",
        )
        self.engine.start(orders)
        self.answer(200, b"Start profiling.\n")

    # --- vllm

    def of_vllm(self, body: bytes) -> None:
        profiles = bool(self.engine.behaviour.folder)
        match self.path:
            case "/version":
                self.answer(200, {"version": self.engine.behaviour.version or "0.33.0"})
            case "/start_profile" if profiles:
                self.start_vllm(body)
            case "/stop_profile" if profiles:
                self.engine.stop()
                if self.engine.is_active:
                    self.write_frontend()
                self.engine.is_active = False
                self.answer(200)
            case _:
                self.answer(404, {"detail": "Not Found"})

    def start_vllm(self, body: bytes) -> None:
        if self.engine.is_active:
            said = "A profiling session is already active. Call /stop_profile before starting"
            error = {"message": said, "type": "Conflict", "param": None, "code": 409}
            self.answer(409, {"error": error})
            return
        try:
            asked = msgspec.json.decode(body or b"{}", type=StartProfileRequest)
        except msgspec.ValidationError as error:
            self.answer(400, {"error": {"message": str(error), "type": "Bad Request"}})
            return
        self.engine.is_active = True
        name = f"{asked.profile_prefix}_dp0_pp0_tp{{rank}}_dcp0_ep0_rank{{rank}}"
        orders = self.engine.ordered(
            arguments=asked.profiler_kwargs or {},
            steps=asked.max_iterations or 0,
            folder=self.engine.behaviour.folder,
            name=f"{name}.{time.time_ns()}.pt.trace.json.gz",
        )
        self.engine.start(orders)
        self.answer(200)

    def write_frontend(self) -> None:
        import gzip

        name = f"{socket.gethostname()}_{os.getpid()}.async_llm.{time.time_ns()}.pt.trace.json.gz"
        path = Path(self.engine.behaviour.folder) / name
        path.write_bytes(gzip.compress(b'{"schemaVersion": 1, "traceEvents": []}'))


def main(kind: str, behaviour: str) -> None:
    Handler.engine = Engine(kind, msgspec.json.decode(behaviour, type=Behaviour))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
    for process in Handler.engine.processes:
        process.kill()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
