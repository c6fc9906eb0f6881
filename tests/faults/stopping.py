"""Faults: signals to the harness and to its child, in each phase of a run."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Final

from tests.faults.scene import Fault, Left, Scene, run, tiny, wait_until
from tests.faults.workload import BEFORE_A_STEP, PHASES, harmful

STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ENDS: Final = frozenset({130})
_EARLY_S: Final = {"imports": 0.04, "composing": 0.2}
"""Seconds after the start; nothing is written yet."""
_FILES: Final = {
    "starting the child": "run.json",
    "reading what came out": "outcome.json",
    "checking": "tables/operators.parquet",
    "analysing": "analyses",
    "at the end": "summary.md",
}
"""The file of the run folder that shows that a phase has begun."""
_LATE: Final = frozenset({"checking", "analysing", "at the end"})
"""A run may have ended before the signal arrives."""
_DEADLY: Final = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGTERM)


def faults() -> Iterator[Fault]:
    """Return the faults of this file."""
    for number in STOPS:
        for phase in (*_EARLY_S, *PHASES, *_FILES):
            yield _stopped(number, phase)
    for phase in (*_EARLY_S, *PHASES, *_FILES):
        yield _killed(phase)
    for number in _DEADLY:
        for phase in PHASES:
            yield Fault(
                kind=f"{number.name} to the child",
                phase=phase,
                act=functools.partial(_child_dies, number=number, phase=phase),
                codes=frozenset({1}),
                statuses=frozenset({"failed"}),
                keeps=frozenset({"summary"} if phase in BEFORE_A_STEP else {"steps", "summary"}),
                says=number.name,
            )
    for number in STOPS:
        yield Fault(
            kind=f"{number.name}, twice",
            phase="recording",
            act=functools.partial(_twice, number=number),
            codes=_ENDS,
            statuses=frozenset({"interrupted"}),
        )
        yield Fault(
            kind=f"{number.name} while a grandchild prints without pause",
            phase="recording",
            act=functools.partial(_chatter, number=number),
            codes=_ENDS,
            statuses=frozenset({"interrupted"}),
        )
        yield Fault(
            kind=f"{number.name}",
            phase="between the jobs of a sweep",
            act=functools.partial(_sweep, number=number),
            codes=_ENDS,
            statuses=frozenset({"ok", "interrupted"}),
        )
    yield Fault(
        kind="SIGHUP under nohup",
        phase="recording",
        act=_nohup,
        codes=frozenset({0}),
        statuses=frozenset({"ok"}),
        keeps=frozenset({"steps", "operators", "raw", "summary"}),
    )
    yield Fault(
        kind="SIGSTOP to the child",
        phase="recording",
        act=_frozen,
        codes=frozenset({1}),
        statuses=frozenset({"failed"}),
        says="execution.timeout_s=6",
    )


def _stopped(number: signal.Signals, phase: str) -> Fault:
    codes, statuses = _ENDS, {"interrupted"}
    if phase in _EARLY_S:
        # Python itself dies of a signal before the first line of ours.
        codes, statuses = _ENDS | {-number}, set()
    elif phase in _LATE:
        codes, statuses = _ENDS | {0}, {"interrupted", "ok"}
    return Fault(
        kind=f"{number.name} to the harness",
        phase=phase,
        act=functools.partial(_signalled, number=number, phase=phase),
        codes=codes,
        statuses=frozenset(statuses) or frozenset({None}),
    )


def _killed(phase: str) -> Fault:
    return Fault(
        kind="SIGKILL to the harness, then `read`",
        phase=phase,
        act=functools.partial(_killed_and_read, phase=phase),
        codes=frozenset({0, 1} if phase in _FILES else {-signal.SIGKILL, 1}),
        statuses=frozenset({"failed", "ok"} if phase in _FILES else {"failed", None}),
    )


def _signalled(scene: Scene, *, number: int, phase: str) -> Left:
    return scene.end(_in_phase(scene, phase, number))


def _in_phase(scene: Scene, phase: str, number: int) -> subprocess.Popen[bytes]:
    """Start a run, and send the harness a signal in a phase of it."""
    if phase in PHASES:
        # The step goes on: the harness has to end it.
        code = f"os.kill(os.getppid(), {int(number)})\ntime.sleep(30)"
        return scene.start(*harmful(scene, phase, code))
    process = scene.start(*tiny())
    if phase in _EARLY_S:
        time.sleep(_EARLY_S[phase])
    else:
        wait_until(_there(scene, _FILES[phase]), process)
    if process.poll() is None:
        os.kill(process.pid, number)
    return process


def _there(scene: Scene, name: str) -> Callable[[], bool]:
    return lambda: any(scene.outputs.glob(f"*/*/{name}"))


def _killed_and_read(scene: Scene, *, phase: str) -> Left:
    process = _in_phase(scene, phase, signal.SIGKILL)
    dead = scene.end(process, dead=True)
    folders = scene.run_folders()
    if not folders:
        return dead
    again = run(scene, "read", str(folders[0].relative_to(scene.folder)))
    return again.and_wrong(*dead.wrong)


def _child_dies(scene: Scene, *, number: int, phase: str) -> Left:
    code = f"os.kill(os.getpid(), {int(number)})\ntime.sleep(30)"
    return run(scene, *harmful(scene, phase, code))


def _twice(scene: Scene, *, number: int) -> Left:
    """The step blocks the interrupt that the harness passes on; the second signal ends all."""
    code = f"""
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
os.kill(os.getppid(), {int(number)})
time.sleep(0.5)
os.kill(os.getppid(), {int(number)})
time.sleep(30)
"""
    return run(scene, *harmful(scene, "recording", code, "execution.grace_s=40"))


def _chatter(scene: Scene, *, number: int) -> Left:
    printer = "import os\nwhile True: os.write(1, b'noise' * 999)"
    code = f"""
import subprocess
subprocess.Popen([sys.executable, "-c", {printer!r}])
time.sleep(0.5)
os.kill(os.getppid(), {int(number)})
time.sleep(30)
"""
    return run(scene, *harmful(scene, "recording", code, "execution.grace_s=2"))


def _sweep(scene: Scene, *, number: int) -> Left:
    process = scene.start("-m", *tiny("seed=1,2,3"))

    def first_has_ended() -> bool:
        return any(scene.outputs.glob("sweeps/*/*/summary.md"))

    wait_until(first_has_ended, process)
    os.kill(process.pid, number)
    return scene.end(process)


def _nohup(scene: Scene) -> Left:
    scene.python = ("nohup", *scene.python)
    code = f"os.kill(os.getppid(), {int(signal.SIGHUP)})"
    return run(scene, *harmful(scene, "recording", code))


def _frozen(scene: Scene) -> Left:
    code = f"os.kill(os.getpid(), {int(signal.SIGSTOP)})"
    limits = ("execution.timeout_s=6", "execution.grace_s=1")
    return run(scene, *harmful(scene, "recording", code, *limits))
