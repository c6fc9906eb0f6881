"""How long something still takes, from what was measured of it; else nothing is said."""

from __future__ import annotations

from typing import Final

_MEASURED_S: Final = 1.0
"""How long something must have gone on before its pace tells anything."""
_MINUTE: Final = 60
_HOUR: Final = 3600


class Pace:
    """How fast one phase goes. Times are those of one clock, in seconds."""

    def __init__(self, began_s: float, done: int) -> None:
        """Begin at a time, with what was done before."""
        self.began_s = began_s
        self._first = self._done = done
        self._last_s = began_s

    def take(self, done: int, now_s: float) -> None:
        """Take how much is done by now."""
        if done > self._done:
            self._done, self._last_s = done, now_s

    def left_s(self, total: int, now_s: float) -> float | None:
        """Return how long the rest takes at the mean pace so far, in seconds.

        None where too little was measured, nothing is left, or it takes longer than it should.
        """
        measured_s, made = self._last_s - self.began_s, self._done - self._first
        if not made or measured_s < _MEASURED_S or self._done >= total:
            return None
        left = measured_s / made * (total - self._done) - (now_s - self._last_s)
        return left if left > 0 else None


def of_jobs(ended: int, running: int, total: int, elapsed_s: float) -> str:
    """Return how far jobs are that run at once, and how long the rest takes, in words.

    A job that runs counts as half done. Empty if none is left.
    """
    if ended >= total:
        return ""
    words = f"{ended} of {total} ended"
    done = ended + running / 2
    if not ended or elapsed_s < _MEASURED_S:
        return words
    return f"{words}, {about(elapsed_s / done * (total - done))}"


def about(seconds: float) -> str:
    """Return a remaining time as a person says it."""
    whole = max(1, round(seconds))
    if whole < _MINUTE:
        return f"about {whole} s left"
    minutes = round(seconds / _MINUTE)
    if minutes < _MINUTE:
        return f"about {minutes} min left"
    return f"about {minutes // _MINUTE} h {minutes % _MINUTE} min left"


def clock(seconds: float) -> str:
    """Return a time that has gone by: 7 s, 1:05, 2:01:05."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    hours, rest = divmod(whole, _HOUR)
    ending = f"{rest % _MINUTE:02}"
    return f"{hours}:{rest // _MINUTE:02}:{ending}" if hours else f"{rest // _MINUTE}:{ending}"
