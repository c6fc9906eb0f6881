"""Run: a plan is carried out by a child process, and however it ends there is an outcome."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from harness.emulator.build import build
from harness.errors import MachineError
from harness.execution.protocol import (
    CALLS_FILE,
    CYCLE_FOLDERS,
    OUTCOME_FILES,
    PLAN_FILE,
    Outcome,
    Plan,
    Progress,
    Task,
)

_CHUNK = 65536


class ProgressListener(Protocol):
    """Who is told what happens while a plan runs."""

    def progress(self, progress: Progress) -> None:
        """Take one step's progress."""

    def output(self, line: str) -> None:
        """Take one line that the workload, or torch, printed."""


class Limits(NamedTuple):
    """How long a child may take, and what it gets to write down what it has when it must stop."""

    setting: str
    """That of `seconds`, to be named when they are over."""
    seconds: float | None
    grace_s: float


def run(plan: Plan, listener: ProgressListener) -> Outcome:
    """Carry out a plan as its ``execution.kind`` says; raises nothing that a workload does."""
    if plan.request.execution.kind == "inline":
        return _inline(plan, listener)
    execution = plan.request.execution
    limits = Limits("execution.timeout_s", execution.timeout_s, execution.grace_s)
    return _in_child(plan, listener, "execute", limits)


def analyse(plan: Plan, listener: ProgressListener, limit_s: float | None) -> Outcome | None:
    """Have the device analyse its captures; None if it left none. What was recorded stays."""
    if not any(Path(plan.folder).glob(CYCLE_FOLDERS)):
        return None
    # It has nothing to write down when it must stop: its raw data lie on the disk already.
    limits = Limits("profiler.analyse_timeout_s", limit_s, grace_s=0.0)
    return _in_child(plan, listener, "analyse", limits)


def _in_child(plan: Plan, listener: ProgressListener, task: Task, limits: Limits) -> Outcome:
    try:
        environment = environment_of(plan)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error))
    with _terminate_is_interrupt():
        return _Child(Path(plan.folder), listener, task, environment, limits).outcome()


