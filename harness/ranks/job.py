"""job.json: what each rank of a job carries out, where this process has started the ranks."""

from __future__ import annotations

from msgspec import Struct

from harness.execution.protocol import SCHEMA_VERSION
from harness.settings.request import Request


class Job(Struct, frozen=True, kw_only=True):
    """What each rank gets from the process that starts them."""

    schema_version: int = SCHEMA_VERSION
    request: Request
    overrides: tuple[str, ...]
    """The settings of the command."""
    lends_streams: bool
    """Whether a program of the user's reads and writes the command's own streams."""
