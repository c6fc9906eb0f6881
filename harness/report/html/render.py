"""A page as one HTML file: everything is inside, all text is escaped, and nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from harness.report.html.figure import AnyFigure, Figure
from harness.report.html.page import Link, Page, Part, Tile, mapped
from harness.report.section import Column, Command, Note, Section, Value
from harness.report.units import FORMATTERS, cells
from harness.text import one_line, visible

POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
)
"""What a browser may load: nothing but what stands in the file."""
_STYLE: Final = ("page.css",)
_FIRST: Final = ("theme.js",)
_SCRIPT: Final = ("draw.js", "charts.js", "flame.js", "page.js")
_SEARCHED: Final = 8
"""Rows above which a table has a field to search it."""
_SORTED: Final = 1
"""Rows above which a table can be sorted."""


def html(page: Page) -> bytes:
    """Render a page as one file of HTML, in UTF-8."""
    drawn: list[AnyFigure] = []
    parts = "".join(_part(part, number, drawn) for number, part in enumerate(page.parts))
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            '<meta name="referrer" content="no-referrer">\n',
            f"<title>{_text(page.title)}</title>\n",
            f"<style>{_own(_STYLE)}</style>\n<script>{_own(_FIRST)}</script>\n</head>\n<body>\n",
            '<a class="skip" href="#content">Skip to the content</a>\n',
            _header(page),
            _contents(page),
            f'<main id="content" tabindex="-1">\n{_tiles(page.tiles)}{parts}</main>\n',
            f'<script type="application/json" id="figures">{_json(drawn)}</script>\n',
            f"<script>{_own(_SCRIPT)}</script>\n</body>\n</html>\n",
        )
    ).encode(errors="backslashreplace")


@cache
def _own(names: tuple[str, ...]) -> str:
    """Return our own style or script, from the files beside this one."""
    here = Path(__file__)
    return "\n".join(here.with_name(name).read_text(encoding="utf-8") for name in names)


def _text(text: str) -> str:
    return escape(visible(text))


def _line(text: str) -> str:
    return escape(one_line(text))


def _json(figures: Sequence[AnyFigure]) -> str:
    """Return the figures' values; no character can end the element that they stand in."""
    text = msgspec.json.encode([mapped(figure, visible) for figure in figures]).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _header(page: Page) -> str:
    subtitle = f"<p>{_text(page.subtitle)}</p>" if page.subtitle else ""
    warning = f'<p class="warning" role="note">{_text(page.warning)}</p>' if page.warning else ""
    return (
        f"<header><div><h1>{_text(page.title)}</h1>{subtitle}</div>"
        '<button type="button" id="theme" aria-pressed="false">Dark</button></header>\n' + warning
    )


def _contents(page: Page) -> str:
    items = "".join(
        f'<li><a href="#{_anchor(part, number)}">{_text(part.title)}</a></li>'
        for number, part in enumerate(page.parts)
    )
    return f'<nav aria-label="Parts of this page"><ul>{items}</ul></nav>\n'


def _anchor(part: Part, number: int) -> str:
    words = re.findall(r"[a-z0-9]+", part.title.lower())
    return f"p{number}-{'-'.join(words[:4])}"


def _tiles(tiles: Sequence[Tile]) -> str:
    if not tiles:
        return ""
    return f'<div class="tiles">{"".join(map(_tile, tiles))}</div>\n'


def _tile(tile: Tile) -> str:
    value = "–" if tile.value is None else FORMATTERS[tile.unit](tile.value)
    remark = f"<small>{_text(tile.remark)}</small>" if tile.remark else ""
    raw = _raw(tile.value)
    return (
        f'<div class="tile {tile.tone}"{raw}><span>{_text(tile.name)}</span>'
        f"<strong>{_text(value)}</strong>{remark}</div>"
    )


def _part(part: Part, number: int, drawn: list[AnyFigure]) -> str:
    anchor = _anchor(part, number)
    contents = "".join(
        _figure(content, drawn) if isinstance(content, Figure) else _section(content, part.title)
        for content in part.contents
    )
    absent = f'<p class="absent">{_text(part.absent)}</p>' if part.absent else ""
    more = _links("All rows", part.links) + _links("Pages", part.pages)
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-h"><h2 id="{anchor}-h">'
        f"{_text(part.title)}</h2>\n{contents}{absent}{more}</section>\n"
    )


def _links(title: str, links: Sequence[Link]) -> str:
    if not links:
        return ""
    items = ", ".join(
        f'<a href="{escape(quote(link.path))}">{_text(link.text)}</a>' for link in links
    )
    return f'<p class="links">{title}: {items}</p>'


def _figure(figure: AnyFigure, drawn: list[AnyFigure]) -> str:
    drawn.append(figure)
    note = f"<p>{_text(figure.note)}</p>" if figure.note else ""
    return (
        f'<figure data-figure="{len(drawn) - 1}"><figcaption><h3>{_text(figure.title)}</h3>{note}'
        "</figcaption><noscript>Drawn by the script of this page, which is switched off."
        "</noscript></figure>\n"
    )


def _section(section: Section, above: str) -> str:
    title = "" if section.title == above else f"<h3>{_text(section.title)}</h3>\n"
    table = _table(section) if section.rows else ""
    notes = "".join(map(_note, section.notes))
    return f"{title}{table}{f'<ul class=notes>{notes}</ul>' if notes else ''}\n"


def _note(note: Note) -> str:
    if isinstance(note, Command):
        return f"<li>{_text(note.purpose)}:<pre>{_line(note.line)}</pre></li>"
    return f"<li>{_text(note)}</li>"


def _table(section: Section) -> str:
    columns, name = section.columns, _text(section.title)
    is_sorted = len(section.rows) > _SORTED
    search = ""
    if len(section.rows) > _SEARCHED:
        search = (
            f'<label class="search">Search <input type="search" aria-label="Search: {name}">'
            '<output aria-live="polite"></output></label>'
        )
    head = "".join(_head(column, is_sorted=is_sorted) for column in columns)
    rows = "".join(_rows(section))
    return (
        f'<div class="table">{search}<div class="scroll" tabindex="0" role="region"'
        f' aria-label="{name}"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></div>\n"
    )


def _head(column: Column, *, is_sorted: bool) -> str:
    text = _line(column.name)
    if is_sorted and text:
        text = f'<button type="button">{text}</button>'
    return f'<th scope="col" class="{column.align}">{text}</th>'


def _rows(section: Section) -> Iterator[str]:
    for values, texts in zip(section.rows, cells(section), strict=True):
        row = zip(section.columns, values, texts, strict=True)
        yield f"<tr>{''.join(_cell(*each) for each in row)}</tr>"


def _cell(column: Column, value: Value, text: str) -> str:
    classes: list[str] = [column.align, column.unit]
    attributes = _raw(value)
    if column.unit == "status":
        classes.append(str(value))
        attributes += f' aria-label="{_line(str(value))}"'
    elif column.unit == "name" and isinstance(value, str) and value != text:
        attributes += f' title="{_line(value)}"'
    elif column.unit == "share" and isinstance(value, float):
        attributes += f' style="--share:{min(max(value, 0.0), 1.0):.4f}"'
    return f'<td class="{" ".join(classes)}"{attributes}>{_text(text)}</td>'


def _raw(value: Value) -> str:
    """Return the attribute that keeps a number as it is: tables are sorted by it."""
    return f' data-v="{value!r}"' if isinstance(value, int | float) else ""
