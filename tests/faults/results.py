"""Faults: results that are there already are shown, compared and held against limits again."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from harness.capture.writer import this_process
from tests.faults import sources
from tests.faults.disks import mounted
from tests.faults.outputs import OUTPUTS, unprintable
from tests.faults.scene import Fault, Left, Scene, run, tiny, wait_until

_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "report": ("report", "first", "--out", "outputs/page.html"),
    "compare": ("compare", "first", "--against", "second", "--out", "outputs/compared"),
    "gate": (
        *("gate", "first", "--against", "second", "--junit", "outputs/gate.xml"),
        *("--markdown", "outputs/gate.md", "--json-file", "outputs/gate.json"),
    ),
    "view": ("view", "first", "--trace-only", "--out", "outputs/trace.json.gz"),
    "list": ("list", "first", "second"),
}
"""Each reads `first`, a whole run; what is written is below outputs/."""
_WRITING: Final = ("report", "compare", "gate", "view")
_ENDS_AT: Final = (0.0, 0.15, 0.3, 0.5, 0.8)
"""Seconds after our first line: during imports, and while the command reads, computes, writes."""
_STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def faults() -> Iterator[Fault]:
    """Return the faults of this file."""
    for kind, spoil in OUTPUTS.items():
        for command in _COMMANDS:
            act = functools.partial(unprintable, spoil=spoil, words=_whole(command))
            yield _fault(f"of results, {kind}", command, act, {0})
    for command in _WRITING:
        for option in (*(f"size={kib}k" for kib in (4, 12, 40, 400)), "nr_inodes=1"):
            act = functools.partial(_small_disk, command=command, option=option)
            yield _fault("of results, a full disk", f"{command}, {option}", act, {0, 1})
    for number in _STOPS:
        for command in _COMMANDS:
            for seconds in _ENDS_AT:
                act = functools.partial(_stopped, command=command, number=number, after=seconds)
                phase = f"{command}, after {seconds} s"
                yield _fault(f"of results, {number.name}", phase, act, {130, 0})
    yield from _places()
    yield from _broken()
    yield from _sides()
    yield from _repeating()


def _fault(
    kind: str, phase: str, act: Callable[[Scene], Left], codes: set[int], says: str = ""
) -> Fault:
    return Fault(
        kind=kind,
        phase=phase,
        act=act,
        codes=frozenset(codes),
        statuses=frozenset({None}),
        says=says,
    )


def _copies(scene: Scene) -> Path:
    for name in ("first", "second"):
        sources.copied(name, scene)
    return scene.folder / "first"


def _whole(command: str) -> Callable[[Scene], tuple[str, ...]]:
    def words(scene: Scene) -> tuple[str, ...]:
        _copies(scene)
        return _COMMANDS[command]

    return words


def _small_disk(scene: Scene, *, command: str, option: str) -> Left:
    _copies(scene)
    with mounted(scene.outputs, option):
        left = run(scene, *_COMMANDS[command])
    if left.code == 1 and "no space left" not in (left.out + left.err).lower():
        return left.and_wrong(f"the full disk is not named: {left.err[-300:]}")
    if left.code == 1 and command != "gate" and any(scene.outputs.rglob("*.*")):
        return left.and_wrong("a part of what was to be written is there")
    return left


def _stopped(scene: Scene, *, command: str, number: int, after: float) -> Left:
    _copies(scene)
    process = scene.start(*_COMMANDS[command])
    wait_until(lambda: _is_ours(process.pid), process)
    time.sleep(after)
    if process.poll() is None:
        os.kill(process.pid, number)
    left = scene.end(process)
    if left.code == 130 and "interrupted" not in left.err:
        return left.and_wrong("it does not say that it was interrupted")
    return left


def _is_ours(process: int) -> bool:
    """Tell whether a process handles SIGHUP: Python itself does not."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    (caught,) = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)


# Where it is to be written.

