"""Faults: folders from elsewhere that want to run code, or to be left."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from harness.capture.sweep_record import SweepJob, SweepRecord
from harness.execution.protocol import write_json
from tests.faults import sources
from tests.faults.scene import Fault, Left, Scene, run

_WHOLE: Final = frozenset({0, 1, 2, 3})
"""It may be read, or refused; what counts is what is done meanwhile."""
_PAYLOAD: Final = "import pathlib, os; pathlib.Path(os.environ['HARNESS_RAN']).touch()"
REPLACED: Final = (
    *("summary.md", "tables", "analyses", "cycles", "parts", "harness.log", "run.json"),
    *("plan.json", "capture.json", "outcome.json", "analysis.json", "steps.jsonl", "raw"),
)
_FIFOS: Final = (
    *("run.json", "plan.json", "capture.json", "outcome.json", "steps.jsonl", "harness.log"),
    *("tables/operators.parquet", "raw/trace.json.gz", "summary.md"),
)
_PATHS: Final = {"above": "../../beside", "absolute": "/etc", "a device": "/dev/zero"}


def faults() -> Iterator[Fault]:
    """Return the faults of this file."""
    for name, variables in _ENVIRONMENTS.items():
        yield _fault(f"{name} in the environment of a plan", "read", _environment, variables)
    for name in REPLACED:
        for command in ("read", "merge"):
            yield _fault(f"a link out of the folder: {name}", command, _link, name, command)
    for name in _FIFOS:
        for command in ("read", "merge"):
            yield _fault(f"a FIFO: {name}", command, _fifo, name, command)
    for name, harm in _CAPTURES.items():
        yield _fault(f"a capture: {name}", "read", _capture, harm)
    for name, path in _PATHS.items():
        yield _fault(f"a path that leads out, {name}: sweep.json", "merge", _sweep_path, path)
        yield _fault(f"a path that leads out, {name}: run.json", "read", _source_path, path)


def _fault(kind: str, phase: str, act: Callable[..., Left], *arguments: Any) -> Fault:
    return Fault(
        kind=kind,
        phase=phase,
        act=lambda scene: act(scene, *arguments),
        codes=_WHOLE,
        statuses=frozenset({None, "ok", "failed", "interrupted"}),
    )


def _edited(path: Path, change: Callable[[Any], None]) -> None:
    record = json.loads(path.read_bytes())
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


_ENVIRONMENTS: Final[Mapping[str, Callable[[Path], dict[str, str]]]] = {
    "LD_PRELOAD": lambda folder: {"LD_PRELOAD": str(_library(folder))},
    "PYTHONPATH": lambda folder: {"PYTHONPATH": str(_module(folder, "sitecustomize"))},
    "PYTHONSTARTUP": lambda folder: {
        "PYTHONPATH": str(_module(folder, "usercustomize")),
        "PYTHONUSERBASE": str(folder),
    },
    "PYTHONWARNINGS": lambda folder: {
        "PYTHONWARNINGS": "all:0:antigravity.x:0:0",
        "BROWSER": str(_program(folder) / "python") + " %s",
    },
    "PATH": lambda folder: {"PATH": str(_program(folder))},
    "PYTHONHOME": lambda folder: {"PYTHONHOME": str(folder)},
}


def _module(folder: Path, name: str) -> Path:
    path = folder / "foreign"
    path.mkdir()
    (path / f"{name}.py").write_text(_PAYLOAD, encoding="utf-8")
    return path


def _program(folder: Path) -> Path:
    path = folder / "foreign"
    path.mkdir()
    for name in ("msprof", "cc", "gcc", "python", "python3"):
        program = path / name
        program.write_text('#!/bin/sh\n: > "$HARNESS_RAN"\n', encoding="utf-8")
        program.chmod(0o755)
    return path


def _library(folder: Path) -> Path:
    source, library = folder / "foreign.c", folder / "foreign.so"
    source.write_text(
        "#include <stdlib.h>\n#include <fcntl.h>\n"
        "__attribute__((constructor)) static void run(void)"
        '{const char *path = getenv("HARNESS_RAN");'
        " if (path) open(path, O_CREAT | O_WRONLY, 384);}",
        encoding="utf-8",
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def _environment(scene: Scene, variables: Callable[[Path], dict[str, str]]) -> Left:
    """``read`` analyses the raw data of a rehearsal anew, in a child of its own."""
    folder = scene.outputs / "foreign"
    shutil.copytree(sources.made_emulated("emulated"), folder, symlinks=True)
    chosen = variables(scene.folder)

    def set_all(plan: Any) -> None:
        plan["recording"]["environment"] |= chosen

    _edited(folder / "plan.json", set_all)
    scene.environment["HARNESS_RAN"] = str(scene.ran)
    return run(scene, "read", "outputs/foreign")


def _words(command: str) -> tuple[str, ...]:
    if command == "read":
        return ("read", "outputs/first")
    return ("merge", "outputs/first", "outputs/second", "--out", "outputs/merged")


def _copies(scene: Scene) -> Path:
    for name in ("first", "second"):
        shutil.copytree(sources.made(name), scene.outputs / name, symlinks=True)
    return scene.outputs / "first"


def _link(scene: Scene, name: str, command: str) -> Left:
    """Put a link to the canary, or to its folder, in the place of a file or a folder."""
    place = _copies(scene) / name
    is_folder = place.is_dir() or "." not in name
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(scene.beside if is_folder else scene.canary)
    return run(scene, *_words(command))


def _fifo(scene: Scene, name: str, command: str) -> Left:
    place = _copies(scene) / name
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    return run(scene, *_words(command))


def _sweep_path(scene: Scene, path: str) -> Left:
    _copies(scene)
    record = SweepRecord(
        swept=("seed",),
        jobs=(SweepJob(folder=path, overrides=(), values={"seed": "1"}, exit_code=0),),
    )
    write_json(record, scene.outputs / "sweep.json")
    return run(scene, "merge", "outputs")


def _source_path(scene: Scene, path: str) -> Left:
    folder = _copies(scene)
    _edited(folder / "run.json", lambda record: record.update(source=path, files=[path]))
    return run(scene, "read", "outputs/first")


def _bomb(path: Path) -> None:
    with gzip.open(path.with_suffix(".json.gz"), "wb") as file:
        file.write(b'{"traceEvents":[')
        for _ in range(64):
            file.write(b" " * (1 << 20))


def _deep(path: Path) -> None:
    path.write_bytes(b'{"traceEvents":' + b"[" * 200_000 + b"]" * 200_000 + b"}")


def _view(path: Path) -> None:
    folder = path.with_name("host_1_ascend_pt") / "ASCEND_PROFILER_OUTPUT"
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "ascend_pytorch_profiler_0.db") as database:
        database.execute(
            "CREATE VIEW TASK AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
            " SELECT x AS startNs, x AS endNs, x AS globalTaskId FROM n"
        )
        database.execute("CREATE VIEW PYTORCH_API AS SELECT * FROM TASK")


def _zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _many_columns(path: Path) -> None:
    folder = path.with_name("host_1_ascend_pt") / "ASCEND_PROFILER_OUTPUT"
    folder.mkdir(parents=True)
    names = ",".join(f"column {number}" for number in range(200_000))
    (folder / "kernel_details.csv").write_text(f"{names}\n1\n", encoding="utf-8")


def _names(path: Path) -> None:
    common = {"ph": "X", "cat": "cpu_op", "pid": 1, "tid": 1, "dur": 1}
    names = ("\x1b[2J", "[bold]", ":factory:", "a|b\nc", "\u202e<script>")
    events = [
        common | {"name": name, "ts": number, "args": {"External id": number}}
        for number, name in enumerate(names)
    ]
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}), encoding="utf-8")


_CAPTURES: Final[Mapping[str, Callable[[Path], None]]] = {
    "a gzip bomb": _bomb,
    "200,000 brackets": _deep,
    "endless views of sqlite": _view,
    "a link to /dev/zero": _zeros,
    "200,000 columns": _many_columns,
    "names that are commands of a terminal": _names,
    "a FIFO": os.mkfifo,
}


def _capture(scene: Scene, harm: Callable[[Path], None]) -> Left:
    home = scene.folder / "capture"
    home.mkdir()
    harm(home / "trace.json")
    (given,) = home.iterdir()
    left = run(scene, "read", f"capture/{given.name}")
    if "\x1b" in left.out + left.err:
        return left.and_wrong("an escape character of the capture reaches the terminal")
    return left
