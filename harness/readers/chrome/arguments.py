"""The arguments of events, decoded many at once: known ones, and all those of kernels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
import polars as pl
from msgspec import Raw

from harness.readers.cells import Codes
from harness.readers.chrome.columns import NULL, coded, column, gathered, joined

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNSPEAKABLE: Final = re.compile(r'[\\"\x00-\x1f\ud800-\udfff]')
"""What msgspec allows in no name of a field."""
_MAX_COLUMNS: Final = 256
_FIELD: Final = "f%d"

T = TypeVar("T")


class Known(Generic[T]):
    """Decodes the arguments of many events into a struct; of one that is broken, nothing."""

    def __init__(self, kind: Any, nothing: Callable[[], T]) -> None:
        """Take the struct, and what makes an empty one."""
        self._many = msgspec.json.Decoder(list[kind | None])
        self._one = msgspec.json.Decoder(kind | None)
        self._nothing = nothing
        self.bad = 0
        """How many arguments were no object."""

    def of(self, raws: Sequence[Raw]) -> list[T]:
        """Decode them, one by one if together they cannot be."""
        try:
            found = self._many.decode(b"[%b]" % b",".join(raws))
        except UNREADABLE:
            found = [self._single(raw) for raw in raws]
        nothing = self._nothing()
        return [nothing if each is None else each for each in found]

    def _single(self, raw: Raw) -> T | None:
        try:
            found: T | None = self._one.decode(raw)
        except UNREADABLE:
            self.bad += 1
            return None
        return found


class Every:
    """All arguments of some kind of events, as columns, whatever they are called.

    Structs are decoded in half the time that dictionaries take; but what is not among their fields
    has to be learned from dictionaries first.
    """

    def __init__(self) -> None:
        """Start without names."""
        self._dicts = Known[dict[str, Any]](dict[str, Any], dict)
        self._lists: dict[str, Codes | None] = {}
        self._structs = _structs({})
        self._pending: dict[str, list[Any]] = {}
        self._waiting = 0
        self._parts: dict[str, list[pl.Series]] = {}
        self._rows = 0
        self._crowded: set[str] = set()

    @property
    def bad(self) -> int:
        """How many arguments were no object."""
        return self._dicts.bad

    @property
    def left_out(self) -> int:
        """How many names have no column: there are too many, or none could be called so."""
        return len(self._crowded)

    def of(self, raws: Sequence[Raw]) -> dict[str, list[Any]]:
        """Decode those of some events: the values of each name, None where it is not told.

        What was once a list is, under that name, the number of its text.
        """
        values = self._values(raws)
        if values is not None:
            return values
        dicts = self._dicts.of(raws)
        self._learn(dicts)
        values = self._values(raws)
        if values is not None:
            return values
        values = {name: [each.get(name) for each in dicts] for name in self._lists}
        for name, codes in self._lists.items():
            if codes is not None:
                values[name] = [codes[_text(each)] for each in values[name]]
        return values

    def _values(self, raws: Sequence[Raw]) -> dict[str, list[Any]] | None:
        try:
            found = self._structs.decode(b"[%b]" % b",".join(raws))
        except UNREADABLE:
            return None
        columns = zip(*map(msgspec.structs.astuple, found), strict=True)
        return {
            name: list(each) if codes is None else coded(codes, each)
            for (name, codes), each in zip(self._lists.items(), columns, strict=True)
        }

    def _learn(self, dicts: Sequence[Mapping[str, Any]]) -> None:
        for each in dicts:
            for name, value in each.items():
                if name not in self._lists:
                    if len(self._lists) >= _MAX_COLUMNS or _UNSPEAKABLE.search(name):
                        self._crowded.add(name)
                        continue
                    self._lists[name] = None
                if isinstance(value, list) and self._lists[name] is None:
                    codes = self._lists[name] = Codes()
                    if name in self._pending:
                        self._pending[name] = [codes[_text(v)] for v in self._pending[name]]
        self._structs = _structs(self._lists)

    def keep(self, values: Mapping[str, list[Any]], rows: int) -> None:
        """Take the values of some rows, to be columns later."""
        for name, each in values.items():
            if name not in self._pending:
                self._pending[name] = self._absent(name, self._waiting)
            self._pending[name] += each
        self._waiting += rows
        for name in self._pending.keys() - values.keys():
            self._pending[name] += self._absent(name, rows)

    def _absent(self, name: str, rows: int) -> list[Any]:
        codes = self._lists[name]
        return [None if codes is None else codes["null"]] * rows

    def take(self, known: pl.Series) -> None:
        """Make columns of those rows since the last time that `known` is true for."""
        rows = int(known.sum())
        for name, pending in self._pending.items():
            codes = self._lists[name]
            found = column(pending) if codes is None else gathered(pending, codes)
            part = found if rows == len(found) else found.filter(known)
            self._parts.setdefault(name, [_nothing(self._rows)]).append(part)
            pending.clear()
        self._rows += rows
        self._waiting = 0

    def columns(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.DataFrame({name: joined(parts) for name, parts in self._parts.items()})


def _nothing(rows: int) -> pl.Series:
    return pl.repeat(None, rows, dtype=pl.Null(), eager=True)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _structs(lists: Mapping[str, Codes | None]) -> msgspec.json.Decoder[list[Any]]:
    """Return a decoder of structs that refuses any other name."""
    kind = msgspec.defstruct(
        "Arguments",
        [
            (_FIELD % place, Any, None) if codes is None else (_FIELD % place, Raw, NULL)
            for place, codes in enumerate(lists.values())
        ],
        rename={_FIELD % place: name for place, name in enumerate(lists)},
        gc=False,
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
