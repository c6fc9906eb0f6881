"""A server on a pool of threads that answers requests by one prefill and some decodes.

    python toy_server.py FOLDER

Prints its address, then serves until its input ends; then how many answers it gave.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

import harness

ALL_THREADS = "profiler.experimental.profile_all_threads=true"
WORKERS = 3


class Server:
    """Answers requests in the threads of a pool."""

    def __init__(self, session: harness.Session) -> None:
        self.session = session
        self.weights = torch.ones(32, 32)
        self.answered = 0

    @torch.inference_mode()
    def answer(self, length: int) -> float:
        with self.session.step("prefill", batch=length):
            state = torch.ones(length, 32) @ self.weights
            state = torch.relu(state @ self.weights)
        last = state[-1:]
        for _ in range(3):
            with self.session.step("decode", batch=1):
                last = torch.relu(last @ self.weights)
        self.answered += 1
        return float(last.sum())


def end_with_input(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main(folder: str) -> None:
    torch.set_num_threads(1)
    ended = threading.Event()
    with (
        harness.Session("profiler=level1", ALL_THREADS, out=folder, http_port=0) as session,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        server = Server(session)
        print(session.address, flush=True)
        threading.Thread(target=end_with_input, args=(ended,), daemon=True).start()
        while not ended.is_set():
            for answer in pool.map(server.answer, range(4, 4 + 2 * WORKERS)):
                assert answer > 0
        workers = [thread.name for thread in threading.enumerate()]
    print(server.answered, sorted(workers))
    print(sorted(thread.name for thread in threading.enumerate() if not thread.daemon))


main(sys.argv[1])
