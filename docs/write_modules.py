"""Write docs/modules.md from the first lines of the modules; --check only compares."""

from __future__ import annotations

import ast
from pathlib import Path

from generated import write_or_check

ROOT = Path(__file__).parents[1]
HEAD = """# Modules

Every module by its first line, made by `make docs`. [ARCHITECTURE.md](ARCHITECTURE.md) says how the
packages go together.
"""


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        message = f"{path} has no docstring"
        raise SystemExit(message)
    return text.splitlines()[0]


def table(folder: Path) -> list[str]:
    """Return the rows of a folder's modules; the package itself first."""
    return [
        f"| `{path.relative_to(ROOT).as_posix()}` | {first_line(path)} |"
        for path in sorted(folder.glob("*.py"))
    ]


def page() -> str:
    """Return the whole page."""
    folders = sorted({path.parent for path in (ROOT / "harness").rglob("*.py")})
    lines = [HEAD]
    for folder in [*folders, ROOT / "benchmarks", ROOT / "docs"]:
        lines += [f"## {folder.relative_to(ROOT).as_posix()}/\n", "| module | holds |"]
        lines += ["| --- | --- |", *table(folder), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    write_or_check("modules.md", page())
