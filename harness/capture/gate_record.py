"""The answer of a gate: each limit, whether it holds, and what broke it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from harness.capture.comparison_record import ComparisonRecord
from harness.execution.protocol import SCHEMA_VERSION

VerdictStatus = Literal["broken", "not checkable", "not decided", "held", "not recorded"]
"""not decided: too few runs, or too much noise. not checkable: what the limit is about was not
recorded. not recorded: the same, of a limit that nobody wrote."""

VerdictUnit = Literal["number", "bytes", "ns"]


class Verdict(Struct, frozen=True, kw_only=True):
    """One limit, and whether it holds."""

    limit: str
    """Its dotted name in the file of limits."""
    status: VerdictStatus
    fails: bool
    """Whether the gate fails by it."""
    unit: VerdictUnit
    """Of the two figures."""
    candidate: float | None = None
    base: float | None = None
    most: float | None = None
    """The most that the limit allows; null where it must equal the base."""
    excess: float = 0.0
    """How far beyond it, relative to the base or the limit; the worst comes first."""
    culprits: tuple[str, ...] = ()
    """Operators or kernels that changed, the worst first."""
    reason: str = ""
    """Why it is broken, not decided or not checkable, and what to do."""


class GateRecord(Struct, frozen=True, kw_only=True):
    """The answer of a gate."""

    schema_version: int = SCHEMA_VERSION
    passed: bool
    limits: str
    """The file of limits; empty for the defaults."""
    verdicts: tuple[Verdict, ...]
    """The worst first."""
    comparison: ComparisonRecord | None = None
    """With the base; null without one."""
    notes: tuple[str, ...] = ()
