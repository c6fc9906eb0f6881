"""One command under one fault, and what it left: processes, files, records, words.

A scene has a folder of its own below which the command runs, and a canary beside it that nothing
may touch. Every process that the command starts carries the scene's mark in its environment, so
that one that outlives it is seen.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from msgspec.structs import replace

from harness.capture.run_record import RunRecord
from harness.errors import RefusedError
from harness.execution.protocol import read_json
from tests.conftest import environment

LIMIT_S: Final = 60
"""No command under a fault may take longer."""
_MARK: Final = "HARNESS_SCENE"
_LINGER_S: Final = 2.0
"""A process that was killed may take so long to be gone."""
_OURS: Final = frozenset({".hydra", ".lock", ".interrupted"})
"""Hidden names that belong in the folders of runs and sweeps."""
_CANARY: Final = b"nobody writes here\n"


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What a command left when it had ended."""

    code: int
    """The exit code; negative for a signal, as `subprocess` gives it."""
    out: str
    err: str
    seconds: float
    record: RunRecord | None
    """The run's; None if there is none."""
    records: tuple[RunRecord, ...]
    """All of them, of a sweep's jobs."""
    kept: str
    """What was captured and kept, in words."""
    wrong: tuple[str, ...]
    """What must never be, whatever the fault: empty if all is well."""

    def and_wrong(self, *more: str) -> Left:
        """Return the same with more that must never be."""
        return replace(self, wrong=(*self.wrong, *more))


class Scene:
    """A folder in which one command runs under one fault."""

    def __init__(self, folder: Path) -> None:
        self.beside = folder / "beside"
        self.folder = folder / "here"
        self.beside.mkdir(parents=True)
        self.folder.mkdir(exist_ok=True)
        self.canary.write_bytes(_CANARY)
        self.mark = uuid.uuid4().hex
        self.environment = environment() | {_MARK: self.mark}
        self.descriptors: dict[str, Any] = {}
        """Standard streams that are no pipes, by the name of `Popen`'s argument."""
        self.python: tuple[str, ...] = (sys.executable, "-m", "harness")
        self.own_traceback = False
        """Whether the fault is an error of the workload, whose traceback is to be shown."""

    @property
    def canary(self) -> Path:
        """A file that no command may change; its folder may hold nothing else."""
        return self.beside / "canary"

    @property
    def ran(self) -> Path:
        """A file that foreign code would make, if it ran."""
        return self.beside / "foreign-code-ran"

    @property
    def outputs(self) -> Path:
        """The folder of all runs."""
        return self.folder / "outputs"

    def run_folders(self) -> list[Path]:
        """Return the folders that have a run.json, in the order of their names."""
        return sorted(path.parent for path in self.outputs.glob("**/run.json"))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the command as a terminal does, in a process group of its own."""
        self.began = time.monotonic()
        return subprocess.Popen(
            [*self.python, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.descriptors.get("stdout", subprocess.PIPE),
            stderr=self.descriptors.get("stderr", subprocess.PIPE),
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[bytes], *, dead: bool = False) -> Left:
        """Wait for the command, and look at everything that it left.

        Args:
            process: Of `start`.
            dead: Whether the harness itself was killed, so that its last record says "running".
        """
        wrong: list[str] = []
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            wrong.append(f"it still ran after {LIMIT_S} s")
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
        seconds = time.monotonic() - self.began
        out_text, err_text = ((text or b"").decode(errors="replace") for text in (out, err))
        wrong += [f"a process is left: {name}" for name in self._orphans()]
        wrong += self._traces(out_text + err_text)
        if not dead:
            wrong += [f"an unfinished file is left: {path}" for path in self._unfinished()]
        records = []
        for folder in self.run_folders():
            if (folder / "run.json").is_symlink() or not (folder / "run.json").is_file():
                continue  # the fault itself
            try:
                records.append(read_json(folder / "run.json", RunRecord))
            except RefusedError as error:
                wrong.append(f"run.json: {error.problems[0].reason}")
        if not dead:
            wrong += [
                f"run.json says {record.status}, exit code {record.exit_code}"
                for record in records
                if record.status == "running" or record.exit_code is None
            ]
        return Left(
            code=process.returncode,
            out=out_text,
            err=err_text,
            seconds=seconds,
            record=records[-1] if records else None,
            records=tuple(records),
            kept=", ".join(self._kept()) or "nothing",
            wrong=tuple(wrong),
        )

    def _traces(self, text: str) -> Iterator[str]:
        if "Traceback (most recent call last)" in text and not self.own_traceback:
            yield f"a traceback is shown: {text[text.index('Traceback') :][-300:]}"
        if "Exception ignored" in text:
            yield "an exception was ignored at the end"
        if self.canary.read_bytes() != _CANARY:
            yield "a file outside of the folder was changed"
        for path in self.beside.iterdir():
            if path == self.ran:
                yield "foreign code ran"
            elif path != self.canary:
                yield f"a file was made outside of the folder: {path.name}"

    def _orphans(self) -> list[str]:
        """Return the processes with the scene's mark that do not go away; kill them."""
        until = time.monotonic() + _LINGER_S
        while (left := list(self._marked())) and time.monotonic() < until:
            time.sleep(0.05)
        for process, _ in left:
            os.kill(process, signal.SIGKILL)
        return [name for _, name in left]

    def _marked(self) -> Iterator[tuple[int, str]]:
        mark = f"{_MARK}={self.mark}".encode()
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                if mark not in (process / "environ").read_bytes():
                    continue
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended
            if any(words):
                yield int(process.name), b" ".join(words).decode(errors="replace")[:120]

    def _unfinished(self) -> Iterator[str]:
        for path in sorted(self.outputs.rglob(".*")):
            if path.name not in _OURS and ".hydra" not in path.parent.parts:
                yield str(path.relative_to(self.outputs))

    def _kept(self) -> Iterator[str]:
        """Name what was captured, over all runs."""
        folders = self.run_folders()
        for name in ("steps", "operators", "kernels"):
            tables = [folder / "tables" / f"{name}.parquet" for folder in folders]
            if any(pl.read_parquet(path, glob=False).height for path in tables if path.is_file()):
                yield name
        if any(any((folder / "raw").glob("*")) for folder in folders):
            yield "raw"
        if any((folder / "summary.md").is_file() for folder in folders):
            yield "summary"


