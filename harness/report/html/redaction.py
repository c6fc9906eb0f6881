"""A page for others: without host, user, paths, source lines and the command."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import polars as pl
from msgspec.structs import replace

from harness.capture.run_record import RunRecord
from harness.report.html.configuration import TITLE
from harness.report.html.page import Page, Part, mapped
from harness.report.html.run import Shown

LEFT_OUT: Final = "(left out)"
_WHY: Final = "left out by --redact"
_PRIVATE: Final = (
    *("name", "workload.target", "workload.script", "workload.module", "workload.args"),
    *("workload.kwargs", "device.environment"),
)
"""Settings whose values a user chooses freely."""
_CODE: Final = ("file", "line", "function", "text", "frames")
"""Columns that hold source code, or say where it is."""
_WORD: Final = re.compile(r"[\w.+-]{0,40}", re.ASCII)
_REST: Final = r"[^\s:,;'\"`()\[\]|<>]+"
_PLACE: Final = r"(?:\(\d+\)(?:: ?\S+)?|:\d+)?"
"""The line, and the function, that may follow a path."""
_PATH: Final = re.compile(
    rf"(?:file://)?(?<![\w.)\]])(?:~|\.\.?)?/(?=[\w.~-]){_REST}{_PLACE}"
    rf"|(?<!\w)(?:[A-Za-z]:|\\)\\{_REST}{_PLACE}"
)
"""An absolute path, also of Windows, or one that begins with the folder it is relative to."""
_SOURCE: Final = re.compile(
    # It begins where a word does, so that a long name is looked through once.
    rf"(?<![^\s'\"(),;])[^\s'\"(),;]+\.(?:pyx?|ipynb|yaml|sh)\b{_PLACE}"
)
"""A file of source or configuration, whose path is relative."""


def redacted(shown: Shown) -> Shown:
    """Return what the page of a run is made from, without what is private.

    Left out are the host, the command and the program, settings with texts of a user's own, the
    stacks, and the functions. `redacted_page` must follow, for paths within texts.
    """
    record = shown.record
    requested = {name: _value(name, value) for name, value in record.requested.items()}
    private = {
        "host": LEFT_OUT,
        "overrides": (),
        "program": None,
        "source": LEFT_OUT if record.source else "",
        "requested": requested,
        "effective": {name: _value(name, value) for name, value in record.effective.items()},
    }
    results = replace(
        shown.results,
        record=replace(record, **private),
        analyses=_without_code(shown.results.analyses),
        folder=LEFT_OUT,
    )
    tables = None if shown.tables is None else _without_code(shown.tables)
    return replace(shown, results=results, tables=tables)


def _without_code(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return tables whose columns of source code are null; without rows where that is the key."""
    public = {}
    for name, table in tables.items():
        private = [column for column in table.columns if column in _CODE]
        nulled = table.with_columns(
            pl.lit(None, table.schema[column]).alias(column) for column in private
        )
        public[name] = nulled.clear() if table.columns[:1] == private[:1] else nulled
    return public


def _value(name: str, value: Any) -> Any:
    if name.startswith(_PRIVATE) or (isinstance(value, str) and not _WORD.fullmatch(value)):
        return LEFT_OUT
    return value


def redacted_page(page: Page, secrets: Sequence[str]) -> Page:
    """Return a page without commands and links, and with no path or secret in any of its texts.

    Args:
        page: Of a run, made from what `redacted` returns; or of a sweep, or of merged runs.
        secrets: Texts that may stand nowhere, as those of `secrets_of`.
    """
    words = [re.escape(text) for text in sorted({*secrets} - {""}, key=len, reverse=True)]
    named = re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])") if words else None

    def scrubbed(text: str) -> str:
        for pattern in (named, _PATH, _SOURCE):
            text = pattern.sub(LEFT_OUT, text) if pattern else text
        return text

    parts = tuple(_public(part) for part in page.parts)
    return mapped(replace(page, subtitle="", parts=parts), scrubbed)


def secrets_of(records: Sequence[RunRecord], folder: Path) -> list[str]:
    """Return the texts that would tell who made a run, and where."""
    secrets = [record.host for record in records]
    secrets += [str(folder), str(folder.resolve()), str(Path.cwd())]
    secrets += [record.program.source for record in records if record.program]
    for record in records:
        settings = record.requested.items()
        secrets += _texts([value for name, value in settings if name.startswith(_PRIVATE[1:])])
    if os.getuid():
        # In a container, the system may know neither of its user.
        with suppress(RuntimeError):
            secrets.append(str(Path.home()))
        with suppress(KeyError, OSError):
            secrets.append(getpass.getuser())
    return [text for text in secrets if len(text) > 1]


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts and numbers in a value of a setting; the names in it are no secrets."""
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _public(part: Part) -> Part:
    """Return a part without links and commands; of the command's part, tables alone."""
    if part.title in {"Command", TITLE}:
        tables = [each for each in part.contents if getattr(each, "rows", ())]
        part = replace(part, contents=tuple(tables), absent=f"the command is {_WHY}")
    elif part.title == "Code":
        part = replace(part, contents=(), absent=f"stacks and functions are {_WHY}")
    return replace(part, links=(), pages=())
