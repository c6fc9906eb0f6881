"""The arguments of events, decoded many at once: known ones, and all those of kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

import msgspec
import polars as pl
from msgspec import Raw, Struct

from harness.readers.chrome_columns import NULL, column, joined

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
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
        self._fields: dict[str, Any] = {}
        self._structs = _structs({})
        self._parts: dict[str, list[pl.Series]] = {}
        self._rows = 0
        self._crowded: set[str] = set()

    @property
    def bad(self) -> int:
        """How many arguments were no object."""
        return self._dicts.bad

    @property
    def left_out(self) -> int:
        """How many names have no column, since there are too many."""
        return len(self._crowded)

    def of(self, raws: Sequence[Raw]) -> dict[str, list[Any]]:
        """Decode those of some events: the values of each name, None where it is not told.

        Lists may stay `Raw`: as they are written.
        """
        values = self._values(raws)
        if values is None:
            dicts = self._dicts.of(raws)
            self._learn(dicts)
            values = self._values(raws)
            if values is None:
                values = {name: [each.get(name) for each in dicts] for name in self._fields}
        return values

    def _values(self, raws: Sequence[Raw]) -> dict[str, list[Any]] | None:
        try:
            found = self._structs.decode(b"[%b]" % b",".join(raws))
        except UNREADABLE:
            return None
        return {
            name: list(map(attrgetter(_FIELD % place), found))
            for place, name in enumerate(self._fields)
        }

    def _learn(self, dicts: Sequence[Mapping[str, Any]]) -> None:
        for each in dicts:
            for name, value in each.items():
                if name not in self._fields:
                    if len(self._fields) >= _MAX_COLUMNS:
                        self._crowded.add(name)
                        continue
                    self._fields[name] = Any
                if isinstance(value, list):
                    self._fields[name] = Raw
        self._structs = _structs(self._fields)

    def keep(self, values: Mapping[str, list[Any]], known: pl.Series) -> None:
        """Add to the columns those rows of `values` that `known` is true for."""
        rows = int(known.sum())
        for name, each in values.items():
            found = column(each)
            part = found if rows == len(found) else found.filter(known)
            self._parts.setdefault(name, [_nothing(self._rows)]).append(part)
        for name, parts in self._parts.items():
            if name not in values:
                parts.append(_nothing(rows))
        self._rows += rows

    def columns(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.DataFrame({name: joined(parts) for name, parts in self._parts.items()})


def _nothing(rows: int) -> pl.Series:
    return pl.repeat(None, rows, dtype=pl.Null(), eager=True)


def _structs(fields: Mapping[str, Any]) -> msgspec.json.Decoder[list[Any]]:
    """Return a decoder of structs that refuses any other name."""
    kind = msgspec.defstruct(
        "Arguments",
        [
            (_FIELD % place, each, NULL if each is Raw else None)
            for place, each in enumerate(fields.values())
        ],
        rename={_FIELD % place: name for place, name in enumerate(fields)},
        gc=False,
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(list[kind])
