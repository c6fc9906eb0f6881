"""The page of a comparison: its figures are those of the record."""

from __future__ import annotations

from harness.capture.comparison_record import (
    Attribution,
    ComparedRun,
    ComparisonRecord,
    Contribution,
    StepTimes,
)
from harness.report.comparison import sections
from harness.report.html.comparison import comparison_page
from harness.report.html.figure import Bars, Plot

ROW = Contribution(
    name="aten::mm",
    change="time",
    candidate_shapes=None,
    base_shapes=None,
    candidate_dtypes=None,
    base_dtypes=None,
    candidate_count=1,
    base_count=1,
    candidate_ns=30.0,
    base_ns=20.0,
    contribution_ns=10.0,
)
RECORD = ComparisonRecord(
    candidate=(
        ComparedRun(folder="new/1", step_ns=120),
        ComparedRun(folder="new/2", step_ns=None),
        ComparedRun(folder="new/3", step_ns=130),
    ),
    base=(ComparedRun(folder="old/1", step_ns=100),),
    emulated=False,
    differences=(),
    times=StepTimes(
        kind="unprofiled",
        candidate_ns=125.0,
        base_ns=100.0,
        ratio=1.25,
        answer="not testable",
        margin=0.03,
        confidence=0.95,
        reason="one run",
    ),
    attributions=(
        Attribution(
            table="operators",
            rows=(ROW,),
            candidate_ns=30.0,
            base_ns=20.0,
            step_ns=None,
            outside_ns=None,
        ),
    ),
)


def test_the_figures_have_the_values_of_the_record() -> None:
    parts = comparison_page(RECORD, sections(RECORD)).parts
    steps, operators = parts[0].contents[:2]
    assert isinstance(steps, Plot)
    assert [(each.name, each.x, each.y, each.labels) for each in steps.series] == [
        ("candidate", (1, 2), (120, 130), ("new/1", "new/3")),
        ("base", (1,), (100,), ("old/1",)),
    ]
    assert isinstance(operators, Bars)
    assert operators.labels == ("aten::mm, candidate", "aten::mm, base")
    assert operators.series[0].values == (30.0, 20.0)
    assert [part.title for part in parts] == [part.title for part in sections(RECORD)]
