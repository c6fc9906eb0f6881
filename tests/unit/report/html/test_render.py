"""A page as one file: all inside, all text as text, numbers as they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.html.figure import Bars, Flame, Frame, Heat, Series
from harness.report.html.page import Link, Page, Part, Tile, page_of
from harness.report.html.render import POLICY, html
from harness.report.section import Column, Command, Section
from tests.support.pages import Document

EVIL = "</script><img src=x onerror=alert(1)>\"'&amp;\x1b[31m\u202e"
TABLE = Section(
    title="Operators",
    columns=(Column("name", "name"), Column("time", "ns"), Column("share", "share")),
    rows=(("mm", 1_234_567, 0.75), ("add", None, 0.25)),
    notes=("a note", Command(purpose="next", line="python -m harness")),
)


def document(*contents: Section | Bars | Flame | Heat, absent: str = "") -> Document:
    part = Part(title="A part", contents=contents, absent=absent)
    return Document(html(Page(title="A title", parts=(part,))))


def test_a_table_keeps_its_numbers_and_shows_them_as_the_terminal_does() -> None:
    page = document(TABLE)
    assert page.tables["Operators"] == [
        [("mm", None), ("1.23 ms", "1234567"), ("75.0%", "0.75")],
        [("add", None), ("–", None), ("25.0%", "0.25")],
    ]
    assert "a note" in page.texts["li"]
    assert page.texts["pre"] == "python -m harness"


def test_nothing_is_fetched() -> None:
    content = html(page_of("A title", [TABLE]))
    page = Document(content)
    assert page.loads == []
    (policy,) = [tag for name, tag in page.tags if tag.get("http-equiv")]
    assert policy["content"] == POLICY
    assert POLICY.startswith("default-src 'none';")
    addresses = set(re.findall(rb"\w+://[\w./-]+", content))
    # The name of SVG's elements; nothing loads it.
    assert addresses == {b"http://www.w3.org/2000/svg"}
    assert not re.search(rb"@import|url\(|fetch\(|XMLHttpRequest|import\(|new Worker", content)
    assert len(content) < 100_000


def test_text_from_elsewhere_is_text_wherever_it_stands() -> None:
    section = Section(
        title=EVIL,
        columns=(Column(EVIL, "name"), Column("other")),
        rows=((EVIL, EVIL), (EVIL * 9, EVIL)),
        notes=(EVIL, Command(purpose=EVIL, line=EVIL)),
    )
    bars = Bars(title=EVIL, note=EVIL, unit="ns", labels=(EVIL,), series=(Series(EVIL, (1,)),))
    flame = Flame(title=EVIL, frames=(Frame(EVIL, -1, 1, "own"),))
    page = Page(
        title=EVIL,
        subtitle=EVIL,
        warning=EVIL,
        tiles=(Tile(EVIL, EVIL, remark=EVIL),),
        parts=(
            Part(
                title=EVIL,
                contents=(section, bars, flame),
                absent=EVIL,
                links=(Link(EVIL, EVIL),),
            ),
        ),
    )
    content = html(page)
    document = Document(content)
    assert not [named for tag, named in document.tags if tag == "img" or "onerror" in named]
    assert document.loads == []
    assert b"\x1b" not in content
    assert "\u202e" not in content.decode()
    shown = EVIL.replace("\x1b", "[U+001B]").replace("\u202e", "[U+202E]")
    assert document.texts["h1"] == shown
    assert document.figures[0]["labels"] == [shown]
    assert not {*"<>&"} & {*document.texts["json"]}
    assert content.count(b"</script>") == len([tag for tag, _ in document.tags if tag == "script"])
    assert [named["href"] for tag, named in document.tags if tag == "a"][-1] == (
        "%3C/script%3E%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%27%26amp%3B%1B%5B31m%E2%80%AE"
    )


@given(st.text())
def test_any_text_is_shown(text: str) -> None:
    section = Section(title="T", columns=(Column("a"),), rows=((text,),), notes=(text,))
    content = html(page_of("A title", [section]))
    Document(content)


def test_a_part_without_data_says_why() -> None:
    assert document(absent="nothing was recorded").texts["p"] == "nothing was recorded"


def test_a_link_leads_beside_the_page_whatever_the_name() -> None:
    part = Part(title="P", links=(Link("x", "a b/c=1,d:e/tables/x.parquet"),))
    page = Document(html(Page(title="T", parts=(part,))))
    hrefs = [named["href"] for tag, named in page.tags if tag == "a"]
    assert hrefs[-1] == "a%20b/c%3D1%2Cd%3Ae/tables/x.parquet"


@pytest.mark.parametrize(("rows", "searched", "is_sorted"), [(1, 0, 0), (8, 0, 1), (9, 1, 1)])
def test_large_tables_are_searched_and_those_of_several_rows_sorted(
    rows: int, searched: int, is_sorted: int
) -> None:
    section = Section(title="T", columns=(Column("a"),), rows=(("x",),) * rows)
    page = document(section)
    assert sum(tag == "input" for tag, _ in page.tags) == searched
    assert sum(tag == "button" and "id" not in named for tag, named in page.tags) == is_sorted


def test_contents_lead_to_each_part() -> None:
    parts = (Part(title="One: a"), Part(title="One: a"), Part(title="日本"))
    page = Document(html(Page(title="T", parts=parts)))
    ids = [named["id"] for tag, named in page.tags if tag == "section"]
    assert len({*ids}) == 3
    hrefs = [str(named["href"])[1:] for tag, named in page.tags if tag == "a"]
    assert hrefs == ["content", *map(str, ids)]


def test_a_page_of_sections_has_a_part_for_each() -> None:
    bars = Bars(title="Drawn", unit="ns", labels=("a",), series=(Series("s", (7,)),))
    page = page_of("Compared", [TABLE, Section(title="Notes", notes=("n",))], [bars])
    assert [part.title for part in page.parts] == ["Operators", "Notes"]
    assert page.parts[0].contents == (bars, TABLE)
    assert Document(html(page)).figure("Drawn")["series"] == [{"name": "s", "values": [7]}]
