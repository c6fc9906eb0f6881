"""Text from elsewhere is text: what a name, a message or a line may not do where it is shown.

Names come from captures, files, records, workloads and the command line. A terminal, a log, a table
and Markdown each read some characters as orders; here they become signs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Final

_INVISIBLE: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but tab and line feed
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"  # those that are not shown,
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # and those that turn or cut lines
    "\ud800-\udfff"  # halves of characters, and bytes that are no UTF-8
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e007f"
)
_SIGNS: Final = re.compile(f"[{_INVISIBLE}]")
_SIGNS_IN_A_LINE: Final = re.compile(f"[{_INVISIBLE}\t\n]")


def visible(text: str) -> str:
    """Return a text that only shows: each character that would do something else is a sign.

    A sign is the character's number, as in ``[U+001B]``. Line feeds and tabs stay.
    """
    return _SIGNS.sub(_sign, text)


def one_line(text: str) -> str:
    """Return a text in one line: line feeds and tabs become signs, too."""
    return _SIGNS_IN_A_LINE.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    return f"[U+{ord(match[0]):04X}]"


_LONGEST: Final = 300


def shortened(text: str, most: int = _LONGEST) -> str:
    """Return a text that a person gave, at most so long; the rest is counted."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text):,} characters)"


def command(words: Iterable[str]) -> str:
    """Return a command line that a shell takes apart into just these words."""
    return " ".join(map(word, words))


def word(text: str) -> str:
    """Return one word of a command line, quoted where a shell needs that."""
    if not _SIGNS_IN_A_LINE.search(text):
        return shlex.quote(text)
    # A shell makes the characters of $'…' anew, so that none of them is in the line itself.
    escaped = re.sub(r"[\\']", r"\\\g<0>", text)
    return "$'" + _SIGNS_IN_A_LINE.sub(_shell_escape, escaped) + "'"


_PLAIN_SETTING: Final = re.compile(r"[\w@%+=:,./\[\]~-]+", re.ASCII)


def assignment(name: str, value: str) -> str:
    """Return ``name=value`` as it is typed in a shell; lists need no quotes there."""
    text = f"{name}={value}"
    if _PLAIN_SETTING.fullmatch(text.replace("…", "")):
        return text
    if _SIGNS_IN_A_LINE.search(text) or re.search(r'["$`!\\]', text):
        return word(text)
    return f'{name}="{value}"'


def _shell_escape(match: re.Match[str]) -> str:
    sign = match[0]
    # Of the surrogates, these stand for bytes that are no UTF-8.
    errors = "surrogateescape" if "\udc80" <= sign <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in sign.encode(errors=errors))


_MARKUP: Final = re.compile(
    r"\\(?=[!-/:-@\[-`{-~])|[`*|$]"  # code, emphasis, cells, formulas
    r"|<(?=[A-Za-z/!?])|&(?=#?\w+;)"  # HTML
    r"|\](?=[(\[:])|~(?=~)|(?<=~)~"  # links, strikethrough
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; an underscore within a word is none
    r"|:(?=//)|(?<=www)\.|(?<=\S)@(?=\S)"  # addresses become links
    r"|(?<!:):(?=[\w+-]+:(?!:))"  # emoji; C++ names have two colons
)
_BEGINNING: Final = re.compile(r"\A(\s*)([#>+\[=-]|\d+(?=[.)]))")
"""What makes a block of what follows, at the beginning of a line."""


def cell(text: str) -> str:
    """Return a text that a cell of a Markdown table shows as it is."""
    inert = _MARKUP.sub(r"\\\g<0>", visible(text).strip("\n"))
    return inert.replace("\t", " ").replace("\n", "<br>")


def paragraph(text: str) -> str:
    """Return a text that a title, a line or an item of a list in Markdown shows as it is."""
    # A sign may stand there, too.
    return _BEGINNING.sub(_not_a_block, cell(text))


def _not_a_block(match: re.Match[str]) -> str:
    space, begins = match.groups()
    return f"{space}{begins}\\" if begins.isdigit() else f"{space}\\{begins}"


def code(text: str) -> str:
    """Return a text as code in Markdown, whatever backticks it has."""
    text, fence = one_line(text), "`"
    while fence in text:
        fence += "`"
    # A backtick beside the fence would count as part of it.
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def is_text(name: str) -> bool:
    """Tell whether a name can be kept as UTF-8; bytes of a file's name may be none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def kept_text(text: str) -> str:
    """Return a text that JSON can keep: a lone surrogate becomes its number."""
    return text.encode(errors="backslashreplace").decode()
