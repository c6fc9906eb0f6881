"""Text from elsewhere shows, and does nothing else: on a terminal, in Markdown, in a shell."""

from __future__ import annotations

import shlex
import subprocess
import sys
import unicodedata
from io import StringIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from harness import text
from harness.cli.progress import ConsoleProgress, headline
from harness.errors import Problem
from harness.report.console import Console
from harness.report.markdown import markdown
from harness.report.section import Column, Command, Section
from harness.report.terminal import show

HOSTILE = (
    *("nope:factory", "mine.py:100:", "[bold red]x[/]", "[link=file:///etc]x[/link]", "a|b"),
    *("<b>bold</b>", "<script>alert(1)</script>", "&lt;", "[a](http://b.c)", "![a](b)", "[a]: b"),
    *("`code`", "**a**", "_a_", "a_b_c", "~~a~~", "$a$", "# a", "- a", "1. a", "> a", "a\\", "\\|"),
    *("void f<float>(float*, int*)", "at::native::add", "http://a.b", "www.a.b", "a@b.c", "[x] a"),
    *("\x1b[31mred", "\x1b]0;title\a", "a\rb", "a\x9bm", "a\N{RIGHT-TO-LEFT OVERRIDE}b", "\ud800"),
    *("a\nb", "a\u2028b", "\N{ZERO WIDTH SPACE}", "\N{BYTE ORDER MARK}", "\0", "===", "a\tb"),
)
"""What names from captures, files and the command line may be."""


def test_every_character_that_does_not_show_becomes_a_sign() -> None:
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for number in range(sys.maxunicode + 1):
        sign = chr(number)
        hidden = unicodedata.category(sign) in kinds and sign not in "\t\n"
        if hidden or sign in "\t\n":
            assert text.one_line(sign) == f"[U+{number:04X}]"
        if hidden:
            assert text.visible(sign) == f"[U+{number:04X}]"
        elif unicodedata.category(sign) not in {"Cn", "Co"}:
            assert text.visible(sign) == sign


def shown(*words: str, width: int = 80) -> str:
    out = StringIO()
    section = Section(
        title=words[0],
        columns=(Column(words[0]), Column("name", "name")),
        rows=tuple((word, word) for word in words),
        notes=(*words, *(Command(purpose=word, line=word) for word in words)),
    )
    show([section], Console(file=out, width=width, force_terminal=True, color_system=None))
    return out.getvalue()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_terminal_gets_text_and_no_orders(hostile: str) -> None:
    printed = shown(hostile)
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert {sign for sign in printed if unicodedata.category(sign) in kinds} == {"\n"}
    first = text.visible(hostile).split("\n")[0].split("\t")[0]
    assert first in printed


@pytest.mark.parametrize("hostile", [item for item in HOSTILE if not {"\n", "\t"} & set(item)])
def test_what_a_workload_prints_and_a_job_is_called_is_text(hostile: str) -> None:
    out = StringIO()
    console = Console(file=out, width=200, force_terminal=True, color_system=None)
    ConsoleProgress(console).output(hostile)
    headline(console, 0, 2, hostile, hostile)
    console.print(hostile)
    printed = out.getvalue()
    assert printed.count(text.visible(hostile)) + printed.count(text.one_line(hostile)) >= 4
    assert "\x1b" not in printed


def test_a_refusal_is_text_in_its_line() -> None:
    problem = Problem(setting="a\nb", given="\x1b[31m" + "9" * 5000, reason="no\x1b", fix="a\u202e")
    assert str(problem) == (
        f"a[U+000A]b=[U+001B][31m{'9' * 295}… (5,005 characters): no[U+001B].\n    fix: a[U+202E]"
    )


def tokens(source: str) -> list[Token]:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return [inner for token in parser.parse(source) for inner in (token.children or [token])]


def sources(hostile: str) -> str:
    return markdown(
        [
            Section(
                title=hostile,
                columns=(Column("first"), Column(hostile)),
                rows=((hostile, "last"),),
                notes=(hostile, Command(purpose=hostile, line=hostile)),
            )
        ]
    )


@given(
    hostile=st.one_of(
        st.text(st.sampled_from("ab1 \\`*_{}[]()<>#+-.!|~&;:/@$=\n\t\x1b\u202e"), max_size=12),
        st.sampled_from(HOSTILE),
    )
)
@example(hostile="a\\|b")
@example(hostile="\\`a`")
def test_markdown_shows_a_text_and_nothing_else(hostile: str) -> None:
    found = tokens(sources(hostile))
    allowed = {
        *("heading_open", "heading_close", "paragraph_open", "paragraph_close", "text", "inline"),
        *("table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close"),
        *("tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close", "code_inline"),
        *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
        *("html_inline", "text_special"),
    }
    assert {token.type for token in found} <= allowed
    assert {token.content for token in found if token.type == "html_inline"} <= {"<br>"}
    assert [token.type for token in found].count("td_open") == 2
    assert [token.type for token in found].count("list_item_open") == 2
    assert "".join(token.content for token in found if token.type == "code_inline").strip() == (
        text.one_line(hostile).strip()
    )


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_cell_of_markdown_shows_the_very_text(hostile: str) -> None:
    (row,) = [line for line in sources(hostile).splitlines() if line.endswith("| last |")]
    source = f"{row}\n"
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parsed = parser.parse(f"| a | b |\n| --- | --- |\n{source}")
    children = next(t.children for t in parsed[parsed.index(_cell(parsed)) :] if t.children)
    content = "".join("\n" if t.content == "<br>" else t.content for t in children or ())
    assert content.strip() == text.visible(hostile).replace("\t", " ").strip()


def _cell(parsed: list[Token]) -> Token:
    return next(token for token in parsed if token.type == "td_open")


@pytest.mark.parametrize("hostile", [item for item in HOSTILE if item not in {"\0", "\ud800"}])
def test_a_shell_takes_a_command_line_apart_into_the_same_words(hostile: str) -> None:
    line = text.command(["printf", "%s", hostile, "a b", "it's"])
    assert text.one_line(line) == line
    ended = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert ended.stdout.decode() == f"{hostile}a bit's"


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("1", "seed=1"),
        ("[host,device]", "seed=[host,device]"),
        ("'a b'", "seed=\"'a b'\""),
        ("a b", 'seed="a b"'),
        ("$(rm x)", "'seed=$(rm x)'"),
        ("`x`", "'seed=`x`'"),
        ("a;b", 'seed="a;b"'),
        ("…", "seed=…"),
    ],
)
def test_a_setting_is_typed_as_a_shell_takes_it(value: str, typed: str) -> None:
    assert text.assignment("seed", value) == typed
    assert shlex.split(typed) == [f"seed={value}"]
