"""Decode a JSON list of objects chunk by chunk into typed structs: a whole file, or a part of one.

A chunk ends where an object of the list ends. No parser of our own has to confirm that place: if
the text up to it, closed with a bracket, is a JSON list, then an object ended there, since a parser
of the whole file is in the same state at that place.

Text that is not quite JSON (a NaN, a lone backslash, a byte that is not UTF-8) is mended first, see
`harness.readers.almost_json`. What still is none (an unescaped quote, half of a surrogate pair), an
event of an unexpected type, and the end of a truncated file are decoded one object at a time, which
is slow and rare: an object that cannot be read is left out, and reading goes on at the next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from harness.readers.almost_json import mended
from harness.readers.base import CaptureError

CHUNK_BYTES: Final = 4 << 20
BESIDE_BYTES: Final = 16 << 20
"""The most that may stand before the list in its object, and after it."""
_CLOSINGS: Final = 8
_CHUNKS_WITHOUT_END: Final = 16
_INDENT: Final = 64
_SHOWN: Final = 5

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
_LIST: Final = re.compile(rb"\s*:\s*\[")
_BETWEEN: Final = re.compile(r"[ \t\r\n,]*")
_NEXT: Final = re.compile(r"\}\s*,\s*(?=\{\s*\"\w)")
"""Between two events, wherever the quotes before it may have gone wrong."""
_NO_EVENT: Final = re.compile(r"[^{\]]+")
_ESCAPED: Final = 8
"""Characters; a word or an escape that is cut off is no longer than that."""
_NAMED: Final = 60
_NAME: Final = re.compile(rb'"name"\s*:\s*[^\r\n]{0,60}')
_MEMBERS: Final = b" \t\r\n,"
_TRUNCATED: Final = "Input data was truncated"
"""What msgspec says."""
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_PARSER: Final = json.JSONDecoder(strict=False)

T = TypeVar("T")


class Source(Protocol):
    """A stream of bytes."""

    def read(self, count: int, /) -> bytes:
        """Return at most `count` bytes; none at the end."""


class EventFile(Generic[T]):
    """The events of a file, read once from start to end."""

    def __init__(
        self,
        file: Source,
        name: str,
        kind: type[T],
        chunk_bytes: int = CHUNK_BYTES,
        *,
        key: str | None = None,
    ) -> None:
        """Take an open file, its name in notes, and the struct of an event.

        With a key, the file is an object that has the list under that key.
        """
        self._key = key and json.dumps(key).encode()
        self._before, self._after = b"", b""
        self._file, self._name, self._kind, self._size = file, name, kind, chunk_bytes
        self._decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(kind)
        self._pending = b""
        self._at = 0  # the place of `_pending` in the file
        self._enough = 0  # bytes
        self._bad = 0
        self._ended = False
        self.notes: list[str] = []
        """What could not be read, and where; complete after the last chunk."""

    def chunks(self) -> Iterator[list[T]]:
        """Yield the events, some thousands at a time. Raises CaptureError if this is no list."""
        self._open()
        while not self._ended and (block := self._file.read(self._size)):
            self._pending += block
            yield self._complete()
        if not self._ended:
            yield self._rest()
        if self._key:
            self._after += self._file.read(BESIDE_BYTES)
        if self._bad > _SHOWN:
            self.notes.append(
                f"{self._name}: {self._bad} events were skipped; the first {_SHOWN} are listed"
            )

    def beside(self) -> dict[str, Any]:
        """Return the other members of the list's object; call it after the last chunk."""
        if not self._before:  # the file is a list
            return {}
        cut_off = any("cut off" in note for note in self.notes)
        for text in (b"%b]%b" % (self._before, self._after), b"%b]}" % self._before):
            members = _loaded(text)
            if isinstance(members, dict):
                return members
            if not cut_off:
                self.notes.append(f"{self._name}: the text after its events is broken")
        return {}

    def _open(self) -> None:
        while not self._pending.strip():
            self._at += len(self._pending)
            self._pending = self._file.read(self._size)
            if not self._pending:
                raise CaptureError(f"{self._name}: the file is empty")
        text = self._pending.removeprefix(b"\xef\xbb\xbf").lstrip()
        if self._key and text.startswith(b"{"):
            self._drop(len(self._pending) - len(text))
            self._enter(self._key)
            return
        if not text.startswith(b"["):
            raise CaptureError(f"{self._name}: no list of events: begins with {text[:20]!r}")
        self._drop(len(self._pending) - len(text) + 1)

    def _enter(self, key: bytes) -> None:
        """Skip the members of the object before its list."""
        while (begin := _opening(self._pending, key)) is None:
            block = self._file.read(max(self._size, CHUNK_BYTES))
            if not block or len(self._pending) > BESIDE_BYTES:
                raise CaptureError(f"{self._name}: no list {key.decode()} in its object")
            self._pending += block
        self._before = self._pending[:begin]
        self._drop(begin)

    def _drop(self, count: int) -> None:
        self._at += count
        self._pending = self._pending[count:]

    def _complete(self) -> list[T]:
        """Decode the whole objects read so far."""
        if len(self._pending) < self._enough:
            return []
        most = _CHUNKS_WITHOUT_END * max(self._size, CHUNK_BYTES)
        border = _border(self._pending)
        if border is None:
            return self._rest() if len(self._pending) > most else []
        end, following = border
        whole = b"".join((b"[", memoryview(self._pending)[:end], b"]"))
        events = self._many(whole)
        if events is None:
            events = self._one_by_one()
            if not events and not self._ended:
                # An object without end: each look at it takes as long as it is.
                self._enough = min(2 * len(self._pending), most + 1)
                return self._rest() if len(self._pending) > most else []
        else:
            self._drop(following)
        self._enough = 0
        return events

    def _many(self, text: bytes) -> list[T] | None:
        """Decode a list of objects, mended if it has to be; None if some cannot be read."""
        try:
            return self._decoder.decode(text)
        except _UNREADABLE as error:
            if str(error) == _TRUNCATED:  # nothing to mend
                return None
        try:
            return self._decoder.decode(mended(text))
        except _UNREADABLE:
            return None

    def _rest(self) -> list[T]:
        """Decode the rest of the file."""
        for end in _closings(self._pending) if self._key else (len(self._pending),):
            events = self._many(b"[" + self._pending[:end])
            if events is None:
                continue
            self._ended, self._after = True, self._pending[end:]
            return events
        events = self._one_by_one()
        if not self._ended and (end := self._end_of_object()):
            # The last object cannot be read, and what follows the list can.
            events += self._decoded(self._pending[: end - 1], 0)
            self._ended, self._after = True, self._pending[end:]
        if not self._ended:
            self._ended = True
            self._drop(len(self._pending) - len(self._pending.lstrip(_MEMBERS)))
            # torch_npu never closes the list where CANN's data gave it nothing to add.
            closed = "" if self._key or self._pending else ", or never closed"
            self.notes.append(f"{self._name}: cut off at byte {self._at}{closed}")
        return events

    def _end_of_object(self) -> int:
        """Return where the list ends, by the members that follow it in its object; else 0."""
        if not self._key or not self._pending.startswith(b"{"):
            return 0
        ends = [
            end
            for end in _closings(self._pending)
            if _loaded(b"{" + self._pending[end:].lstrip(_MEMBERS)) is not None
        ]
        return min(ends, default=0)

    def _one_by_one(self) -> list[T]:
        """Decode object by object; one that cannot be read ends where the next begins."""
        events: list[T] = []
        # One character for each byte, so that places are those of the file.
        text = self._pending.decode("latin-1")
        place = _matched(_BETWEEN, text, 0)
        while place < len(text) and text[place] != "]":
            if text[place] != "{":
                following = _matched(_NO_EVENT, text, place)
                if following == len(text):
                    break
                self._left_out(
                    place, f"not an event: {self._pending[place:following].strip()[:20]!r}"
                )
                place = following
                continue
            end = _end(text, place)
            if end is None:
                break  # it may end in the next chunk
            if end == place:
                border = _NEXT.search(text, place)
                if border is None:
                    break
                end, following = border.start() + 1, border.end()
            else:
                following = _matched(_BETWEEN, text, end)
            events += self._decoded(self._pending[place:end], place)
            place = following
        if place < len(text) and text[place] == "]":
            self._ended, self._after = True, self._pending[place + 1 :]
        self._drop(place)
        return events

    def _decoded(self, text: bytes, place: int) -> list[T]:
        for candidate in (text, mended(text)):
            try:
                return [self._one.decode(candidate)]
            except _UNREADABLE:
                continue
        try:
            # Python's parser accepts half of a surrogate pair, which becomes "?".
            value = json.loads(mended(text), strict=False)
        except (ValueError, RecursionError):
            name = _NAME.search(text)
            shown = (name[0] if name else text[:_NAMED]).decode(errors="replace")
            self._left_out(place, f"an event that is no JSON is left out: {shown}")
            return []
        plain = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        try:
            return [self._one.decode(plain)]
        except _UNREADABLE as error:
            self._left_out(place, str(error))
        return []

    def _left_out(self, place: int, reason: str) -> None:
        self._bad += 1
        if self._bad <= _SHOWN:
            self.notes.append(f"{self._name}: at byte {self._at + place}: {reason}")


