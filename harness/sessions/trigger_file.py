"""A file in a session's folder that asks for a window; the answer is a file beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from harness import files
from harness.errors import HarnessError, Problem, RefusedError, WriteError
from harness.sessions.wanted import Wanted
from harness.sessions.window import Window

TRIGGER: Final = "trigger"
ANSWER: Final = "trigger.answer.json"
LARGEST: Final = 4096
"""Bytes of what asks for a window."""
_PERIOD_S: Final = 0.5


class Answer(Struct, frozen=True, kw_only=True):
    """What becomes of a request for a window."""

    accepted: bool
    reason: str = ""
    """Why it was refused, or has no whole result; empty if there is nothing."""
    window: int | None = None
    """Its number."""
    folder: str = ""
    """The run folder."""
    state: str = ""
    """opening, waiting, recording, writing, reading or over."""
    verdict: str = ""
    """Once it is over: delivered, not_delivered or pending."""


def answer_of(window: Window) -> Answer:
    """Return what has become of a window so far."""
    return Answer(
        accepted=True,
        reason=window.reason,
        window=window.number,
        folder=str(window.folder),
        state=window.state,
        verdict=window.verdict,
    )


def parsed(content: bytes) -> Wanted:
    """Return what a request asks for: a JSON object with the names of `Wanted`, or nothing.

    Raises:
        RefusedError: It is no such object.
    """
    if not content.strip():
        return Wanted()
    try:
        return msgspec.json.decode(content, type=Wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = Problem(
            setting="request",
            given=content.decode(errors="replace"),
            reason=f"it is no JSON object of {', '.join(Wanted.__struct_fields__)}: {error}",
            fix='{"steps": 5, "stage": "decode"}, or nothing for the defaults',
        )
        raise RefusedError([problem]) from error


class TriggerFile:
    """Looks for the file twice a second while it is open; removes it when it has been read."""

    def __init__(self, ask: Callable[[Wanted], Window], folder: Path, suffix: str = "") -> None:
        self._ask = ask
        self._folder = folder
        self._trigger = folder / f"{TRIGGER}{suffix}"
        self._answered = folder / f"{ANSWER}{suffix}"
        self._window: Window | None = None
        """The last one that was asked for, until its end has been told."""
        self._told: Answer | None = None
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._look, name="harness-trigger", daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._watch.join()

    def _look(self) -> None:
        path = self._trigger
        while not self._closed.wait(_PERIOD_S):
            if _is_settled(path):
                self._answer(self._asked(path))
            elif self._window is not None:
                self._follow(self._window)

    def _follow(self, window: Window) -> None:
        """Tell how far a window is, when that has changed."""
        answer = answer_of(window)
        if answer != self._told:
            self._answer(answer)
        if answer.state == "over":
            self._window = None

    def _asked(self, path: Path) -> Answer:
        try:
            with files.regular(path, follow=False) as file:
                content = file.read(LARGEST + 1)
            path.unlink()
        except OSError as error:
            # It would be answered for ever.
            self._closed.set()
            why = f"{path} cannot be read and removed: {error.strerror}; it is looked at no more"
            return Answer(accepted=False, reason=why)
        try:
            self._window = self._ask(parsed(content[:LARGEST]))
        except HarnessError as error:
            return Answer(accepted=False, reason=str(error))
        return answer_of(self._window)

    def _answer(self, answer: Answer) -> None:
        self._told = answer
        content = msgspec.json.format(msgspec.json.encode(answer)) + b"\n"
        # The window itself says that the disk is full.
        with suppress(WriteError):
            files.write(self._folder, self._answered, content)


def _is_settled(path: Path) -> bool:
    """Tell whether there is a file that nobody seems to write any more."""
    try:
        age_s = time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return False
    return not 0 <= age_s < _PERIOD_S
