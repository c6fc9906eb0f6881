"""Build the stand-in for CANN on first use, and the environment of a process that uses it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from harness.devices.npu_rules import KNOWN, OTHER_PROFILERS
from harness.errors import MachineError
from harness.settings.faults import NEWEST_ERA, NO_FAULTS, Era, Faults
from harness.stopping import Held
from harness.waits import waiting

SOURCES = Path(__file__).parent / "acl"
FLAGS = ("-std=gnu11", "-O3", "-fopenmp-simd", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")
LIBRARY = "libascendcl.so"
OTHER_NAMES = (
    "libhccl.so",
    "libacl_op_compiler.so",
    "libge_runner.so",
    "libgraph.so",
    "libacl_tdt_channel.so",
    "libmsprofiler.so",
    "libascend_hal.so",
    "libopapi.so",
    "libascend_dump.so",
    "libms_tools_ext.so",
)
"""Libraries that torch_npu loads: links to one file, so that they share one state."""
OPERATOR_PACKAGE = "opp"
HOME_FOLDERS = (OPERATOR_PACKAGE, "runtime", "compiler")
"""Folders that torch_npu requires in CANN's; it reads nothing in them."""
LIBRARIES = "lib64"
"""Where torch_npu looks in CANN's home folder for a library before it loads it by its name."""
VERSION_FILE = "ascend_toolkit_install.info"
MSPROF = Path(__file__).with_name("msprof.py")
LAUNCHER = """#!/bin/sh
exec "$HARNESS_EMULATOR_PYTHON" "$HARNESS_EMULATOR_MSPROF" "$@"
"""

NAME = re.compile(rb"(?<=\0)(acl\w+)GetWorkspaceSize(?=\0)")


class Emulator(Struct, frozen=True):
    """A built emulator."""

    libraries: Path
    """The folder of CANN's shared libraries."""
    tools: Path
    """The folder of ``msprof``."""

    @property
    def home(self) -> Path:
        """The stand-in for CANN's home folder, where torch_npu looks for CANN's version."""
        return self.libraries.parent

    def environment(  # noqa: PLR0913 - one keyword for each thing that may differ
        self,
        base: Mapping[str, str] | None = None,
        *,
        devices: int = 2,
        record: Path | None = None,
        strict: bool = False,
        era: Era = NEWEST_ERA,
        faults: Faults = NO_FAULTS,
    ) -> dict[str, str]:
        """Return the environment of a process whose torch_npu runs on the emulator.

        Args:
            base: the environment to extend; by default, this process's.
            devices: how many NPUs there are.
            record: a file that receives every profiling call, a JSON line each.
            strict: an operator that is not computed is an error.
            era: the version of CANN to emulate, by the headers of its tables.
            faults: the faults to inject.
        """
        inherited = dict(os.environ if base is None else base)
        own_prefixes = ("ASCEND_", "HARNESS_EMULATOR_", *OTHER_PROFILERS)
        others = {
            name: value for name, value in inherited.items() if not name.startswith(own_prefixes)
        }
        path = inherited.get("PATH", os.defpath)
        variables = {
            "ASCEND_HOME_PATH": str(self.home),
            "ASCEND_OPP_PATH": str(self.home / OPERATOR_PACKAGE),
            "LD_LIBRARY_PATH": _in_front(self.libraries, inherited.get("LD_LIBRARY_PATH")),
            "PATH": _without_msprof(path)
            if faults.msprof == "missing"
            else _in_front(self.tools, path),
            "TORCH_DEVICE_BACKEND_AUTOLOAD": "0",
            "HARNESS_EMULATOR_DEVICES": str(devices),
            "HARNESS_EMULATOR_ERA": era,
            "HARNESS_EMULATOR_PYTHON": sys.executable,
            "HARNESS_EMULATOR_MSPROF": str(MSPROF),
        }
        if record is not None:
            variables["HARNESS_EMULATOR_RECORD"] = str(record)
        if strict:
            variables["HARNESS_EMULATOR_STRICT"] = "1"
        return others | variables | faults.environment()


def _without_msprof(path: str) -> str:
    """Return PATH without the folders that have ``msprof``."""
    folders = path.split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not shutil.which("msprof", path=folder))


def _in_front(folder: Path, others: str | None) -> str:
    return f"{folder}{os.pathsep}{others}" if others else str(folder)


