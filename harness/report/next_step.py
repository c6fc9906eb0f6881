"""The command that is most likely to be wanted after a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.capture.run_record import PROGRAM, RunRecord, as_typed
from harness.devices import TARGETS
from harness.report.section import Command
from harness.text import command, visible

_HARNESS: Final = ("python", "-m", "harness")


def next_command(record: RunRecord, folder: str) -> Command:
    """Return the command that is most likely to be wanted now."""
    if record.source:
        return _profile_yours(record)
    return _mend(record, folder) or _look_closer(record)


def command_of(record: RunRecord) -> str:
    """Return the command that a run was started with, as it is typed in a shell."""
    if _is_own_loop(record):
        words = ", ".join(f'"{visible(text)}"' for text in _typed(record))
        return f"harness.profile({words})"
    subcommand = ["rehearse"] if record.requested["rehearsal.emulate"] else []
    return command((*_HARNESS, *subcommand, *_typed(record), *_program_of(record)))


def command_on_device(record: RunRecord) -> str:
    """Return the command that makes a rehearsed run on a device."""
    settings = [text for text in _typed(record) if not text.startswith("rehearsal")]
    return command((*_HARNESS, "device=npu", *settings, *_program_of(record)))


def _profile_yours(record: RunRecord) -> Command:
    """Propose to profile what an imported capture is of, so that its delivery can be checked."""
    settings = ("profiler=level1", "workload=callable", "workload.target=MODULE:FACTORY")
    if record.device in TARGETS:
        purpose = "profile your own step, and check its delivery"
        return _command(purpose, (f"device={record.device}", *settings))
    purpose = f"profile your own step on the host (harness does not run {record.device})"
    return _command(purpose, ("device=cpu", *settings))


def _mend(record: RunRecord, folder: str) -> Command | None:
    """Propose what helps a run that is not finished, failed or lacks something; None if none is."""
    if record.verdict == "pending" or record.analysis:
        return _command("analyse the captures", ("read", folder))
    if record.world_size > 1 and not _starts_ranks(record):
        # The command of its launcher is not known.
        return _command("read it again", ("read", folder))
    if record.status == "failed":
        rehearsed = record.requested["rehearsal.emulate"]
        if record.event_counts or rehearsed:
            return _again("run it again with fewer settings", record, "profiler=level0")
        if record.program or record.ranks:
            return _check(record)
        return _again("run it in one process, for a debugger", record, "execution=inline")
    if any(item.fails for item in record.delivery):
        return _check(record)
    if any(check.fails for check in record.consistency):
        return _command("read the capture again", ("read", folder))
    return None


def _starts_ranks(record: RunRecord) -> bool:
    return bool(record.requested["execution.kind"] == "torchrun")


def _look_closer(record: RunRecord) -> Command:
    """Propose another profile of the same run."""
    if not record.requested["profiler.with_stack"]:
        return _again("see which line of yours takes the time", record, "profiler=stacks")
    if not record.requested["profiler.profile_memory"]:
        return _again("see what allocates memory", record, "profiler=memory")
    return _again("measure durations with the least overhead", record, "profiler=level0")


def _check(record: RunRecord) -> Command:
    """Propose to look at what is requested, and at what it needs."""
    rehearsed = record.requested["rehearsal.emulate"]
    device = ["device=npu"] if rehearsed else []
    settings = [text for text in _typed(record) if not text.startswith("rehearsal")]
    return _command(
        "see what is requested and what it needs",
        ("check", *device, *settings, *_program_of(record)),
    )


def _again(purpose: str, record: RunRecord, setting: str) -> Command:
    """Propose the run again, with another profile or with a setting more."""
    settings = [text for text in _typed(record) if not text.startswith(("profiler=", "profiler/"))]
    if _is_own_loop(record):
        words = ", ".join(f'"{visible(text)}"' for text in (*settings, setting))
        return Command(purpose=f"next, {purpose}", line=f"harness.profile({words})")
    subcommand = ["rehearse"] if record.requested["rehearsal.emulate"] else []
    return _command(purpose, (*subcommand, *settings, setting, *_program_of(record)))


def _is_own_loop(record: RunRecord) -> bool:
    """Tell whether a program has made this run itself, by ``harness.profile()``."""
    return record.requested.get("workload.name") == "loop"


def _typed(record: RunRecord) -> list[str]:
    typed = as_typed(record.overrides, rehearsed=record.requested["rehearsal.emulate"])
    if record.program is None:
        return typed
    return [text for text in typed if text.partition("=")[0] not in PROGRAM]


def _program_of(record: RunRecord) -> tuple[str, ...]:
    """Return the words that name the program of the user's, if it ran one."""
    if record.program is None or _is_own_loop(record):
        return ()
    source = record.program.source
    words = source.split(" ", 1) if source.startswith("-m ") else [source]
    return ("--", *words, *record.program.args)


def _command(purpose: str, words: Sequence[str]) -> Command:
    return Command(purpose=f"next, {purpose}", line=command((*_HARNESS, *words)))