_PLACES: Final[Mapping[str, tuple[Callable[[Path], object], int]]] = {
    "a folder": (Path.mkdir, 2),
    "a FIFO": (os.mkfifo, 2),
    "a link to a device": (lambda path: path.symlink_to("/dev/null"), 2),
    "a link out of the folder": (lambda path: path.symlink_to("../../beside/canary"), 0),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), 0),
    "a file": (lambda path: path.write_bytes(b"old"), 0),
}
_FILES: Final = {"report": "page.html", "gate": "gate.xml", "view": "trace.json.gz"}


def _places() -> Iterator[Fault]:
    for kind, (make, code) in _PLACES.items():
        for command, name in _FILES.items():
            act = functools.partial(_place, command=command, name=name, make=make, code=code)
            yield _fault(f"of results, what is to be written is {kind}", command, act, {code})
    for command, out in {
        "report": "first/run.json",
        "gate": "first/tables/operators.parquet",
        "view": "first/raw/trace.json.gz",
        "compare": "first",
    }.items():
        act = functools.partial(_in_place, command=command, out=out)
        yield _fault("of results, what was measured is to be replaced", command, act, {2})
    for command in _WRITING:
        act = functools.partial(_in_a_file, command=command)
        codes = {2} if command == "compare" else {1}
        says = "Not a directory"
        yield _fault("of results, the folder to write to is a file", command, act, codes, says)


def _place(
    scene: Scene, *, command: str, name: str, make: Callable[[Path], object], code: int
) -> Left:
    _copies(scene)
    scene.outputs.mkdir()
    make(scene.outputs / name)
    left = run(scene, *_COMMANDS[command])
    written = (scene.outputs / name).is_file() and not (scene.outputs / name).is_symlink()
    if written != (code == 0):
        return left.and_wrong("a refusal changed what was there, or nothing was written")
    return left


def _in_place(scene: Scene, *, command: str, out: str) -> Left:
    before = _contents(_copies(scene))
    flag = "--junit" if command == "gate" else "--out"
    base = ("--against", "second") if command in {"gate", "compare"} else ()
    only = ("--trace-only",) if command == "view" else ()
    left = run(scene, command, "first", *base, *only, flag, out)
    if _contents(scene.folder / "first") != before:
        return left.and_wrong("the run was changed")
    return left


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _in_a_file(scene: Scene, *, command: str) -> Left:
    _copies(scene)
    scene.outputs.write_bytes(b"mine")
    left = run(scene, *_COMMANDS[command])
    if scene.outputs.read_bytes() != b"mine":
        return left.and_wrong("the file was changed")
    return left


# What is read.


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _set(**values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_bytes()) | values), encoding="utf-8")

    return change


