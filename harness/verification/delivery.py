"""Verify: check each expectation of a capture.

A check judges by what is in the capture, never by what the request says.
"""

from __future__ import annotations

from typing import Any

from harness.capture.capture import Capture
from harness.capture.run_record import Delivery
from harness.readers.ascend import folder as ascend
from harness.readers.base import CaptureError
from harness.settings.expectations import UNCHECKABLE, Expectation, accepts
from harness.settings.schema import show
from harness.verification.checks import check_of
from harness.verification.checks.base import CheckResult

KEPT = "the profiler reports that it used this value"
"""The expectation of every setting that profiler_info.json reports."""


def verify(capture: Capture) -> tuple[Delivery, ...]:
    """Check every expectation of a capture."""
    accept = capture.expected.accept
    reset = _reset(capture)
    expectations = capture.expected.expectations
    more = [
        Expectation(
            setting=setting, requested=show(capture.expected.effective[setting]), description=KEPT
        )
        for setting in reset
        if setting not in {expectation.setting for expectation in expectations}
    ]
    return tuple(
        _delivery(
            expectation, reset.get(expectation.setting) or _check(capture, expectation), accept
        )
        for expectation in (*expectations, *more)
    )


def _check(capture: Capture, expectation: Expectation) -> CheckResult:
    check = check_of(expectation.setting, capture.expected.device)
    if check is None:
        return CheckResult(
            "not_checkable", "", UNCHECKABLE.get(expectation.setting, expectation.description)
        )
    try:
        return check(capture)
    except (CaptureError, OSError) as error:
        return CheckResult("missing", "a file that cannot be read", str(error))


def _kept(capture: Capture) -> dict[str, Any]:
    """Return the settings that the profiler reports to have used, where it does."""
    kept: dict[str, Any] = {}
    for folder in capture.cycle_folders:
        try:
            kept |= ascend.profiler_info(folder) or {}
        except CaptureError:
            # The reader has reported that it is broken.
            continue
    return kept


def _reset(capture: Capture) -> dict[str, CheckResult]:
    """Return the settings that torch_npu reports to have changed, compared with the plan."""
    effective = capture.expected.effective
    return {
        setting: CheckResult(
            "substituted",
            f"torch_npu used {show(value)}",
            "torch_npu silently changed it (profiler_info.json, which it writes, has the value)",
        )
        for setting, value in _kept(capture).items()
        if setting in effective and _unordered(effective[setting]) != _unordered(value)
    }


def _unordered(value: Any) -> Any:
    """torch_npu keeps some lists as sets."""
    return sorted(map(str, value)) if isinstance(value, list | tuple) else value


def _delivery(expectation: Expectation, result: CheckResult, accept: tuple[str, ...]) -> Delivery:
    return Delivery(
        setting=expectation.setting,
        requested=expectation.requested,
        arrived=result.arrived,
        status=result.status,
        expectation=expectation.description,
        reason=result.reason,
        accepted=result.status == "partial" and accepts(accept, expectation.setting),
    )
