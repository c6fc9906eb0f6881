"""Verify: for each demand of a plan, look for the evidence in the capture.

A check takes a capture and gives a finding; it never looks at the request for its answer.
"""

from __future__ import annotations

from typing import Any

from harness.capture.capture import Capture
from harness.capture.run_record import Delivery
from harness.readers.ascend import folder as ascend
from harness.readers.base import CaptureError
from harness.settings.expectations import UNCHECKABLE, Evidence
from harness.settings.schema import show
from harness.verification.checks import check_of
from harness.verification.checks.base import Finding

KEPT = "the profiler itself says that it kept the value"
"""The demand of every setting that profiler_info.json tells."""


def verify(capture: Capture) -> tuple[Delivery, ...]:
    """Judge every demand that a capture is to meet."""
    accept = capture.asked.accept
    reset = _reset(capture)
    demanded = capture.asked.evidence
    more = [
        Evidence(setting=setting, asked=show(capture.asked.effective[setting]), demand=KEPT)
        for setting in reset
        if setting not in {evidence.setting for evidence in demanded}
    ]
    return tuple(
        _delivery(evidence, reset.get(evidence.setting) or _find(capture, evidence), accept)
        for evidence in (*demanded, *more)
    )


def _find(capture: Capture, evidence: Evidence) -> Finding:
    check = check_of(evidence.setting, capture.asked.device)
    if check is None:
        return Finding("not_checkable", "", UNCHECKABLE.get(evidence.setting, evidence.demand))
    try:
        return check(capture)
    except (CaptureError, OSError) as error:
        return Finding("missing", "a file that cannot be read", str(error))


def _kept(capture: Capture) -> dict[str, Any]:
    """Return the settings that the profiler itself says it kept, where it says so."""
    kept: dict[str, Any] = {}
    for folder in capture.captures:
        try:
            kept |= ascend.profiler_info(folder) or {}
        except CaptureError:
            # That it is broken is said where it was read.
            continue
    return kept


def _reset(capture: Capture) -> dict[str, Finding]:
    """Find settings that torch_npu itself reports to have changed, by comparing with the plan."""
    asked = capture.asked.effective
    return {
        setting: Finding(
            "substituted",
            f"torch_npu kept {show(value)}",
            "torch_npu reset it, which it prints and no more: see harness.log",
        )
        for setting, value in _kept(capture).items()
        if setting in asked and _unordered(asked[setting]) != _unordered(value)
    }


def _unordered(value: Any) -> Any:
    """torch_npu keeps some lists as sets."""
    return sorted(map(str, value)) if isinstance(value, list | tuple) else value


def _delivery(evidence: Evidence, finding: Finding, accept: tuple[str, ...]) -> Delivery:
    last = evidence.setting.rpartition(".")[2]
    return Delivery(
        setting=evidence.setting,
        asked=evidence.asked,
        arrived=finding.arrived,
        status=finding.status,
        evidence=evidence.demand,
        why=finding.why,
        accepted=finding.status == "partial" and bool({evidence.setting, last} & {*accept}),
    )
