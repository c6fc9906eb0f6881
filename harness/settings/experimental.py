"""The base of each device's own settings, and how they become a profiler's arguments."""

from __future__ import annotations

from typing import Any, Self

from msgspec import Struct
from msgspec.structs import asdict


class Experimental(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="device"
):
    """``profiler.experimental``: settings in the profiler's own names, one subclass a device."""

    def lowered(self) -> dict[str, Any]:
        """Return the keyword arguments for the profiler's ``_ExperimentalConfig``, as JSON."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def untold(cls) -> Self:
        """Return the settings that the profiler has which is told none."""
        return cls()

    def changed(self) -> tuple[str, ...]:
        """Return the names of the settings that differ from their defaults."""
        defaults = type(self)()
        return tuple(
            name for name, value in asdict(self).items() if value != getattr(defaults, name)
        )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
