"""Verify: check each expectation of a capture.

A check judges by what is in the capture, never by what the request says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.capture.capture import Capture
from harness.capture.run_record import Delivery
from harness.devices import READABLE
from harness.readers.ascend import folder as ascend
from harness.readers.base import CaptureError
from harness.settings.expectations import UNCHECKABLE, Asked, Expectation, accepts
from harness.settings.schema import show
from harness.verification.checks import check_of
from harness.verification.checks.base import CheckResult

_EXPERIMENTAL: Final = "profiler.experimental."
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
        result = check(capture)
    except (CaptureError, OSError) as error:
        return CheckResult("missing", "a file that cannot be read", str(error))
    asked = capture.expected.asked
    if asked is None or result.status not in {"missing", "partial"}:
        return result
    return CheckResult(result.status, result.arrived, _why_dropped(asked, expectation, result))


def _why_dropped(asked: Asked, expectation: Expectation, result: CheckResult) -> str:
    """Return why something is missing that another program was asked for."""
    if expectation.setting in asked.drops:
        return asked.drops[expectation.setting]
    who = asked.of or "the program"
    return f"{who} was asked for it, and a capture that has it was not written; {result.reason}"


def _kept(capture: Capture) -> dict[str, Any]:
    """Return the settings that the profiler reports to have used, where it does."""
    kept: dict[str, Any] = dict(capture.settings)
    for folder in capture.cycle_folders:
        try:
            kept |= ascend.profiler_info(folder) or {}
        except CaptureError:
            # The reader has reported that it is broken.
            continue
    return kept


def _reset(capture: Capture) -> dict[str, CheckResult]:
    """Return the settings that the profiler reports to have used with another value."""
    effective = capture.expected.effective
    kept = _kept(capture)
    profiler = READABLE[capture.expected.device].profiled_by.name
    return {
        setting: CheckResult(
            "substituted", f"{profiler} used {show(value)}", _why_reset(capture, setting, kept)
        )
        for setting, value in kept.items()
        if setting in effective and _unordered(effective[setting]) != _unordered(value)
    }


def _why_reset(capture: Capture, setting: str, kept: Mapping[str, Any]) -> str:
    """Return why a setting has another value: whose doing it is, as far as the evidence goes."""
    asked = capture.expected.asked
    if asked is None:
        return "torch_npu silently changed it (profiler_info.json, which it writes, has the value)"
    if setting in asked.drops:
        return asked.drops[setting]
    if asked.untold and setting.startswith(_EXPERIMENTAL) and _is_untold(capture, kept):
        return asked.untold
    return f"{asked.of or 'the program'} asked its profiler for something else; why is not known"


def _is_untold(capture: Capture, kept: Mapping[str, Any]) -> bool:
    """Tell whether the profiler has its own value of every experimental setting it reports."""
    untold = READABLE[capture.expected.device].experimental.untold().lowered()
    reported = {
        name.removeprefix(_EXPERIMENTAL): value
        for name, value in kept.items()
        if name.startswith(_EXPERIMENTAL)
    }
    return bool(reported) and all(
        _unordered(value) == _unordered(untold[name])
        for name, value in reported.items()
        if name in untold
    )


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
