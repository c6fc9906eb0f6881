"""Wait for the end of a child process, and for what it prints meanwhile."""

from __future__ import annotations

import errno
import os
import selectors
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CHUNK: Final = 65536


@contextmanager
def woken_by_end(pid: int, ready: selectors.BaseSelector) -> Iterator[None]:
    """Let the end of a child process end a wait, where the system can do that."""
    try:
        end = os.pidfd_open(pid) if sys.platform == "linux" else None
    except OSError:
        # An old kernel, or a sandbox that forbids it: the wait ends by its time.
        end = None
    if end is None:
        yield
        return
    ready.register(end, selectors.EVENT_READ, None)
    try:
        yield
    finally:
        ready.unregister(end)
        os.close(end)


def take_what_comes(ready: selectors.BaseSelector, timeout_s: float) -> bool:
    """Take what the streams bring within the time; return False if there is nothing."""
    events = ready.select(timeout_s) if ready.get_map() else []
    if not ready.get_map():
        time.sleep(timeout_s)
    for key, _ in events:
        if key.data is None:
            # The end of the child, which brings nothing.
            continue
        data = _read(key.fd)
        if data:
            key.data(data)
        else:
            ready.unregister(key.fileobj)
    return bool(events)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _CHUNK)
    except OSError as error:
        # So ends a terminal that nobody writes to any more.
        if error.errno != errno.EIO:
            raise
        return b""