def build(
    cache: Path | None = None, report_progress: Callable[[str], None] | None = None
) -> Emulator:
    """Return the emulator, compiled if this machine has not done so yet.

    Args:
        cache: the folder to keep it in; by default, the user's cache folder.
        report_progress: called before compiling, which takes some seconds.
    """
    compiler = _compiler()
    wheel = _torch_npu_library()
    root = _cache() if cache is None else cache
    folder = root / _fingerprint(compiler)
    if not folder.exists():
        if report_progress:
            report_progress(f"compiling the emulator of CANN with {compiler}, once")
        root.mkdir(parents=True, exist_ok=True)
        # Built aside and renamed: of two processes that build at once, the first one's is used.
        with tempfile.TemporaryDirectory(dir=root, prefix="building-") as building:
            built = Path(building) / "emulator"
            with waiting("compiling the emulator of CANN"):
                _compile(compiler, wheel, built)
            try:
                built.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return Emulator(folder / "lib", folder / "tools" / "profiler" / "bin")


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "harness" / "emulator"


def _compiler() -> str:
    for name in ("cc", "gcc"):
        if compiler := shutil.which(name):
            return compiler
    raise MachineError(
        "The CANN emulator needs a C compiler, and neither cc nor gcc is on PATH:"
        " install gcc (e.g. apt-get install gcc libc6-dev)."
    )


def _torch_npu_library() -> Path:
    """Find the wheel's library without importing torch_npu, which would need CANN."""
    spec = importlib.util.find_spec("torch_npu")
    if spec is None or spec.origin is None:
        raise MachineError(
            "The CANN emulator runs the real torch_npu, which is not installed:"
            f" pip install torch-npu=={KNOWN}."
        )
    return Path(spec.origin).parent / "lib" / "libtorch_npu.so"


def _ran(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a compiler; an interrupt kills it with the processes that it has started."""
    process: subprocess.Popen[str] | None = None
    try:
        # An interrupt in between would lose the process that has just begun.
        with Held():
            process = subprocess.Popen(  # noqa: S603 - from PATH, as make would call it
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        out, errors = process.communicate()
    finally:
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            with process:
                pass  # Its pipes are closed, and it is waited for.
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


def _sources() -> list[Path]:
    return sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")])


def _fingerprint(compiler: str) -> str:
    version = _ran([compiler, "--version"]).stdout
    parts = [version, importlib.metadata.version("torch_npu"), " ".join(FLAGS), LAUNCHER]
    parts += [" ".join(OTHER_NAMES), str(MSPROF.exists()), Path(__file__).read_text("utf-8")]
    parts += [path.name + path.read_text(encoding="utf-8") for path in _sources()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def operator_names(wheel: Path) -> list[str]:
    """Return the operators that the wheel can launch, by the names that it looks up."""
    return sorted({name.decode() for name in NAME.findall(wheel.read_bytes())})


def _compile(compiler: str, wheel: Path, target: Path) -> None:
    libraries, tools = target / "lib", target / "tools" / "profiler" / "bin"
    libraries.mkdir(parents=True)
    tools.mkdir(parents=True)
    names = "".join(f"OPERATOR({name})\n" for name in operator_names(wheel))
    (target / "operator_names.inc").write_text(names, encoding="utf-8")
    command = [compiler, *FLAGS, f"-I{target}", "-o", str(libraries / LIBRARY)]
    command += [str(path) for path in _sources() if path.suffix == ".c"] + ["-lm"]
    result = _ran(command)
    if result.returncode != 0:
        raise MachineError(f"The CANN emulator did not compile with {compiler}:\n{result.stderr}")
    for name in OTHER_NAMES:
        (libraries / name).symlink_to(LIBRARY)
    (target / LIBRARIES).symlink_to(libraries.name)
    for name in HOME_FOLDERS:
        (target / name).mkdir()
    (target / VERSION_FILE).write_text("version=emulated\n", encoding="utf-8")
    if MSPROF.exists():
        launcher = tools / "msprof"
        launcher.write_text(LAUNCHER, encoding="utf-8")
        launcher.chmod(0o755)
        # torch_npu looks for this file beside the tool before it runs it.
        script = tools.parent / "profiler_tool" / "analysis" / "msprof" / "msprof.py"
        script.parent.mkdir(parents=True)
        script.write_text("", encoding="utf-8")
