"""An event of a chrome trace."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from harness.readers.chrome.columns import NULL


class Event(Struct, gc=False):
    """An event as in the file; numbers and arguments are decoded later, by its kind."""

    name: str = ""
    ph: str = ""
    cat: str = ""
    pid: Any = None
    tid: Any = None
    id: Any = None
    ts: Raw = NULL
    dur: Raw = NULL
    args: Raw = NULL
