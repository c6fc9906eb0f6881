"""A bounded window in a live engine: begun, waited for, ended; whatever happens, not left open."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from harness.attach.captures import Found, Watch
from harness.attach.engines import Engine, start
from harness.attach.http import Server, Unanswered
from harness.errors import MachineError

_LOOK_S: Final = 0.25
_ALIVE_S: Final = 2.0
"""Seconds between two looks at whether the server is there still."""
_LATE_S: Final = 30.0
"""Seconds for what a stopped window writes, at most; a shorter limit holds here, too."""
_INTERRUPTED_S: Final = 15.0
_OK: Final = 200
_STOPPED: Final = "the server has stopped the window"


class Listener(Protocol):
    """Who shows how far a window is."""

    def say(self, text: str) -> None:
        """Show one line."""

    def waiting(self, waited_s: float, found: Sequence[Found]) -> None:
        """Show how long it has been waited, and the captures so far."""


class Window(Struct, frozen=True, kw_only=True):
    """How a window ended, and what it left."""

    found: tuple[Found, ...]
    """The captures of ranks, by their names; those that are not whole, too."""
    unfinished: tuple[str, ...]
    """The names of those that are not written to their end."""
    beside: tuple[Found, ...]
    """Captures of processes beside the ranks."""
    ended: bool
    """Whether it ended because its steps were done."""
    trouble: str = ""
    """What went wrong with the server, one line; empty if nothing did."""


class Asking(Struct, frozen=True, kw_only=True):
    """What is asked of whom, and for how long."""

    server: Server
    engine: Engine
    body: bytes
    ranks: int | None
    """How many captures there must be; null if it is not known."""
    limit_s: float


def hold(asking: Asking, watch: Watch, listener: Listener) -> Window:
    """Begin a window, wait for its end, and see to it that it is over.

    An interrupt stops the window, and is passed on.

    Raises:
        MachineError: The server does not begin one.
    """
    server, engine = asking.server, asking.engine
    begun = time.monotonic()
    try:
        try:
            start(server, engine, asking.body, asking.limit_s)
        except MachineError as error:
            if isinstance(error.__cause__, Unanswered) and server.listens():
                # It may have begun all the same.
                said = _stop(asking, min(asking.limit_s, _INTERRUPTED_S))
                raise MachineError(f"{error}; {said or _STOPPED}") from error.__cause__
            raise
        listener.say(f"the window has begun; it is waited for at most {asking.limit_s:g} s")
        done = _waited(asking, watch, listener, begun)
        return _closed(asking, watch, listener, done=done)
    except KeyboardInterrupt:
        listener.say("interrupted: the server is asked to stop the window")
        said = _stop(asking, _INTERRUPTED_S)
        listener.say(said or _STOPPED)
        raise


def _waited(asking: Asking, watch: Watch, listener: Listener, begun: float) -> bool | None:
    """Wait for the captures; return whether they came, or null if the server is gone."""
    looked = begun
    while (now := time.monotonic()) - begun < asking.limit_s:
        whole = [each for each in watch.whole() if not _is_beside(asking.engine, each)]
        new = [each for each in watch.new() if not _is_beside(asking.engine, each)]
        needed = len(new) if asking.ranks is None else asking.ranks
        if whole and len(whole) == len(new) and len(whole) >= needed:
            return True
        listener.waiting(now - begun, new)
        if now - looked >= _ALIVE_S:
            looked = now
            if not asking.server.listens():
                return None
        time.sleep(_LOOK_S)
    return False


def _closed(asking: Asking, watch: Watch, listener: Listener, *, done: bool | None) -> Window:
    """End what the engine does not end itself, and return what there is."""
    trouble = ""
    if done is None:
        trouble = f"{asking.server.url} went away while it recorded"
    elif not (done and asking.engine.ends_itself):
        if not done:
            listener.say(f"no whole window in {asking.limit_s:g} s: the server is asked to stop it")
        trouble = _stop(asking, max(asking.limit_s, _ALIVE_S))
        _settle(watch, min(asking.limit_s, _LATE_S), lambda: not done and not watch.new())
    new, whole = watch.new(), set(watch.whole())
    return Window(
        found=tuple(each for each in new if not _is_beside(asking.engine, each)),
        unfinished=tuple(each.name for each in new if each not in whole),
        beside=tuple(each for each in new if _is_beside(asking.engine, each)),
        ended=bool(done),
        trouble=trouble,
    )


def _settle(watch: Watch, limit_s: float, lacks: Callable[[], bool]) -> None:
    """Wait until all new captures are whole; of a window that left nothing yet, for the first."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if len(watch.whole()) == len(watch.new()) and not lacks():
            return
        time.sleep(_LOOK_S)


def _stop(asking: Asking, limit_s: float) -> str:
    """Ask a server to stop; return what went wrong, one line.

    That it was not profiling any more is no trouble: sglang answers 500 then, without a word.
    """
    place = f"{asking.server.url}/stop_profile"
    try:
        answer = asking.server.ask("POST", "/stop_profile", limit_s)
    except Unanswered as error:
        return f"{place}: {error}; its profiler may go on, and POST {place} ends it"
    if answer.status == _OK or (asking.engine.ends_itself and answer.status == _OVER):
        return ""
    return f"{place}: it answers {answer.status}: {answer.text or 'nothing'}"


_OVER: Final = 500
"""What an engine answers that has ended the window itself, so that nothing is left to stop."""


def _is_beside(engine: Engine, found: Found) -> bool:
    return bool(engine.frontend) and engine.frontend in found.name