def _loaded(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a text is, mended if it has to be; None if it is none."""
    for candidate in (text, mended(text)):
        try:
            members = json.loads(candidate.decode(errors="replace"))
        except (ValueError, RecursionError):
            continue
        return members if isinstance(members, dict) else None
    return None


def _matched(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Return the place after what matches a pattern at a place; the place if nothing does."""
    match = pattern.match(text, place)
    return match.end() if match else place


def _end(text: str, place: int) -> int | None:
    """Return where the value at a place ends; the place itself if it is no JSON.

    None if it is the beginning of some.
    """
    try:
        return _PARSER.raw_decode(text, place)[1]
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text) - _ESCAPED or error.msg.startswith("Unterminated")
        return None if cut else place
    except RecursionError:
        return place


def _opening(data: bytes, key: bytes) -> int | None:
    """Return where the list under a key of the outermost object begins, after its bracket."""
    depth = 0
    for token in _TOKEN.finditer(data):
        what = token[0]
        if what == b'"':  # has no end yet
            break
        if what in b"[{":
            depth += 1
        elif what in b"]}":
            depth -= 1
        elif depth == 1 and what == key and (bracket := _LIST.match(data, token.end())):
            return bracket.end()
    return None


def _closings(data: bytes) -> Iterator[int]:
    """Yield the last places where the list may have ended, after its bracket."""
    end = len(data)
    for _ in range(_CLOSINGS):
        end = data.rfind(b"]", 0, end)
        if end < 0:
            break
        yield end + 1


def _border(data: bytes) -> tuple[int, int] | None:
    """Return the end of the last object that is followed by another, and the start of that one."""
    following = len(data)
    while (following := data.rfind(b"{", 0, following)) > 0:
        before = data[max(0, following - _INDENT) : following]
        objects, comma, blanks = before.rpartition(b",")
        if comma and not blanks.strip() and objects.rstrip().endswith(b"}"):
            return following - len(before) + len(objects.rstrip()), following
    return None
