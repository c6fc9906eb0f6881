"""What a trace says beside its operators and kernels: labels of processes, kinds, calls."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from harness.readers.chrome.event import Event

_LABELS: Final = ("process_name", "process_labels")
_MOST: Final = 10_000
"""Processes and kinds whose words are kept; a file may invent as many as it likes."""
_STREAM: Final = re.compile(r"stream #?(\d{1,18})\b", re.IGNORECASE)
_ON_DEVICE: Final = re.compile(rb'"(?:stream|device|Stream Id|queue)"\s*:')


class _Labels(Struct, gc=False):
    name: Any = None
    labels: Any = None


class Unknown(Struct):
    """Ranges of a kind that no reader knows."""

    count: int = 0
    on_device: int = 0
    """Those that name a device or a stream."""
    name: str = ""
    """Of the first."""


class Metadata:
    """What a trace says beside its operators and kernels."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.labels: dict[str, list[str]] = defaultdict(list)
        """The name and the label of each process, by its id as a text."""
        self.calls: dict[str, set[str]] = defaultdict(set)
        """Some names of calls of the runtime, by their kind."""
        self.unknown: dict[str, Unknown] = {}
        """The ranges that are not understood, by their kind."""

    def add_labels(self, events: Sequence[Event]) -> None:
        """Take events of the phase M."""
        for event in events:
            if event.name in _LABELS and len(self.labels) < _MOST:
                try:
                    labels = msgspec.json.decode(event.args, type=_Labels)
                except msgspec.DecodeError:
                    continue
                texts = [str(text) for text in (labels.name, labels.labels) if text is not None]
                self.labels[str(event.pid)] += texts

    def add_calls(self, kind: str, name: str) -> None:
        """Take one of the calls of a chunk."""
        if len(self.calls[kind]) < _MOST:
            self.calls[kind].add(name)

    def add_unknown(self, kind: str, events: Sequence[Event]) -> None:
        """Take ranges of a kind that is not understood."""
        if not events or len(self.unknown) >= _MOST:
            return
        unknown = self.unknown.setdefault(kind, Unknown(name=events[0].name))
        unknown.count += len(events)
        unknown.on_device += sum(is_on_device(event.args) for event in events)


def is_on_device(arguments: Raw) -> bool:
    """Tell whether an event's arguments name a device or a stream."""
    return _ON_DEVICE.search(bytes(arguments)) is not None


def stream_of(thread: object) -> object:
    """Return the number of a stream that stands in place of a thread: ``stream 7``, or 7."""
    match = _STREAM.match(thread) if isinstance(thread, str) else None
    return int(match[1]) if match else thread
