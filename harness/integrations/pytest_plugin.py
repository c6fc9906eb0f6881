"""A plugin of pytest: a test that profiles its own steps, and fails when a budget is broken.

::

    @pytest.mark.profile_budget("profiler=level1", operators=300, step_ms=20)
    def test_training_step(harness_profile):
        with harness_profile as p:
            for _ in range(11):  # 2 to warm up, 5 unprofiled, 1 to warm the profiler, 3 recorded
                train_step()
                p.step()

pytest loads it in every session: so nothing but pytest is imported before a test uses it.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from harness.api.profiles import Profile
    from harness.capture.capture import Capture
    from harness.comparison.attribution import Table

MARK: Final = "profile_budget"
FIXTURE: Final = "harness_profile"
_USE: Final = f"take the fixture {FIXTURE}, and write: with {FIXTURE} as p: …; p.step()"
_PROFILE: Final[pytest.StashKey[Any]] = pytest.StashKey()
_CULPRITS: Final = 5
_MB: Final = 1e6
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "kernels": (),
    "operators": (),
    "step_ms": (),
    "memory_mb": ("profiler.profile_memory=true",),
}
"""What a budget may name, and the settings that its figure needs."""
_LACKING: Final[Mapping[str, str]] = {
    "kernels": "no kernels were recorded",
    "operators": "no operators were recorded",
    "step_ms": "no step was timed",
    "memory_mb": "no memory was recorded",
}
_ADVICE: Final[Mapping[str, str]] = {
    "kernels": f'  name a device that has kernels: @pytest.mark.{MARK}("device=cuda", kernels=…)',
    "operators": "  profiler.activities needs host",
    "step_ms": "  call p.step() at the end of each step",
    "memory_mb": "  the profiler of this device did not report it",
}
"""What to do where the run itself does not say why a figure is missing."""


class _Row(NamedTuple):
    """An operator or a kernel in one step."""

    label: str
    calls: float
    time_ns: float


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(*settings, kernels, operators, step_ms, memory_mb): the most that a step of the"
        f" fixture {FIXTURE} may have; memory_mb is the peak, in 1e6 bytes (harness)",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a budget that nothing could check, before the test runs."""
    mark = item.get_closest_marker(MARK)
    if mark is None:
        return
    problems = [
        f"{text!r} is no setting; it must be a text, as 'device=cpu'"
        for text in mark.args
        if not isinstance(text, str)
    ]
    problems += _problems(mark.kwargs)
    if FIXTURE not in getattr(item, "fixturenames", ()):
        problems.append(f"the test does not profile anything: {_USE}")
    if problems:
        pytest.fail(f"@pytest.mark.{MARK}: " + "; ".join(problems), pytrace=False)


