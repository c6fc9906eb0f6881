"""Conventions that would otherwise be forgotten: layers, maps, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from harness import checks, evidence
from harness.verbs import VERBS
from tests.conftest import ROOT

HARNESS = ROOT / "harness"

STAGES = {
    *("compose", "validate", "plan", "run", "collect", "intake"),
    *("verify", "consistency", "completeness", "analyse", "report"),
}
KNOW_THE_ORDER = {"pipeline", "merging", "cli", "command", "launch", "verbs", "jobs", "checking"}
"""pipeline runs the stages; the others are the command line around it."""
LOADS_TORCH = {"drain", "events", "session"}
"""Imported in the child process only."""


def modules() -> dict[str, ast.Module]:
    return {
        ".".join(path.relative_to(HARNESS).with_suffix("").parts): ast.parse(path.read_text())
        for path in HARNESS.rglob("*.py")
    }


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def at_import_time(tree: ast.Module) -> set[str]:
    """What importing a module imports: not what its functions or type checkers do."""
    body: list[ast.stmt] = [
        node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return imports(ast.Module(body, []))


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_stages_do_not_import_each_other(stage: str) -> None:
    others = {f"harness.{name}" for name in STAGES | KNOW_THE_ORDER if name != stage}
    assert not imports(modules()[stage]) & others


def test_only_the_childs_modules_import_torch_when_imported() -> None:
    for name, tree in modules().items():
        if name not in LOADS_TORCH:
            assert not any(word.split(".")[0] == "torch" for word in at_import_time(tree)), name
            assert not at_import_time(tree) & {f"harness.{each}" for each in LOADS_TORCH}, name


def test_torch_npu_is_imported_by_no_module_but_its_device_file() -> None:
    for name, tree in modules().items():
        if name != "devices.npu":
            assert not any(word.split(".")[0] == "torch_npu" for word in imports(tree)), name


def test_every_file_is_on_the_architectures_map_and_nothing_else() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    start = text.index("## File map")
    mapped = set(re.findall(r"^\| `([^`]+)` \|", text[start:], flags=re.MULTILINE))
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("harness", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py" or path.read_text().count("\n") > 3
    }
    assert mapped == files


def structs_of_settings() -> list[tuple[str, ast.ClassDef]]:
    bases = {"Settings", "Workload", "Experimental", "TorchExperimental", "Faults"}
    return [
        (name, node)
        for name, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and ({base.id for base in node.bases if isinstance(base, ast.Name)} | {node.name}) & bases
    ]


def test_every_setting_has_a_docstring_that_names_its_reader() -> None:
    bare = []
    for module, struct in structs_of_settings():
        for field, following in zip(struct.body, [*struct.body[1:], ast.Pass()], strict=True):
            if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.unparse(field.annotation):
                continue
            text = (
                following.value.value
                if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                else ""
            )
            if "Read by:" not in " ".join(str(text).split()):
                bare.append(f"{module}.{struct.name}.{ast.unparse(field.target)}")
    assert not bare


def test_every_demand_has_a_check_and_every_check_a_demand() -> None:
    checked = {*checks.PORTABLE, *(name for each in checks.BY_DEVICE.values() for name in each)}
    assert checked == {demand.setting for demand in evidence.DEMANDS}


def test_every_verb_is_in_the_help() -> None:
    text = (ROOT / "conf" / "hydra" / "help" / "harness.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"python -m harness (?:-m )?([a-z]+) (?:\[|RUN)", text)) == set(VERBS)


def test_settings_reference_is_what_the_settings_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "write_settings.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_module_wants_splitting() -> None:
    for path in [*HARNESS.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 450, path


def test_conf_is_found_beside_the_checkout() -> None:
    from harness.compose import CONF

    assert ROOT / "conf" == CONF