def _table(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    return lambda path: change(pl.read_parquet(path)).write_parquet(path)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


_RUN: Final = "run.json"
_ROWS: Final = "tables/operators.parquet"
_TRACE: Final = "raw/trace.json.gz"
_ALL: Final = tuple(_COMMANDS)
_READS_TABLES: Final = ("report", "compare", "gate")
_BROKEN: Final[Mapping[str, tuple[str, Callable[[Path], object], Mapping[str, int]]]] = {
    "a record is cut": (_RUN, _cut, dict.fromkeys(_READS_TABLES, 2) | {"list": 0}),
    "a record is empty": (
        *(_RUN, lambda path: path.write_bytes(b"")),
        dict.fromkeys(_READS_TABLES, 2) | {"list": 0},
    ),
    "a record has a list in place of a text": (
        *(_RUN, _set(status=["ok"])),
        dict.fromkeys(_READS_TABLES, 2) | {"list": 0},
    ),
    "a record has settings that are none": (
        *(_RUN, _set(requested=[1])),
        dict.fromkeys(_READS_TABLES, 2) | {"list": 0},
    ),
    "a record is of another version": (
        *(_RUN, _set(schema_version=99)),
        dict.fromkeys(_READS_TABLES, 2) | {"list": 0},
    ),
    "a record is another program's": (
        *(_RUN, lambda path: path.write_bytes(b'{"who": "else"}')),
        dict.fromkeys(_READS_TABLES, 2) | {"list": 0},
    ),
    "a record requests nothing": (
        *(_RUN, _set(requested={}, effective={})),
        {"report": 2, "compare": 0, "gate": 0, "list": 0},
    ),
    "a record has texts that are commands of a terminal": (
        *(_RUN, _set(host="\x1b[2J", device_name="</script>\u202e", reason="\0")),
        dict.fromkeys(_ALL, 0),
    ),
    "a capture's record is cut": ("capture.json", _cut, {"report": 2, "list": 0}),
    "a capture's record is gone": ("capture.json", Path.unlink, {"report": 2, "list": 0}),
    "a table is cut": (_ROWS, _cut, {"report": 2, "compare": 0, "gate": 5, "list": 0}),
    "a table is gone": (_ROWS, Path.unlink, {"report": 2, "compare": 0, "gate": 5, "list": 0}),
    "a table is empty": (
        *(_ROWS, lambda path: path.write_bytes(b"")),
        {"report": 2, "compare": 0, "gate": 5},
    ),
    "a table lacks a column": (
        *(_ROWS, _table(lambda table: table.drop("input_shapes"))),
        {"report": 2, "compare": 0, "gate": 5},
    ),
    "a table has a column of another type": (
        *(_ROWS, _table(lambda table: table.with_columns(pl.col("self_ns").cast(pl.String)))),
        {"report": 2, "compare": 0, "gate": 5},
    ),
    "a table has a time that is none": (
        *(_ROWS, _table(lambda table: table.with_columns(start_ns=pl.lit(2**63 - 1)))),
        {"report": 2, "compare": 0, "gate": 5},
    ),
    "a table has one number twice": (
        *(_ROWS, _table(lambda table: table.with_columns(id=pl.lit(0, pl.Int64)))),
        {"report": 2, "compare": 0, "gate": 5},
    ),
    "a table has further columns": (
        *(_ROWS, _table(lambda table: table.with_columns(more=pl.lit("<b>")))),
        dict.fromkeys(_READS_TABLES, 0),
    ),
    "a table has no rows": (
        *(_ROWS, _table(lambda table: table.clear())),
        {"report": 0, "compare": 0, "gate": 5},
    ),
    "a table has names that are commands of a terminal": (
        *(_ROWS, _table(lambda table: table.with_columns(name=pl.lit("\x1b[2J</script>\0\u202e")))),
        {"report": 0, "compare": 0, "gate": 5},
    ),
    "a record is a FIFO": (_RUN, _fifo, dict.fromkeys(("report", "compare", "view"), 2)),
    "a table is a FIFO": (_ROWS, _fifo, {"report": 2, "compare": 0, "view": 2}),
    "a trace is a FIFO": (_TRACE, _fifo, {"report": 2, "compare": 0, "view": 2}),
    "a record is a link": (_RUN, _link, dict.fromkeys(("report", "compare", "view"), 2)),
    "a table is a link": (_ROWS, _link, {"report": 2, "compare": 0, "view": 2}),
    "a trace is a link": (_TRACE, _link, {"report": 2, "compare": 0, "view": 2}),
    "a trace is cut": (_TRACE, _cut, {"report": 0, "view": 0}),
    "a trace is no gzip file": (_TRACE, lambda path: path.write_bytes(b"no"), {"view": 2}),
    "a trace is gone": (_TRACE, Path.unlink, {"report": 0, "view": 2}),
}
"""The file of the first run, what is done to it, and the exit code of each command.

Compare goes on without the tables of a run that cannot be read, and says so.
"""


def _broken() -> Iterator[Fault]:
    for kind, (name, harm, codes) in _BROKEN.items():
        for command, code in codes.items():
            act = functools.partial(_harmed, command=command, name=name, harm=harm)
            # What is wrong is named by its file.
            # What is wrong is named: by its file, or a run that is left out by its folder.
            without = name != _RUN and command == "compare" and codes["report"] == 2
            says = Path(name).name if without else "first" * (code == 2)
            yield _fault(f"of results: {kind}", command, act, {code}, says)


def _harmed(scene: Scene, *, command: str, name: str, harm: Callable[[Path], object]) -> Left:
    harm(_copies(scene) / name)
    left = run(scene, *_COMMANDS[command])
    signs = {"\x1b", "\0", "\u202e"} & set(left.out + left.err)
    page = scene.outputs / "page.html"
    if page.is_file() and re.search("</script>\\W*\u202e", page.read_text(encoding="utf-8")):
        return left.and_wrong("a text of the record ends a script of the page")
    return left.and_wrong(f"signs reach the terminal: {signs}") if signs else left


# Which runs.


def _sides() -> Iterator[Fault]:
    both, against = ("--against", "first"), ("--against", "second")
    for command in ("compare", "gate"):
        for kind, prepare, base, code, says in (
            ("a run is on both sides", _nothing, both, 2, "both sides"),
            ("a run is named twice", _linked, ("--against", "link", "first"), 2, "twice"),
            ("a run goes on", _goes_on, against, 2, "still running"),
            ("a run died", _died, against, 2, "died"),
            ("a run failed", _failed, against, 2, "it broke"),
            ("a side is no run", _nothing, ("--against", "first/raw"), 2, "no run"),
            ("a side is not there", _nothing, ("--against", "nowhere"), 2, "no such folder"),
            ("a job of a sweep failed", _sweep, ("--against", "second"), 0, "it broke"),
        ):
            act = functools.partial(_of_sides, command=command, prepare=prepare, base=base)
            yield _fault(f"of results: {kind}", command, act, {code}, says)


def _of_sides(
    scene: Scene, *, command: str, prepare: Callable[[Path], str], base: Sequence[str]
) -> Left:
    return run(scene, command, prepare(_copies(scene)), *base)


def _nothing(_folder: Path) -> str:
    return "first"


def _linked(folder: Path) -> str:
    folder.with_name("link").symlink_to("first")
    return "second"


def _goes_on(folder: Path) -> str:
    writer = msgspec.to_builtins(this_process())
    _set(status="running", exit_code=None, writer=writer)(folder / _RUN)
    return "first"


def _died(folder: Path) -> str:
    writer = msgspec.to_builtins(this_process()) | {"started": 1}
    _set(status="running", exit_code=None, writer=writer)(folder / _RUN)
    return "first"


def _failed(folder: Path) -> str:
    _set(status="failed", exit_code=1, reason="it broke")(folder / _RUN)
    return "first"


def _sweep(folder: Path) -> str:
    jobs = folder.with_name("sweep")
    jobs.mkdir()
    for name in ("seed=1", "seed=2"):
        shutil.copytree(folder, jobs / name, symlinks=True)
    _failed(jobs / "seed=2")
    return "sweep"


# Runs that are made again, and a server.


def _repeating() -> Iterator[Fault]:
    for number in _STOPS[:2]:
        act = functools.partial(_repeated, number=number)
        yield Fault(
            kind=f"of results, {number.name} while runs are repeated",
            phase="compare --repeat",
            act=act,
            codes=frozenset({130}),
            statuses=frozenset({"ok", "interrupted"}),
        )


def _repeated(scene: Scene, *, number: int) -> Left:
    """Interrupt the second run of four."""
    scene.outputs.mkdir()
    for name in ("first", "second"):
        made = run(scene, *tiny("--out", name))
        assert made.code == 0, made.err
    words = ("compare", "first", "--against", "second", "--repeat", "2")
    process = scene.start(*words, "--out", "outputs/compared")
    second = scene.outputs / "compared" / "candidate-1" / "run.json"
    wait_until(second.exists, process)
    os.kill(process.pid, number)
    left = scene.end(process)
    if not (scene.outputs / "compared" / "base-1" / "summary.md").is_file():
        return left.and_wrong("the first repetition is lost")
    return left
