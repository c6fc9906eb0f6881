"""Write a generated page, or compare it with what is there: for the other scripts here."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(page: str, text: str) -> None:
    """Write a page beside this file; with --check, exit with 1 if it is another."""
    target = Path(__file__).with_name(page)
    if "--check" not in sys.argv:
        target.write_text(text, encoding="utf-8")
    elif not target.exists() or target.read_text(encoding="utf-8") != text:
        sys.exit(f"docs/{page} is not what the code says: make docs")
