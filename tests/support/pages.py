"""What stands in a page, taken apart by the rules of HTML alone."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Final

import msgspec

_VOID: Final = {"meta", "input", "br", "link", "img", "hr"}


class Document(HTMLParser):
    """The elements of a page: what it loads, its tables with raw values, its figures."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        """By the name of the table, its rows: of each cell the text and the raw value."""
        self.texts: dict[str, str] = {}
        """All text that stands in elements of one kind."""
        self._open: list[str] = []
        self._table = ""
        self._figures = ""
        self.feed(content.decode())
        assert not self._open, self._open
        self.figures: list[dict[str, Any]] = msgspec.json.decode(self._figures)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append((tag, named))
        if tag in _VOID:
            return
        self._open.append("json" if named.get("type") == "application/json" else tag)
        if named.get("role") == "region":
            self._table = named["aria-label"] or ""
            self.tables[self._table] = []
        elif tag == "tr" and "tbody" in self._open:
            self.tables[self._table].append([])
        elif tag == "td":
            self.tables[self._table][-1].append(("", named.get("data-v")))

    def handle_endtag(self, tag: str) -> None:
        last = self._open.pop()
        assert last in {tag, "json"}, (last, tag)

    def handle_data(self, data: str) -> None:
        inner = self._open[-1] if self._open else ""
        self.texts[inner] = self.texts.get(inner, "") + data
        if inner == "json":
            self._figures += data
        elif inner == "td":
            text, raw = self.tables[self._table][-1][-1]
            self.tables[self._table][-1][-1] = (text + data, raw)

    def column(self, table: str, place: int) -> list[float]:
        """Return the raw values of a column."""
        return [float(row[place][1] or "nan") for row in self.tables[table]]

    def texts_of(self, table: str, place: int) -> list[str]:
        """Return the texts of a column."""
        return [row[place][0] for row in self.tables[table]]

    def figure(self, title: str) -> dict[str, Any]:
        """Return the values of a figure."""
        (found,) = [figure for figure in self.figures if figure["title"] == title]
        return found

    @property
    def loads(self) -> list[str]:
        """Addresses from which a browser would fetch something by itself."""
        names = ("src", "srcset", "data", "poster", "action", "background")
        found = [str(named[name]) for _, named in self.tags for name in names if name in named]
        return found + [str(named.get("href")) for tag, named in self.tags if tag == "link"]
