"""The process of one rank, which torch.distributed.run has started: it runs the rank's child.

It reads and checks what its child recorded, too, so that the ranks do that side by side. It imports
no torch, so that a crash of the child leaves someone to tell of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from harness.errors import HarnessError
from harness.execution.launcher import Message, send
from harness.execution.plan import plan
from harness.execution.protocol import Progress, read_json
from harness.execution.rank_watch import StopOrder, order_stop
from harness.paths import RunFolder
from harness.pipeline.running import run_process
from harness.ranks.job import Job
from harness.settings.ranks import rank_of
from harness.stopping import interrupt
from harness.waits import Wait, heard_by

_PR_SET_PDEATHSIG: Final = 1


def main(folder: str, channel: str) -> None:
    """Carry out the job of a folder as the rank that the environment names.

    Whatever becomes of it is in the rank's own run.json; the exit code is 0 wherever that could be
    written, so that the launcher ends no rank that has still to write.
    """
    _die_with_launcher()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    rank, run = rank_of(os.environ), RunFolder(Path(folder))
    job = read_json(run.job, Job)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_command:
        to_command.connect(channel)
        listener = _Told(to_command, rank.rank, lends_streams=job.lends_streams)
        try:
            planned = plan(job.request, run.rank(rank.rank).path, rank)
            with heard_by(listener.waiting):
                run_process(job.request, planned, overrides=job.overrides, listener=listener)
        except KeyboardInterrupt:
            sys.exit(1)
        except HarnessError as error:
            order_stop(run, StopOrder(rank=rank.rank, reason=str(error)))
            listener.output(str(error))


def _die_with_launcher() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Told:
    """A listener that passes on to the command what happens."""

    def __init__(self, channel: socket.socket, rank: int, *, lends_streams: bool) -> None:
        self._channel = channel
        self._rank = rank
        self._lends_streams = lends_streams

    @property
    def lends_streams(self) -> bool:
        """Whether a program of the user's reads and writes the command's own streams."""
        return self._lends_streams

    def progress(self, progress: Progress) -> None:
        """Tell how far it is."""
        send(self._channel, Message(rank=self._rank, progress=progress))

    def waiting(self, wait: Wait | None) -> None:
        """Tell what takes a while."""
        if wait is not None:
            send(self._channel, Message(rank=self._rank, wait=wait))

    def output(self, line: str) -> None:
        """Tell a line of what it prints."""
        send(self._channel, Message(rank=self._rank, output=line))