def environment_of(plan: Plan) -> dict[str, str]:
    """Return a child's whole environment; builds the emulator if the plan is for a rehearsal.

    Raises:
        MachineError: The emulator cannot be built here.
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    rehearsal = plan.request.rehearsal
    if rehearsal.emulate:
        environment = build().environment(
            environment,
            devices=rehearsal.devices,
            record=Path(plan.folder) / CALLS_FILE,
            strict=rehearsal.strict,
            era=rehearsal.era,
            faults=rehearsal.faults,
        )
    # The user's own come last.
    return environment | plan.environment


def _inline(plan: Plan, listener: ProgressListener) -> Outcome:
    os.environ.update(plan.environment)
    from harness.execution.session import execute

    return execute(plan, listener.progress)


@contextmanager
def _terminate_is_interrupt() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, stop a run as cleanly as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Child:
    """One child process, from its start to its outcome."""

    def __init__(
        self,
        folder: Path,
        listener: ProgressListener,
        task: Task,
        environment: dict[str, str],
        limits: Limits,
    ) -> None:
        self.folder = folder
        self.listener = listener
        self.task = task
        self.environment = environment
        self.limits = limits
        self.result = folder / OUTCOME_FILES[task]
        self.stopped_for = ""
        self.last_words = ""
        self.kill_at: float | None = None

    def outcome(self) -> Outcome:
        """Start the child, wait for its end, and tell how it ended."""
        self.result.unlink(missing_ok=True)
        self.started = time.monotonic()
        reading, writing = os.pipe()
        try:
            self.process = self._start(writing)
        finally:
            os.close(writing)
        with self.process, os.fdopen(reading, "rb", buffering=0) as progress:
            try:
                while True:
                    try:
                        self._attend(progress)
                        break
                    except KeyboardInterrupt:
                        self._stop("interrupted")
            finally:
                # Whatever else goes wrong here, no child is left behind.
                self._kill()
        return self._verdict(self.process.wait())

    def _start(self, descriptor: int) -> subprocess.Popen[bytes]:
        # The current folder stays off the module path, so that a user's own package called
        # "harness" or "conf" is not taken for ours; ours is appended for plain checkouts.
        code = (
            f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); "
            "from harness.execution.child import main; "
            "main(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
        )
        return subprocess.Popen(  # noqa: S603 - our own interpreter and code
            [
                sys.executable,
                "-P",
                "-c",
                code,
                self.task,
                str(self.folder / PLAN_FILE),
                str(descriptor),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            pass_fds=(descriptor,),
            # Ctrl-C in a terminal reaches the parent alone, which then asks the child once.
            start_new_session=True,
        )

    def _attend(self, progress: Any) -> None:
        """Pass on what the child says until it has ended, within its limits."""
        output = self.process.stdout
        assert output is not None
        with (self.folder / "harness.log").open("ab") as log, selectors.DefaultSelector() as ready:
            lines = {
                ready.register(output, selectors.EVENT_READ).fd: _Lines(self._output(log)),
                ready.register(progress, selectors.EVENT_READ).fd: _Lines(self._progress),
            }
            while self.process.poll() is None:
                self._enforce_limits()
                self._read(ready, lines, timeout_s=0.1)
            # A grandchild may hold the pipes open: take what is there, and do not wait for it.
            while ready.get_map() and self._read(ready, lines, timeout_s=0):
                pass
            for pending in lines.values():
                pending.flush()

    def _read(
        self, ready: selectors.BaseSelector, lines: dict[int, _Lines], timeout_s: float
    ) -> bool:
        events = ready.select(timeout_s) if ready.get_map() else []
        if not ready.get_map():
            time.sleep(timeout_s)
        for key, _ in events:
            data = os.read(key.fd, _CHUNK)
            if data:
                lines[key.fd].feed(data)
            else:
                ready.unregister(key.fileobj)
        return bool(events)

    def _output(self, log: Any) -> Callable[[bytes], None]:
        def take(line: bytes) -> None:
            log.write(line + b"\n")
            log.flush()
            text = line.decode(errors="replace")
            self.last_words = text.strip() or self.last_words
            self.listener.output(text)

        return take

    def _progress(self, line: bytes) -> None:
        self.listener.progress(msgspec.json.decode(line, type=Progress))

    def _enforce_limits(self) -> None:
        now, limit_s = time.monotonic(), self.limits.seconds
        if self.kill_at is not None and now > self.kill_at:
            self._kill()
        elif limit_s is not None and not self.stopped_for and now - self.started > limit_s:
            self._stop(f"ran past {self.limits.setting}={limit_s:g}")

    def _stop(self, reason: str) -> None:
        """Ask the child to stop and drain; the second time, kill it."""
        if self.stopped_for:
            self._kill()
            return
        self.stopped_for = reason
        self.kill_at = time.monotonic() + self.limits.grace_s
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _verdict(self, returncode: int) -> Outcome:
        own = (
            msgspec.json.decode(self.result.read_bytes(), type=Outcome)
            if self.result.exists()
            else None
        )
        if self.stopped_for == "interrupted":
            return msgspec.structs.replace(
                own or Outcome(status="interrupted"),
                status="interrupted",
                reason="interrupted" if own else "interrupted, and killed before it could drain",
            )
        if self.stopped_for:
            return msgspec.structs.replace(
                own or Outcome(status="failed"), status="failed", reason=self.stopped_for
            )
        if own and own.status == "interrupted":
            # Someone else sent the child SIGINT.
            return msgspec.structs.replace(own, reason="the child process was sent SIGINT")
        return own or Outcome(status="failed", reason=_death(returncode, self.last_words))


def _death(returncode: int, last_words: str) -> str:
    """Name how a child died that left no outcome."""
    if returncode >= 0:
        said = f"; its last words: {last_words}" if last_words else ""
        return f"the child process exited with code {returncode} before it could report{said}"
    known = {int(each): each for each in signal.Signals}
    if -returncode not in known:
        # Most real-time signals have no name.
        return f"the child process died of signal {-returncode}"
    name = known[-returncode].name
    why = {
        signal.SIGKILL: ": killed from outside, or out of memory (see the kernel's log)",
        signal.SIGSEGV: ": a crash in native code; harness.log has the Python stack",
        signal.SIGABRT: ": native code gave up; harness.log has its last words",
    }.get(known[-returncode], "")
    return f"the child process died of {name} (signal {-returncode}){why}"


class _Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.take = take
        self.rest = b""

    def feed(self, data: bytes) -> None:
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            self.take(line)

    def flush(self) -> None:
        if self.rest:
            self.take(self.rest)
            self.rest = b""
