"""The part of a page that says what was run: command, settings, versions."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.capture.run_record import RunRecord
from harness.report.html.page import Part
from harness.report.next_step import command_of, next_command
from harness.report.section import Column, Command, Note, Section

TITLE = "Command and configuration"


def configuration(record: RunRecord, folder: str) -> Part:
    """Return the command, every setting as requested and as it took effect, and the versions."""
    return Part(title=TITLE, contents=(_command(record, folder), _settings(record), _where(record)))


def _command(record: RunRecord, folder: str) -> Section:
    notes: list[Note] = []
    if record.source:
        notes.append(f"imported from {record.source}")
    else:
        notes.append(Command(purpose="the command", line=command_of(record)))
    notes += [f"folder: {folder}", *record.notes, next_command(record, folder)]
    return Section(title=TITLE, notes=tuple(notes))


def _settings(record: RunRecord) -> Section:
    names = {**record.requested, **record.effective}
    return Section(
        title="Settings",
        columns=(Column("setting", "name"), Column("requested"), Column("effective")),
        rows=tuple(
            (
                name,
                _value(record.requested[name]) if name in record.requested else None,
                _value(record.effective[name]) if name in record.effective else None,
            )
            for name in names
        ),
        notes=("effective: the value that reached the profiler, for the settings that it takes",),
    )


def _value(value: Any) -> str:
    """Return a value as JSON, a text as it is."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _where(record: RunRecord) -> Section:
    device = f"{record.device} ({record.device_name})" if record.device_name else record.device
    rows = [("host", record.host), ("device", device), *record.versions.items()]
    if record.world_size > 1:
        rows.insert(2, ("processes", str(record.world_size)))
    return Section(
        title="Where it ran",
        columns=(Column("what"), Column("name or version")),
        rows=tuple(rows),
    )
