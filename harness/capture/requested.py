"""What another program was asked for: a capture of it is judged by this."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from harness.capture.run_record import Delivery, EngineWindow
from harness.settings.expectations import ExpectedSettings


class Requested(Struct, frozen=True, kw_only=True):
    """Settings that another program was asked for, in our words."""

    settings: dict[str, Any]
    """By their dotted names, as plain values."""
    expected: ExpectedSettings
    """What captures must have; its `asked` says who was asked."""
    engine: EngineWindow | None = None
    """The window in a live engine that the captures are of; null if they were found."""


def beyond(expected: ExpectedSettings) -> tuple[Delivery, ...]:
    """Return the deliveries of what was asked for and the capture alone does not answer."""
    asked = expected.asked
    return tuple(
        Delivery(
            setting=item.setting,
            requested=item.requested,
            arrived=item.arrived,
            status="missing" if item.fails else "not_checkable",
            expectation="the program does as it is asked",
            reason=item.reason,
        )
        for item in (asked.beyond if asked else ())
    )