Act = Callable[[Scene], Left]
"""Makes a fault in a scene, and returns what the command left."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault in a phase of a command, and how the command must end."""

    kind: str
    phase: str
    act: Act
    codes: frozenset[int]
    """The exit codes that are right."""
    statuses: frozenset[str | None]
    """The values of `status` in run.json that are right; None where there is no record."""
    keeps: frozenset[str] = frozenset()
    """What must be kept: steps, operators, kernels, raw, summary."""
    says: str = ""
    """Words that must be printed."""

    @property
    def name(self) -> str:
        """The name of its test."""
        return f"{self.kind}, {self.phase}"

    def judged(self, left: Left) -> list[str]:
        """Return what is wrong with how the command ended; nothing if it is right."""
        wrong = list(left.wrong)
        if left.code not in self.codes:
            wrong.append(f"exit code {left.code}, not {sorted(self.codes)}: {left.err[-600:]}")
        status = left.record.status if left.record else None
        if status not in self.statuses:
            wrong.append(f"status {status}, not {sorted(map(str, self.statuses))}")
        # A refusal changes nothing; a command may be stopped after its run has ended.
        ended = left.code >= 0 and left.code not in {2, 130}
        if left.record and ended and len(left.records) == 1:
            code = left.record.exit_code
            if code is not None and code != left.code:
                wrong.append(f"run.json says exit code {code}, the process ended with {left.code}")
        if lost := self.keeps - set(left.kept.split(", ")):
            wrong.append(f"lost: {', '.join(sorted(lost))}")
        if self.says not in left.out + left.err:
            wrong.append(f"it does not say {self.says!r}")
        return wrong


def run(scene: Scene, *words: str) -> Left:
    """Run the command to its end."""
    return scene.end(scene.start(*words))


def wait_until(seen: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Wait for something to be there; False if the command ended before."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until and process.poll() is None:
        if seen():
            return True
        time.sleep(0.001)
    return seen()


def tiny(*words: str) -> tuple[str, ...]:
    """Return the words of a run whose steps take microseconds."""
    return ("profiler=level0", "workload=matmul", "workload.shapes=[[8,8,8]]", *words)
