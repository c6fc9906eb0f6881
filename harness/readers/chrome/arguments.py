"""Decode the arguments of many events at once: known ones, and all arguments of kernels."""

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
"""The characters that msgspec allows in no field name."""
_MAX_COLUMNS: Final = 256
_FIELD: Final = "f%d"

T = TypeVar("T")


class KnownArguments(Generic[T]):
    """Decodes the arguments of many events into structs; broken arguments become an empty one."""

    def __init__(self, kind: Any, nothing: Callable[[], T]) -> None:
        """Take the struct, and a function that makes an empty one."""
        self._many = msgspec.json.Decoder(list[kind | None])
        self._one = msgspec.json.Decoder(kind | None)
        self._nothing = nothing
        self.bad = 0
        """How many arguments were no object."""

    def of(self, raws: Sequence[Raw]) -> list[T]:
        """Decode them, one by one if together they cannot be."""
        try:
            decoded = self._many.decode(b"[%b]" % b",".join(raws))
        except UNREADABLE:
            decoded = [self._single(raw) for raw in raws]
        nothing = self._nothing()
        return [nothing if arguments is None else arguments for arguments in decoded]

    def _single(self, raw: Raw) -> T | None:
        try:
            arguments: T | None = self._one.decode(raw)
        except UNREADABLE:
            self.bad += 1
            return None
        return arguments


class AllArguments:
    """All arguments of some kind of events, as columns, whatever their names.

    Structs decode in half the time of dictionaries, but a name that is not yet one of their fields
    has to be learned from dictionaries first.
    """

    def __init__(self) -> None:
        """Start without names."""
        self._dicts = KnownArguments[dict[str, Any]](dict[str, Any], dict)
        self._lists: dict[str, Codes | None] = {}
        self._structs = _structs({})
        self._pending: dict[str, list[Any]] = {}
        self._pending_rows = 0
        self._parts: dict[str, list[pl.Series]] = {}
        self._rows = 0
        self._crowded: set[str] = set()

    @property
    def bad(self) -> int:
        """How many arguments were no object."""
        return self._dicts.bad

    @property
    def left_out(self) -> int:
        """How many names have no column: there are too many, or they cannot be field names."""
        return len(self._crowded)

    def of(self, raws: Sequence[Raw]) -> dict[str, list[Any]]:
        """Decode the arguments of some events: the values of each name, None where it is absent.

        Once a name had a list as its value, its values are the numbers of their texts.
        """
        values = self._values(raws)
        if values is not None:
            return values
        dicts = self._dicts.of(raws)
        self._learn(dicts)
        values = self._values(raws)
        if values is not None:
            return values
        values = {name: [arguments.get(name) for arguments in dicts] for name in self._lists}
        for name, codes in self._lists.items():
            if codes is not None:
                values[name] = [codes[_text(value)] for value in values[name]]
        return values

    def _values(self, raws: Sequence[Raw]) -> dict[str, list[Any]] | None:
        try:
            structs = self._structs.decode(b"[%b]" % b",".join(raws))
        except UNREADABLE:
            return None
        columns = zip(*map(msgspec.structs.astuple, structs), strict=True)
        return {
            name: list(values) if codes is None else coded(codes, values)
            for (name, codes), values in zip(self._lists.items(), columns, strict=True)
        }

    def _learn(self, dicts: Sequence[Mapping[str, Any]]) -> None:
        for arguments in dicts:
            for name, value in arguments.items():
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
        """Keep the values of some rows until `take` makes columns of them."""
        for name, column_values in values.items():
            if name not in self._pending:
                self._pending[name] = self._absent(name, self._pending_rows)
            self._pending[name] += column_values
        self._pending_rows += rows
        for name in self._pending.keys() - values.keys():
            self._pending[name] += self._absent(name, rows)

    def _absent(self, name: str, rows: int) -> list[Any]:
        codes = self._lists[name]
        return [None if codes is None else codes["null"]] * rows

    def take(self, complete: pl.Series) -> None:
        """Make columns of the rows kept since the last call for which `complete` is true."""
        rows = int(complete.sum())
        for name, pending in self._pending.items():
            codes = self._lists[name]
            values = column(pending) if codes is None else gathered(pending, codes)
            part = values if rows == len(values) else values.filter(complete)
            self._parts.setdefault(name, [_nothing(self._rows)]).append(part)
            pending.clear()
        self._rows += rows
        self._pending_rows = 0

    def columns(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.DataFrame({name: joined(parts) for name, parts in self._parts.items()})


def _nothing(rows: int) -> pl.Series:
    return pl.repeat(None, rows, dtype=pl.Null(), eager=True)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _structs(lists: Mapping[str, Codes | None]) -> msgspec.json.Decoder[list[Any]]:
    """Return a decoder of structs that refuses any unknown name."""
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
