"""Start the ranks of a job by torch.distributed.run, and hear of them. Imports no torch."""

from __future__ import annotations

import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from harness.execution.output import Printed
from harness.execution.process import DIE_WITH_PARENT, ProgressListener
from harness.execution.protocol import Progress
from harness.execution.rank_watch import INTERRUPTED, StopOrder, order_stop, stopping
from harness.files import Appended
from harness.paths import RunFolder
from harness.stopping import Held
from harness.waits import Wait, tell

_ADDRESS: Final = "127.0.0.1"
_MESSAGE: Final = 1 << 17
"""Bytes of a datagram; a line of output has at most 4,096."""
_CHUNK: Final = 65536
_AFTER_GRACE_S: Final = 3600
"""How long a rank that is stopped may read what it recorded, before torch kills it."""
_LAUNCHER: Final = f"{DIE_WITH_PARENT}from torch.distributed.run import main; main(sys.argv[2:])"
_WORKER: Final = (
    f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); "
    "from harness.ranks.worker import main; main(sys.argv[1], sys.argv[2])"
)


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rank tells while it runs."""

    rank: int
    progress: Progress | None = None
    output: str | None = None
    """A line of what its workload prints."""
    wait: Wait | None = None
    """What takes a while in the process of the rank."""


class Launch(NamedTuple):
    """What is to be started."""

    folder: Path
    """Of the job, with its job.json."""
    nproc: int
    grace_s: float
    environment: Mapping[str, str]
    lends_streams: bool
    """Whether the ranks read and write this process's own streams, as below torchrun itself."""


def launch(job: Launch, listener: ProgressListener) -> str:
    """Start the ranks, wait for their end, and say what went wrong with the launcher, if anything.

    Linux kills the launcher with the thread that started it, and the ranks with the launcher.
    """
    return _Launcher(job, listener).ended()


def send(channel: socket.socket, message: Message) -> None:
    """Tell the process that has started the ranks; one that is gone does not hear it."""
    with suppress(OSError):
        channel.send(msgspec.json.encode(message))


class _Launcher:
    """One launcher, from its start to its end."""

    def __init__(self, job: Launch, listener: ProgressListener) -> None:
        self.job = job
        self.run = RunFolder(job.folder)
        self.listener = listener
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False

    def ended(self) -> str:
        # A socket has a short path, and no place in a run folder.
        place = Path(tempfile.mkdtemp(prefix="harness-"))
        try:
            with (
                Appended(self.run.path, self.run.log) as log,
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
            ):
                channel.bind(str(place / "channel"))
                printed = Printed(log, _unseen)
                return self._judged(self._listened(channel, place / "channel", printed), printed)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _listened(self, channel: socket.socket, path: Path, printed: Printed) -> int:
        try:
            with Held():
                self.process = process = self._start(path)
            with selectors.DefaultSelector() as ready:
                ready.register(channel, selectors.EVENT_READ)
                if process.stdout is not None:
                    ready.register(process.stdout, selectors.EVENT_READ)
                while True:
                    try:
                        self._listen(process, ready, channel, printed)
                        break
                    except KeyboardInterrupt:
                        self._stop()
            printed.flush()
            return process.wait()
        finally:
            self._kill()

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        python = (sys.executable, "-P", "-c")
        command = (
            *(*python, _LAUNCHER, str(os.getpid())),
            *("--nnodes=1", f"--nproc-per-node={self.job.nproc}", "--max-restarts=0"),
            *("--rdzv-backend=c10d", f"--rdzv-endpoint={_ADDRESS}:0"),
            *(f"--rdzv-id={secrets.token_hex(8)}", f"--local-addr={_ADDRESS}"),
            f"--shutdown-timeout={int(self.job.grace_s) + _AFTER_GRACE_S}",
            *("--no-python", *python, _WORKER, str(self.run.path.absolute()), str(path)),
        )
        lends = self.job.lends_streams
        return subprocess.Popen(  # noqa: S603 - our interpreter, torch's launcher and our code
            command,
            stdin=None if lends else subprocess.DEVNULL,
            stdout=None if lends else subprocess.PIPE,
            stderr=None if lends else subprocess.STDOUT,
            env=dict(self.job.environment),
            # Ctrl-C reaches this process alone, which then lets each rank stop once.
            start_new_session=True,
        )

    def _listen(
        self,
        process: subprocess.Popen[bytes],
        ready: selectors.BaseSelector,
        channel: socket.socket,
        printed: Printed,
    ) -> None:
        """Pass on what comes, until the launcher has ended and nothing more comes."""
        ended = False
        while True:
            events = ready.select(0 if ended else 0.1)
            for key, _ in events:
                if key.fileobj is channel:
                    self._take(channel.recv(_MESSAGE))
                elif data := os.read(key.fd, _CHUNK):
                    printed.feed(data)
                else:
                    ready.unregister(key.fileobj)
            if ended and not events:
                return
            ended = process.poll() is not None

    def _take(self, data: bytes) -> None:
        message = msgspec.json.decode(data, type=Message)
        if message.progress is not None and message.rank == 0:
            self.listener.progress(message.progress)
        if message.wait is not None and message.rank == 0:
            tell(message.wait)
        if message.output is not None:
            self.listener.output(named(message.rank, message.output))

    def _stop(self) -> None:
        """Let the ranks write down what they hold; the second time, kill them."""
        if self.stopped:
            self._kill()
            return
        self.stopped = True
        order_stop(self.run, StopOrder(reason=INTERRUPTED))
        self.listener.output(stopping(self.job.grace_s))

    def _kill(self) -> None:
        """Kill the launcher; Linux kills the ranks with it, and what they run."""
        if self.process is not None and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _judged(self, returncode: int, printed: Printed) -> str:
        if not returncode or self.stopped:
            return ""
        last = f"; its last output: {printed.last_line}" if printed.last_line else ""
        return f"torch.distributed.run ended with code {returncode}{last}"


def named(rank: int, line: str) -> str:
    """Return a line of output with its rank, as torchrun names it; not if that is 0."""
    return f"[rank{rank}]: {line}" if rank else line


def _unseen(_line: str) -> None:
    """Show nothing: what the launcher says is in the log."""
