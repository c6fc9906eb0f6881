"""The released packages of the engines, as pip fetches them; nothing of them is installed.

``make wheels-test`` runs these tests; ``make test`` leaves them out, since some wheels are large
(vLLM's has 336 MB). ``make wheels-test WHEELS="verl sglang"`` takes those alone.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

CACHE = Path(os.environ.get("HARNESS_WHEELS_CACHE", "build/wheels")).absolute()
CHOSEN = os.environ.get("HARNESS_WHEELS", "").split()
LIMIT_S = 900
# vllm-ascend has wheels for the machines of NPUs alone; its source is the same on all.
OF_OTHER_MACHINES = {
    "vllm-ascend": [
        *("--platform", "manylinux_2_24_aarch64", "--platform", "manylinux_2_28_aarch64"),
        *("--platform", "manylinux_2_34_aarch64", "--python-version", "3.11"),
    ]
}


class Wheel:
    """The source of a released package."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, name: str) -> str:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name).decode()

    def tree(self, name: str) -> ast.Module:
        return ast.parse(self.text(name))

    def fields(self, name: str, class_name: str) -> dict[str, Any]:
        """The annotated fields of a class, and their defaults where these are constants."""
        (found,) = (
            node
            for node in ast.walk(self.tree(name))
            if isinstance(node, ast.ClassDef) and node.name == class_name
        )
        return {
            node.target.id: _constant(node.value)
            for node in found.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }

    def calls(self, name: str, function: str) -> list[ast.Call]:
        """The calls of a function, by its last name."""
        return [
            node
            for node in ast.walk(self.tree(name))
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == function
        ]

    def unpacked(self, folder: Path, *prefixes: str) -> Path:
        with zipfile.ZipFile(self.path) as archive:
            names = [name for name in archive.namelist() if name.startswith(prefixes)]
            archive.extractall(folder, names)
        return folder


def _constant(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Call):
        given = {word.arg: word.value for word in node.keywords}
        return _constant(given["default"]) if "default" in given else []
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return ast.unparse(node) if node is not None else None


@cache
def fetched(package: str, version: str) -> Path:
    """The wheel of a release, from the cache or from pip."""
    folder = CACHE / f"{package}-{version}"
    if not (wheels := sorted(folder.glob("*.whl"))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", *OF_OTHER_MACHINES.get(package, [])]
        command += ["--dest", str(folder), f"{package}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, f"pip cannot fetch {package} {version}: {done.stderr}"
        wheels = sorted(folder.glob("*.whl"))
    assert len(wheels) == 1
    return wheels[0]


@pytest.fixture
def wheel() -> Callable[[str, str], Wheel]:
    def of(package: str, version: str) -> Wheel:
        if CHOSEN and package not in CHOSEN:
            pytest.skip(f"{package} is not one of WHEELS")
        return Wheel(fetched(package, version))

    return of
