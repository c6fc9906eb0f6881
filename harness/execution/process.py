"""Run a plan in a child process; however the child ends, there is an outcome."""

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
    Outcome,
    Plan,
    Progress,
    Task,
    outcome_file,
    read_json,
)
from harness.files import Appended
from harness.paths import RunFolder

_CHUNK = 65536


class ProgressListener(Protocol):
    """Shows what happens while a plan runs."""

    def progress(self, progress: Progress) -> None:
        """Take the progress of one step."""

    def output(self, line: str) -> None:
        """Take one line of what the workload or torch prints."""


class Limits(NamedTuple):
    """How long a child process may run, and how long it may write when it must stop."""

    setting: str
    """The setting that sets `seconds`; the message of a run that took longer names it."""
    seconds: float | None
    grace_s: float


def run(plan: Plan, listener: ProgressListener) -> Outcome:
    """Run a plan in the process that ``execution.kind`` names; a workload's error is an outcome."""
    if plan.loop.execution.kind == "inline":
        return _inline(plan, listener)
    execution = plan.loop.execution
    limits = Limits("execution.timeout_s", execution.timeout_s, execution.grace_s)
    return _in_child(plan, listener, "execute", limits)


def analyse(plan: Plan, listener: ProgressListener, limit_s: float | None) -> Outcome | None:
    """Let the device analyse its captures; return None if there are none. Raw data stay."""
    if not RunFolder(Path(plan.folder)).cycle_folders():
        return None
    # Without grace: its raw data are on the disk already.
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
    """Return the environment of a child process; builds the emulator for a rehearsal.

    Raises:
        MachineError: This machine cannot build the emulator.
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    rehearsal = plan.loop.rehearsal
    if rehearsal.emulate:
        environment = build().environment(
            environment,
            devices=rehearsal.devices,
            record=RunFolder(Path(plan.folder)).calls,
            strict=rehearsal.strict,
            era=rehearsal.era,
            faults=rehearsal.faults,
        )
    # The user's variables come last.
    return environment | plan.recording.environment


def _inline(plan: Plan, listener: ProgressListener) -> Outcome:
    os.environ.update(plan.recording.environment)
    from harness.execution.session import execute

    return execute(plan, listener.progress)


@contextmanager
def _terminate_is_interrupt() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, stop a run as Ctrl-C does."""
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
        self.folder = RunFolder(folder)
        self.listener = listener
        self.task = task
        self.environment = environment
        self.limits = limits
        self.result = outcome_file(folder, task)
        self.stop_reason = ""
        self.last_output = ""
        self.sent: Outcome | None = None
        """The outcome, if the child could not leave it on the disk."""
        self.kill_at: float | None = None

    def outcome(self) -> Outcome:
        """Start the child, wait for its end, and return how it ended."""
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
                        self._listen(progress)
                        break
                    except KeyboardInterrupt:
                        self._stop("interrupted")
            finally:
                # No child is left behind, whatever goes wrong here.
                self._kill()
        return self._outcome_of(self.process.wait())

    def _start(self, descriptor: int) -> subprocess.Popen[bytes]:
        # -P keeps the current folder off the module path: a user's package named "harness" or
        # "conf" would hide ours. Ours is appended for plain checkouts.
        code = (
            f"import sys; sys.path.append({str(Path(__file__).parents[2])!r}); "
            "from harness.execution.child import main; "
            "main(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
        )
        return subprocess.Popen(  # noqa: S603 - our interpreter and our code
            [
                sys.executable,
                "-P",
                "-c",
                code,
                self.task,
                str(self.folder.plan),
                str(descriptor),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            pass_fds=(descriptor,),
            # Ctrl-C in a terminal reaches only the parent, which then stops the child once.
            start_new_session=True,
        )

    def _listen(self, progress: Any) -> None:
        """Pass on progress and output until the child has ended; enforce its limits."""
        output = self.process.stdout
        assert output is not None
        with (
            Appended(self.folder.path, self.folder.log) as log,
            selectors.DefaultSelector() as ready,
        ):
            lines = {
                ready.register(output, selectors.EVENT_READ).fd: _Lines(self._output(log)),
                ready.register(progress, selectors.EVENT_READ).fd: _Lines(self._progress),
            }
            while self.process.poll() is None:
                self._enforce_limits()
                self._read(ready, lines, timeout_s=0.1)
            # A grandchild may hold the pipes open: read what is there without waiting.
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

    def _output(self, log: Appended) -> Callable[[bytes], None]:
        def take(line: bytes) -> None:
            log.write(line + b"\n")
            text = line.decode(errors="replace")
            self.last_output = text.strip() or self.last_output
            self.listener.output(text)

        return take

    def _progress(self, line: bytes) -> None:
        progress = msgspec.json.decode(line, type=Progress)
        if progress.outcome is None:
            self.listener.progress(progress)
        else:
            self.sent = progress.outcome

    def _enforce_limits(self) -> None:
        now, limit_s = time.monotonic(), self.limits.seconds
        if self.kill_at is not None and now > self.kill_at:
            self._kill()
        elif limit_s is not None and not self.stop_reason and now - self.started > limit_s:
            self._stop(f"ran past {self.limits.setting}={limit_s:g}")

    def _stop(self, reason: str) -> None:
        """Interrupt the child, which then writes what it holds; the second time, kill it."""
        if self.stop_reason:
            self._kill()
            return
        self.stop_reason = reason
        self.kill_at = time.monotonic() + self.limits.grace_s
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _outcome_of(self, returncode: int) -> Outcome:
        """Return the child's report, or what its end says; a stop by the parent comes first."""
        report = read_json(self.result, Outcome) if self.result.exists() else self.sent
        if self.stop_reason == "interrupted":
            return msgspec.structs.replace(
                report or Outcome(status="interrupted"),
                status="interrupted",
                reason="interrupted"
                if report
                else "interrupted, and killed before it wrote its data",
            )
        if self.stop_reason:
            return msgspec.structs.replace(
                report or Outcome(status="failed"), status="failed", reason=self.stop_reason
            )
        if report and report.status == "interrupted":
            # Another process sent SIGINT to the child.
            return msgspec.structs.replace(report, reason="the child process was sent SIGINT")
        return report or Outcome(status="failed", reason=_death(returncode, self.last_output))


def _death(returncode: int, last_output: str) -> str:
    """Name how a child died that left no outcome."""
    if returncode >= 0:
        output = f"; its last output: {last_output}" if last_output else ""
        return f"the child process exited with code {returncode} before it could report{output}"
    number = -returncode
    if number not in {int(signal_) for signal_ in signal.Signals}:
        # Most real-time signals have no name.
        return f"the child process died of signal {number}"
    causes = {
        signal.SIGKILL: ": killed from outside, or out of memory (see the kernel's log)",
        signal.SIGSEGV: ": a crash in native code; harness.log has the Python stack",
        signal.SIGABRT: ": native code aborted; harness.log has its last output",
    }
    name = signal.Signals(number).name
    cause = causes.get(signal.Signals(number), "")
    return f"the child process died of {name} (signal {number}){cause}"


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
