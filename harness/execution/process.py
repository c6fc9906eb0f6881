"""Run a plan in a child process; however the child ends, there is an outcome."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NamedTuple, Protocol

import msgspec

from harness.emulator.build import build
from harness.errors import MachineError
from harness.execution.crashes import cause_of_crash
from harness.execution.output import Lines, Printed
from harness.execution.protocol import (
    Outcome,
    Plan,
    Progress,
    Task,
    outcome_file,
    read_json,
)
from harness.execution.rank_watch import INTERRUPTED, RankWatch, stopping, watch_of
from harness.execution.stall import StallWatch, ask_for_stack, frame_of, is_of_stack
from harness.execution.streams import KeptStreams, LentStreams, Streams
from harness.execution.waiting import take_what_comes, woken_by_end
from harness.files import Appended
from harness.paths import RunFolder
from harness.stopping import Held
from harness.waits import Wait, tell
from harness.workloads.program import Program

_DRAIN_S: Final = 1.0
"""How long output is read after the child has ended; a pipe holds far less."""
_PROGRESS_BYTES: Final = 1 << 20
"""Of a line of progress, which may bring an outcome."""
_FOREIGN: Final = (
    "the workload wrote into a descriptor that is not its own, the harness's progress:"
    " a part of it was not shown"
)
_STARTING: Final = "starting: torch is loaded"
DIE_WITH_PARENT: Final = (
    # First thing in the child, before any import takes time; PR_SET_PDEATHSIG is 1, SIGKILL 9.
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9);"
    # The parent may have died before that; then the child has another one.
    " os.getppid() == int(sys.argv[1]) or os._exit(1); "
    if sys.platform == "linux"
    else "import os, sys; "
)
_END_IN_SILENCE: Final = (
    # Until there is something to close. It begins with SIGINT blocked, so that Python's own start
    # shows no traceback.
    "import signal; signal.signal(signal.SIGINT, lambda *_: os._exit(130));"
    " signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT}); "
)


class ProgressListener(Protocol):
    """Shows what happens while a plan runs."""

    def progress(self, progress: Progress) -> None:
        """Take the progress of one step."""

    def output(self, line: str) -> None:
        """Take one line of what the workload or torch prints."""

    @property
    def lends_streams(self) -> bool:
        """Whether a program of the user's reads and writes the command's own streams."""


class Limits(NamedTuple):
    """How long a child process may run, and how long it may write when it must stop."""

    setting: str
    """The setting that sets `seconds`; the message of a run that took longer names it."""
    seconds: float | None
    grace_s: float
    watch: RankWatch | None = None
    """Of a job of several ranks, what tells whether another has ended it."""


def run(
    plan: Plan, listener: ProgressListener, begun: Callable[[], None] = lambda: None
) -> Outcome:
    """Run a plan in the process that ``execution.kind`` names; a workload's error is an outcome.

    `begun` is called when a child process has been started, which then takes a while to load torch.
    """
    if plan.loop.execution.kind == "inline":
        return _inline(plan, listener)
    execution = plan.loop.execution
    watch = watch_of(plan)
    limits = Limits("execution.timeout_s", execution.timeout_s, execution.grace_s, watch)
    outcome = _in_child(plan, listener, "execute", limits, begun)
    if watch is not None:
        watch.tell_others(outcome)
    return outcome


def analyse(plan: Plan, listener: ProgressListener, limit_s: float | None) -> Outcome | None:
    """Let the device analyse its captures; return None if there are none. Raw data stay."""
    if not RunFolder(Path(plan.folder)).cycle_folders():
        return None
    # Without grace: its raw data are on the disk already.
    limits = Limits("profiler.analyse_timeout_s", limit_s, grace_s=0.0)
    return _in_child(plan, listener, "analyse", limits)


def _in_child(
    plan: Plan,
    listener: ProgressListener,
    task: Task,
    limits: Limits,
    begun: Callable[[], None] = lambda: None,
) -> Outcome:
    try:
        environment = environment_of(plan)
    except MachineError as error:
        return Outcome(status="unavailable", reason=str(error))
    return _Child(plan, listener, task, environment, limits).outcome(begun)


def environment_of(plan: Plan) -> dict[str, str]:
    """Return the environment of a child process; builds the emulator for a rehearsal.

    Raises:
        MachineError: This machine cannot build the emulator.
    """
    environment = dict(os.environ)
    if not isinstance(plan.loop.workload, Program):
        environment["PYTHONUNBUFFERED"] = "1"
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


class _Child:
    """One child process, from its start to its outcome."""

    def __init__(
        self,
        plan: Plan,
        listener: ProgressListener,
        task: Task,
        environment: dict[str, str],
        limits: Limits,
    ) -> None:
        folder = Path(plan.folder)
        is_program = task == "execute" and isinstance(plan.loop.workload, Program)
        self.folder = RunFolder(folder)
        self.listener = listener
        self.task = task
        self.environment = environment
        self.limits = limits
        self.lends = is_program and listener.lends_streams
        self.result = outcome_file(folder, task)
        self.process: subprocess.Popen[bytes] | None = None
        self.log: Appended | None = None
        self.stall = StallWatch(plan)
        self.progress = Lines(self._take_progress, _PROGRESS_BYTES)
        self.stop_reason = ""
        self.notes: tuple[str, ...] = ()
        self.sent: Outcome | None = None
        """The outcome, if the child could not leave it on the disk."""
        self.kill_at: float | None = None
        self.ran_out = False
        """Whether it was killed since it wrote for longer than it may."""

    def outcome(self, begun: Callable[[], None]) -> Outcome:
        """Start the child, wait for its end, and return how it ended.

        Linux kills the child with the thread that started it: that is the one which waits here.
        """
        self.result.unlink(missing_ok=True)
        with Appended(self.folder.path, self.folder.log) as log:
            self.log = log
            # What a program prints goes where it always goes.
            printed = Printed(log, _unseen if self.lends else self.listener.output)
            returncode = self._ended(printed, begun)
        return self._outcome_of(returncode, printed)

    def _ended(self, printed: Printed, begun: Callable[[], None]) -> int:
        """Return how the child process ended; none is left behind, whatever goes wrong here."""
        self.started = time.monotonic()
        reading, writing = os.pipe()
        self.pipe = writing, os.fstat(writing)
        connect = LentStreams if self.lends else KeptStreams
        with os.fdopen(reading, "rb", buffering=0) as progress, connect(printed) as streams:
            try:
                # Until it says itself what it does.
                tell(Wait(what=_STARTING))
                process = self._start(writing, streams)
                begun()
                while True:
                    try:
                        self._listen({**streams.outputs, progress: self.progress.feed})
                        break
                    except KeyboardInterrupt:
                        self._interrupt()
                printed.flush()
                self.progress.flush()
                return process.wait()
            finally:
                self._kill()
                if self.process is not None:
                    self.process.wait()

    def _start(self, descriptor: int, streams: Streams) -> subprocess.Popen[bytes]:
        # -P keeps the current folder off the module path: a user's package named "harness" or
        # "conf" would hide ours. Ours is appended for plain checkouts.
        code = (
            f"{DIE_WITH_PARENT}{_END_IN_SILENCE}"
            f"sys.path.append({str(Path(__file__).parents[2])!r}); "
            "from harness.execution.child import main; "
            "main(sys.argv[2], sys.argv[3], int(sys.argv[4]))"
        )
        words = (str(os.getpid()), self.task, str(self.folder.plan), str(descriptor))
        try:
            # An interrupt in between would lose the child that has just begun.
            with Held(), _interrupt_blocked():
                self.process = subprocess.Popen(  # noqa: S603 - our interpreter and our code
                    [sys.executable, "-P", "-c", code, *words],
                    stdin=streams.stdin,
                    stdout=streams.stdout,
                    stderr=streams.stderr,
                    env=self.environment,
                    pass_fds=(descriptor,),
                    # Ctrl-C reaches the parent alone, which then stops the child once.
                    start_new_session=True,
                )
            return self.process
        finally:
            os.close(descriptor)
            streams.close_theirs()

    def _listen(self, streams: Mapping[IO[bytes], Callable[[bytes], None]]) -> None:
        """Pass on what the streams bring until the child has ended; enforce its limits."""
        assert self.process is not None
        with selectors.DefaultSelector() as ready:
            for stream, take in streams.items():
                ready.register(stream, selectors.EVENT_READ, take)
            with woken_by_end(self.process.pid, ready):
                while not self._has_ended():
                    self._enforce_limits()
                    self._tell_of_stall()
                    take_what_comes(ready, timeout_s=0.1)
            # What it has started ends with it; what has left its session may print for ever.
            self._kill()
            until = time.monotonic() + _DRAIN_S
            while time.monotonic() < until and take_what_comes(ready, timeout_s=0):
                pass

    def _take_progress(self, line: bytes, more: int) -> None:
        if is_of_stack(line):
            if frame := frame_of(line):
                self._say(frame)
            return
        try:
            progress = msgspec.json.decode(line, type=Progress)
        except (msgspec.DecodeError, UnicodeDecodeError):
            progress = None
        if progress is None or more:
            self.notes = (_FOREIGN,)
            return
        self.sent = progress.outcome or self.sent
        if progress.outcome is None:
            self.stall.take(progress)
            self.listener.progress(progress)

    def _say(self, text: str) -> None:
        """Show a line of our own, and keep it in the log."""
        assert self.log is not None
        self.log.write(f"{text}\n".encode())
        self.listener.output(text)

    def _tell_of_stall(self) -> None:
        """Say that no step ends, and let the child show where it is."""
        assert self.process is not None
        if not self.stop_reason and (notice := self.stall.notice()):
            self._say(notice)
            ask_for_stack(self.process.pid, *self.pipe)

    def _enforce_limits(self) -> None:
        now, limit_s = time.monotonic(), self.limits.seconds
        if self.kill_at is not None and now > self.kill_at:
            self.ran_out = True
            self._kill()
        elif self.stop_reason:
            return
        elif limit_s is not None and now - self.started > limit_s:
            self._stop(f"ran past {self.limits.setting}={limit_s:g}")
        elif self.limits.watch is not None and (reason := self.limits.watch.stop_reason()):
            self._stop(reason)

    def _interrupt(self) -> None:
        """Stop the child, as a signal asks for, and say what happens now."""
        is_first = not self.stop_reason
        self._stop(INTERRUPTED)
        if is_first and self.limits.grace_s:
            self._say(stopping(self.limits.grace_s))

    def _stop(self, reason: str) -> None:
        """Interrupt the child, which then writes what it holds; the second time, kill it."""
        if self.stop_reason:
            self._kill()
            return
        self.stop_reason = reason
        self.kill_at = time.monotonic() + self.limits.grace_s
        assert self.process is not None
        # Popen.send_signal would wait for a child that has ended, and its group be anyone's then.
        os.kill(self.process.pid, signal.SIGINT)

    def _has_ended(self) -> bool:
        """Tell whether the child has ended; its number stays its own until it is waited for."""
        assert self.process is not None
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, how) is not None

    def _kill(self) -> None:
        """Kill the child with all that it has started and that has not left its session."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _outcome_of(self, returncode: int, printed: Printed) -> Outcome:
        outcome = self._judged(returncode, printed.last_line)
        notes = (*outcome.notes, *self.notes, *printed.notes)
        return msgspec.structs.replace(outcome, notes=notes)

    def _judged(self, returncode: int, last_line: str) -> Outcome:
        """Return the child's report, or what its end says; a stop by the parent comes first."""
        report = read_json(self.result, Outcome) if self.result.exists() else self.sent
        if self.stop_reason == INTERRUPTED:
            reason = "interrupted" if report else self._unwritten()
            report = report or Outcome(status="interrupted")
            return msgspec.structs.replace(report, status="interrupted", reason=reason)
        if self.stop_reason:
            return msgspec.structs.replace(
                report or Outcome(status="failed"), status="failed", reason=self.stop_reason
            )
        if report and report.status == "interrupted":
            # Another process sent SIGINT to the child.
            return msgspec.structs.replace(report, reason="the child process was sent SIGINT")
        cause = cause_of_crash(self.folder.log) if returncode < 0 else ""
        return report or Outcome(status="failed", reason=_death(returncode, last_line, cause))

    def _unwritten(self) -> str:
        """Return why an interrupted child left no outcome."""
        if self.ran_out:
            return (
                "interrupted; not all of what it recorded was written within"
                f" execution.grace_s={self.limits.grace_s:g}"
            )
        return "interrupted before it had written what it recorded"


def _unseen(_line: str) -> None:
    """Show nothing."""


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and so in the processes that a block starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(returncode: int, last_output: str, cause: str = "") -> str:
    """Name how a child died that left no outcome; `cause` is what its stack shows."""
    if returncode >= 0:
        output = f"; its last output: {last_output}" if last_output else ""
        return f"the child process exited with code {returncode} before it could report{output}"
    number = -returncode
    if number not in {int(signal_) for signal_ in signal.Signals}:
        # Most real-time signals have no name.
        return f"the child process died of signal {number}"
    causes = {
        signal.SIGKILL: ": killed from outside, or out of memory (not known here; see the kernel's"
        " log)",
        signal.SIGSEGV: ": a crash in native code; harness.log has no Python stack",
        signal.SIGABRT: ": native code aborted; harness.log has no Python stack",
    }
    name = signal.Signals(number).name
    because = f": {cause}" if cause else causes.get(signal.Signals(number), "")
    return f"the child process died of {name} (signal {number}){because}"