def _problems(budget: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a budget."""
    allowed = ", ".join(_NEEDS)
    problems = [
        f"{name} is no budget; it must be one of {allowed}" for name in budget if name not in _NEEDS
    ]
    problems += [
        f"{name}={value!r} must be a finite number above 0"
        for name, value in budget.items()
        if name in _NEEDS
        and (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        )
    ]
    return problems if budget else [f"it has no budget; name one or more of {allowed}"]


@pytest.fixture
def harness_profile(request: pytest.FixtureRequest, tmp_path: Path) -> Profile:
    """Return a profile for the steps of the test: ``with harness_profile as p: …; p.step()``.

    Its settings are those of the mark; its run folder is in the test's temporary folder.
    """
    from harness.api.profiles import profile
    from harness.errors import RefusedError

    mark = request.node.get_closest_marker(MARK)
    settings = list(mark.args) if mark else []
    if not any(text.startswith("profiler=") for text in settings):
        settings.append("profiler=level1")
    given = {text.partition("=")[0].lstrip("+~") for text in settings}
    for name in mark.kwargs if mark else ():
        settings += [text for text in _NEEDS[name] if text.partition("=")[0] not in given]
    try:
        made = profile(*settings, out=tmp_path / "profile", on_missing="ignore", on_error="raise")
    except RefusedError as error:
        refusal = str(error)
    else:
        request.node.stash[_PROFILE] = made
        return made
    pytest.fail(f"@pytest.mark.{MARK}: refused\n{refusal}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Check the budget once the test's own code has passed."""
    result = yield
    mark = pyfuncitem.get_closest_marker(MARK)
    made = pyfuncitem.stash.get(_PROFILE, None)
    if mark is not None and made is not None and (broken := _broken(made, mark.kwargs)):
        pytest.fail("\n".join(broken), pytrace=False)
    return result


def _broken(made: Profile, budget: Mapping[str, float]) -> list[str]:
    """Return what is over the budget, a line each, with the culprits; nothing where all holds."""
    from harness.errors import RecorderError, RefusedError

    try:
        run = made.result
    except RecorderError:
        return [f"profile budget: the profile was not used: {_USE}"]
    if run.status != "ok":
        return [f"profile budget: the profile {run.status}: {run.reason}", f"  {run.folder}"]
    try:
        measured = _measured(run.folder)
    except RefusedError as error:
        return [f"profile budget: it cannot be checked: {error}"]
    lines: list[str] = []
    reasons: tuple[str, ...] = ()
    for name, most in budget.items():
        value, culprits = measured[name]
        if value is None:
            lines.append(f"  {name}: {_LACKING[name]}")
            # The others have the same cause.
            reasons = run.missing[:1] or (_ADVICE[name],)
        elif value > most:
            lines.append(f"  {name}: {value:,.6g}, and the budget is {most:,.6g}")
            lines += [f"    {text}" for text in culprits]
    return (
        ["profile budget broken, of one step:", *lines, *reasons, f"  {run.folder}"]
        if lines
        else []
    )


def _measured(folder: Path) -> Mapping[str, tuple[float | None, Sequence[str]]]:
    """Return each figure of a run, with the operators or kernels that make it."""
    from harness.api.results import load
    from harness.capture.load import load_capture
    from harness.comparison.counts import counts

    capture = load_capture(folder)
    counted = counts(capture)
    values = {name: float(value) for name, value in counted.values.items()}
    timing = load(folder).record.timing
    phase = timing.get("baseline") or timing.get("active")
    kernels, operators = _rows(capture, "kernels"), _rows(capture, "operators")
    peak = values.get("peak_memory")
    return {
        "kernels": (values.get("kernels"), _most_called(kernels)),
        "operators": (values.get("operators"), _most_called(operators)),
        "step_ms": (phase.median_ns / 1e6 if phase else None, _slowest(kernels or operators)),
        "memory_mb": (
            None if peak is None else peak / _MB,
            [f"reached in {counted.peak_operator}"] if counted.peak_operator else [],
        ),
    }


def _rows(capture: Capture, table: Table) -> list[_Row]:
    from harness.comparison.attribution import per_step
    from harness.text import one_line

    found = per_step(capture, table)
    return [
        _Row(
            f"{one_line(key.name)} {_shapes(key.shapes)}".strip(),
            float(figure.calls),
            float(figure.time_ns),
        )
        for key, figure in (found.figures.items() if found is not None else ())
    ]


def _most_called(rows: Sequence[_Row]) -> list[str]:
    largest = sorted(rows, key=lambda row: row.calls, reverse=True)
    return [f"{row.label}: {row.calls:,.4g} ×" for row in largest[:_CULPRITS]]


def _slowest(rows: Sequence[_Row]) -> list[str]:
    largest = sorted(rows, key=lambda row: row.time_ns, reverse=True)
    return [f"{row.label}: {row.time_ns / 1e6:,.4g} ms" for row in largest[:_CULPRITS]]


def _shapes(shapes: Sequence[Sequence[int]] | None) -> str:
    return " ".join(f"[{','.join(map(str, shape))}]" for shape in shapes or () if shape)
