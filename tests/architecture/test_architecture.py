"""Conventions that would otherwise be forgotten: layers, maps, docstrings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from typing import get_args

import pytest

from harness.devices import TARGETS
from harness.settings import expectations
from harness.settings.request import AnyExperimental, DeviceName
from harness.verification import checks
from tests.conftest import ROOT

HARNESS = ROOT / "harness"

PACKAGES = (
    "__main__",
    "cli",
    "integrations",
    "sessions",
    "api",
    "attach",
    "ranks",
    "across",
    "view",
    "pipeline",
    "doctor",
    "merge",
    "comparison",
    "report",
    "verification",
    "engines",
    "sweep",
    "analyses",
    "capture",
    "execution",
    "configuration",
    "emulator",
    "devices",
    "bottlenecks",
    "settings",
    "readers",
    "workloads",
    "tables",
    "paths",
    "files",
    "stopping",
    "steps",
    "waits",
    "estimate",
    "errors",
    "text",
)
"""The packages of harness/, the highest first: each imports only those below it."""
LOADS_TORCH = {
    "execution.session",
    "execution.recorder",
    "devices.torch_cycles",
    "devices.torch_events",
}
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


NAME_DEVICES = {"devices", "emulator", "engines", "settings.request"}
"""Packages and modules where something holds for one device, by its name."""


def compared_words(tree: ast.AST) -> set[str]:
    """Return the texts that values are compared with, or looked up by."""
    words: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, comparators=others):
                parts = [left, *others]
            case ast.Subscript(slice=key):
                parts = [key]
            case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]):
                parts = [key]
            case ast.MatchValue(value=value):
                parts = [value]
            case _:
                continue
        nodes = [inner for part in parts for inner in ast.walk(part)]
        words |= {str(inner.value) for inner in nodes if isinstance(inner, ast.Constant)}
    return words


def test_what_differs_by_device_is_a_member_of_the_device() -> None:
    names = {*get_args(DeviceName)}
    for module, tree in modules().items():
        if not {module, module.split(".")[0]} & NAME_DEVICES:
            words = compared_words(tree) & names
            assert not words, f"{module} compares something with {', '.join(sorted(words))}"


def test_the_devices_are_those_that_a_request_can_name() -> None:
    assert tuple(TARGETS) == get_args(DeviceName)
    for name, target in TARGETS.items():
        assert target.experimental.__struct_config__.tag == name
    assert {target.experimental for target in TARGETS.values()} == {*get_args(AnyExperimental)}


def test_every_package_is_on_the_architectures_page_and_nothing_else() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    start = text.index("## Packages")
    listed = re.findall(r"^\| `([^`]+)` \|", text[start:], flags=re.MULTILINE)
    assert listed == [
        f"{package}/" if (HARNESS / package).is_dir() else f"{package}.py" for package in PACKAGES
    ]


@pytest.mark.parametrize("page", ["settings", "modules", "causes", "engines"])
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
    checked = {*checks.PORTABLE, *(name for each in checks.BY_PROFILER.values() for name in each)}
    assert checked == {demand.setting for demand in expectations.EXPECTATIONS}


def code_lines(function: ast.FunctionDef) -> int:
    """Count the lines of a function without its docstring and its decorators."""
    first = function.body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    total = (function.end_lineno or 0) - function.lineno + 1
    return total - ((first.end_lineno or 0) - first.lineno + 1 if docstring else 0)


# The loop over all events, where a call for each would cost too much.
LONG = {"devices.torch_events.read"}


def test_no_function_wants_splitting() -> None:
    long = {
        f"{name}.{node.name}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and code_lines(node) > 40
    }
    assert long == LONG


def test_no_module_wants_splitting() -> None:
    for path in [*HARNESS.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 450, path


def test_conf_is_found_beside_the_checkout() -> None:
    from harness.configuration.composition import CONF

    assert ROOT / "conf" == CONF
