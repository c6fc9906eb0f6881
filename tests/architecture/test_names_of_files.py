"""The names in a run folder stand in one module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from harness.paths import ComparisonFolder, MergedFolder, RunFolder, SweepFolder
from tests.conftest import ROOT

HARNESS = ROOT / "harness"
RUN, SWEEP, MERGED = RunFolder(Path()), SweepFolder(Path()), MergedFolder(Path())
COMPARED = ComparisonFolder(Path())
WRITTEN = (*RUN.replaced, RUN.log, SWEEP.record, MERGED.record, MERGED.summary)
NAMES = {path.name for path in (*WRITTEN, COMPARED.record, COMPARED.summary)}
FILES = "|".join(re.escape(name) for name in sorted(NAMES) if "." in name)
FOLDERS = "|".join(sorted(name for name in NAMES if "." not in name))
PATH = re.compile(rf"\S*({FILES})|(\S*/)?({FOLDERS})/\S*")
"""A name, or a path with one in it. Sentences, which have blanks, may say what a file is called."""


def docstrings(tree: ast.AST) -> set[ast.AST]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def operands(tree: ast.AST) -> set[ast.AST]:
    divisions = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    )
    return {side for node in divisions for side in (node.left, node.right)}


def names_in(source: str) -> list[str]:
    """Return the constants of a module that are a name in a run folder, or a path with one."""
    tree = ast.parse(source)
    texts, joined = docstrings(tree), operands(tree)
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in texts
        if PATH.fullmatch(node.value) or (node in joined and node.value in NAMES)
    ]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('folder / "raw"', ["raw"]),
        ('folder / "tables" / "kernels.parquet"', ["tables"]),
        ('f"{folder}/run.json"', ["/run.json"]),
        ('glob("raw/*_ascend_pt")', ["raw/*_ascend_pt"]),
        ('FILE = "acl_calls.jsonl"', ["acl_calls.jsonl"]),
        ('columns["cycles"]; "cpu_cycles"; "raw"', []),
        ('"""Written to run.json."""\nwhy = "see harness.log"', []),
    ],
)
def test_names_are_found(source: str, names: list[str]) -> None:
    assert names_in(source) == names


def test_no_module_but_paths_names_what_is_in_a_run_folder() -> None:
    named = {
        str(path.relative_to(HARNESS)): names
        for path in HARNESS.rglob("*.py")
        if path != HARNESS / "paths.py" and (names := names_in(path.read_text(encoding="utf-8")))
    }
    assert not named


def test_every_name_is_another_one() -> None:
    paths = RUN.replaced
    assert len({path.name for path in paths}) == len(paths) == 22
