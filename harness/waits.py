"""What takes a while says what it does and how far it is; nobody need listen.

So a stage says it without knowing who shows it, as with a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

Unit = Literal["", "bytes", "runs", "ranks", "jobs", "steps"]


class Wait(Struct, frozen=True, kw_only=True):
    """Something that takes a while."""

    what: str
    """In words: reading trace.json."""
    done: int = 0
    total: int | None = None
    """Null where it is not known, or where a part says nothing of how long the others take."""
    unit: Unit = ""
    """Of `done` and `total`."""
    part: str = ""
    """What is done of it just now, in words, where that is told."""


More = Callable[[int], None]
"""Is told how much more is done."""
Listener = Callable[[Wait | None], None]
"""Is called with each change; null: it is over."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_CURRENT: ContextVar[Wait | None] = ContextVar("current", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let `listener` hear what takes a while in a block; only the thread of the block is heard."""
    before = _LISTENER.get()
    _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.set(before)


def tell(wait: Wait | None) -> None:
    """Tell whoever listens."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(wait)


@contextmanager
def waiting(what: str, total: int | None = None, unit: Unit = "") -> Iterator[More]:
    """Say that a block takes a while; it calls what it is given with how much more is done.

    Within another such block that is counted, this one is told as the part of it that goes on; of
    one that is not counted, it takes the place until it ends.
    """
    outer = _CURRENT.get()
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        if outer is None or outer.total is None:
            _say(Wait(what=what, done=done, total=total, unit=unit))

    if outer is None or outer.total is None:
        _say(Wait(what=what, total=total, unit=unit))
    else:
        _say(replace(outer, part=what))
    try:
        yield more
    finally:
        _say(outer)


def _say(wait: Wait | None) -> None:
    _CURRENT.set(wait)
    tell(wait)
