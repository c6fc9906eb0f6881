"""The console of the harness: texts show as they are."""

from __future__ import annotations

from typing import Any

from rich.console import Console as RichConsole
from rich.text import Text

from harness.text import visible


class Console(RichConsole):
    """Rich's, without markup, emoji codes and highlighting; characters that only order are signs.

    A `Text` is printed as it is, so it is made of `visible` texts.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text in its style; rich calls it for every str that it prints."""
        plain = {"emoji": False, "markup": False, "highlight": False, "highlighter": None}
        return super().render_str(visible(text), **options | plain)
