"""Write docs/settings.md from the settings' own types and docstrings; --check only compares."""

from __future__ import annotations

import ast
import inspect as python_inspect
import textwrap
from collections.abc import Iterator

from generated import write_or_check
from msgspec import NODEFAULT, Struct, inspect

from harness.settings.marks import mark_of
from harness.settings.request import Request
from harness.settings.schema import describe, show

HEAD = """# Settings

Every setting by its name on the command line, made from the settings' own types by `make docs`.
Values shown here are the types' defaults; what a profile composes is printed by
`python -m harness --cfg job`.

The column "changes" says what a setting changes:

- **measured: what runs**, **measured: what is recorded**: runs with another value are another
  measurement. A sweep runs such a job again, and merge refuses to join such runs, counters aside.
  What is to be recorded is checked after the run.
- **judged**: how strictly results are judged. A finished job of a sweep is kept.
- **placed**: where and when results come: names, limits of time, how a sweep is resumed. A
  finished job of a sweep is kept.
"""


def docstrings(cls: type) -> dict[str, str]:
    """Return the docstring below each field of a class and of its bases."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if not issubclass(each, Struct) or each is Struct:
            continue
        (tree,) = ast.parse(textwrap.dedent(python_inspect.getsource(each))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


def sections(type_: inspect.StructType, path: str) -> Iterator[str]:
    """Yield a table for a group of settings, then those of the groups in it."""
    texts = docstrings(type_.cls)
    leaves, groups = [], []
    for field in type_.fields:
        inner = f"{path}.{field.encode_name}" if path else field.encode_name
        structs = [
            each
            for each in (
                field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
            )
            if isinstance(each, inspect.StructType)
        ]
        if structs:
            groups += [(inner, struct) for struct in structs]
        else:
            default = "" if field.default is NODEFAULT else f"`{show(field.default)}`"
            if field.default_factory is not NODEFAULT:
                default = f"`{show(field.default_factory())}`"
            allowed = describe(field.type).replace("|", "\\|")
            text = texts[field.encode_name].replace("|", "\\|")
            mark = mark_of(inner).value
            leaves.append(f"| `{inner}` | {allowed} | {default} | {mark} | {text} |\n")
    title = f"`{path}`" if path else "The run"
    if type_.tag is not None:
        title += f" of {type_.tag}"
    summary = " ".join((type_.cls.__doc__ or "").split())
    if leaves:
        head = "| setting | allowed | default | changes | meaning |\n"
        head += "| --- | --- | --- | --- | --- |\n"
        yield f"\n## {title}\n\n{summary}\n\n{head}{''.join(leaves)}"
    for inner, struct in groups:
        yield from sections(struct, inner)


def page() -> str:
    """Return the whole page."""
    root = inspect.type_info(Request)
    assert isinstance(root, inspect.StructType)
    return HEAD + "".join(sections(root, ""))


if __name__ == "__main__":
    write_or_check("settings.md", page())
