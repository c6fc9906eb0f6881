"""Conventions that would otherwise be forgotten: layers, maps, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from harness.cli.commands import SUBCOMMANDS
from harness.settings import expectations
from harness.verification import checks
from tests.conftest import ROOT

HARNESS = ROOT / "harness"

PACKAGES = (
    "__main__",
    "cli",
    "pipeline",
    "doctor",
    "merge",
    "report",
    "verification",
    "sweep",
    "analyses",
    "capture",
    "execution",
    "compose",
    "emulator",
    "devices",
    "bottlenecks",
    "settings",
    "readers",
    "workloads",
    "tables",
    "errors",
)
"""The packages of harness/, the highest first: each imports only those below it."""
LOADS_TORCH = {"execution.session", "devices.torch_cycles", "devices.torch_events"}
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


def imported_modules() -> dict[str, set[str]]:
    """The modules of harness that each module imports: at its top, in functions, for types."""
    trees = modules()
    names = {f"harness.{name}".removesuffix(".__init__"): name for name in trees}
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                words = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                # ``from package import module`` imports the module, else what the package holds.
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                words = [word if word in names else node.module for word in full]
            else:
                continue
            graph[name] |= {names[word] for word in words if word in names} - {name}
        graph[name].discard("__init__")
    return graph


def test_no_package_imports_one_above_it() -> None:
    height = {package: -place for place, package in enumerate(PACKAGES)}
    graph = imported_modules()
    assert {name.split(".")[0] for name in graph} == {*PACKAGES, "__init__"}
    upwards = [
        f"{name} imports {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if name != "__init__" and height[other.split(".")[0]] > height[name.split(".")[0]]
    ]
    assert not upwards


def test_no_module_is_in_a_circle_of_imports() -> None:
    TopologicalSorter(imported_modules()).prepare()  # raises CycleError, which shows the circle


def test_nothing_imports_the_public_face_for_more_than_the_version() -> None:
    parts = {path.stem for path in HARNESS.iterdir()} | {"__version__"}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "harness":
                assert {alias.name for alias in node.names} <= parts, name


def test_only_the_childs_modules_import_torch_when_imported() -> None:
    for name, tree in modules().items():
        if name not in LOADS_TORCH:
            assert not any(word.split(".")[0] == "torch" for word in at_import_time(tree)), name
            assert not at_import_time(tree) & {f"harness.{each}" for each in LOADS_TORCH}, name


def test_torch_npu_is_imported_by_no_module_but_its_device_file() -> None:
    for name, tree in modules().items():
        if name != "devices.npu":
            assert not any(word.split(".")[0] == "torch_npu" for word in imports(tree)), name


def test_every_package_is_on_the_architectures_page_and_nothing_else() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    start = text.index("## Packages")
    listed = re.findall(r"^\| `([^`]+)` \|", text[start:], flags=re.MULTILINE)
    assert listed == [
        f"{package}/" if (HARNESS / package).is_dir() else f"{package}.py" for package in PACKAGES
    ]


@pytest.mark.parametrize("page", ["settings", "modules"])
def test_generated_pages_are_what_the_code_says(page: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / f"write_{page}.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


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
    assert checked == {demand.setting for demand in expectations.EXPECTATIONS}


def test_every_verb_is_in_the_help() -> None:
    text = (ROOT / "conf" / "hydra" / "help" / "harness.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"python -m harness (?:-m )?([a-z]+) (?:\[|RUN)", text)) == set(
        SUBCOMMANDS
    )


def test_no_module_wants_splitting() -> None:
    for path in [*HARNESS.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 450, path


def test_conf_is_found_beside_the_checkout() -> None:
    from harness.compose.composition import CONF

    assert ROOT / "conf" == CONF
