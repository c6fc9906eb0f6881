"""The built wheel in a fresh environment, with a user's own package and configuration."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import LIMIT_S, ROOT, Run


def checked(*words: str, cwd: Path) -> None:
    subprocess.run(words, cwd=cwd, check=True, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with our wheel and a user's package, and torch lent to it."""
    folder = tmp_path_factory.mktemp("installed")
    checked(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
        cwd=folder,
    )
    (wheel,) = folder.glob("harness-*.whl")
    checked(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
    python = folder / "venv" / "bin" / "python"
    checked(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
        cwd=folder,
    )
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # The dependencies come from this environment, after the wheel's own packages. A .pth file
    # found there is not read, so this checkout is not importable.
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    package = site / "users_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.py").write_text(
        "import torch\n"
        "def factory(device, dtype, seed, width=8):\n"
        "    layer = torch.nn.Linear(width, width, device=device, dtype=dtype)\n"
        "    data = torch.randn(4, width, device=device, dtype=dtype)\n"
        "    return lambda: layer(data).sum().backward()\n",
        encoding="utf-8",
    )
    return python


def run(python: Path, folder: Path, *words: str) -> Run:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python.parent / "harness"), *words],
        cwd=folder,
        env=clean | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr, folder)


def test_users_package_and_profile_are_used_from_another_folder(
    python: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "my_conf"
    experimental = mine / "profiler" / "experimental" / "cpu"
    experimental.mkdir(parents=True)
    (mine / "profiler" / "mine.yaml").write_text(
        "defaults: [default, _self_]\nwith_stack: true\nschedule:\n  active: 2\n",
        encoding="utf-8",
    )
    (experimental / "mine.yaml").write_text(
        "defaults: ['cpu/_base@_here_', _self_]\n", encoding="utf-8"
    )
    done = run(
        python,
        tmp_path,
        "--config-dir",
        "my_conf",
        "profiler=mine",
        "workload=callable",
        "workload.target=users_package.model:factory",
        "+workload.kwargs.width=16",
    )
    assert done.code == 0, done.err + done.out
    operators = done.table("operators")
    assert set(operators["step"].drop_nulls()) == {1, 2}
    assert "aten::addmm" in set(operators["name"])
    assert done.record.requested["workload.kwargs.width"] == 16
    delivered = {item.setting for item in done.record.delivery if item.status == "delivered"}
    assert "profiler.with_stack" in delivered


def test_folders_of_the_users_own_called_conf_and_harness_do_not_get_in_the_way(
    python: Path, tmp_path: Path
) -> None:
    for name in ("conf", "harness"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError\n", encoding="utf-8")
        (tmp_path / name / "config.yaml").write_text("mine: true\n", encoding="utf-8")
    (tmp_path / "steps.py").write_text(
        "import torch\ndef factory(device, dtype, seed):\n    return lambda: torch.ones(2) + 1\n",
        encoding="utf-8",
    )
    done = run(python, tmp_path, "workload=callable", "workload.target=steps:factory")
    assert done.code == 0, done.err + done.out


def test_configuration_travels_in_the_wheel(python: Path, tmp_path: Path) -> None:
    done = run(python, tmp_path, "--info", "searchpath")
    assert done.code == 0
    assert "site-packages/harness/conf" in done.out
