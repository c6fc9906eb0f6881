"""What a comparison shows: the answer in words, and rows that add up."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.capture.comparison_record import (
    Answer,
    ComparisonRecord,
    Contribution,
    Difference,
    StepTimes,
)
from harness.comparison.pipeline import compare
from harness.comparison.sides import sides
from harness.report.comparison import TOP, sections, sentence
from harness.report.markdown import markdown
from harness.settings.request import Compare
from tests.support.compared import side

BASE = [10.0, 10.1, 9.9, 10.05, 9.95]


@pytest.fixture
def record(tmp_path: Path) -> ComparisonRecord:
    many = [(f"aten::op{number}", [[number]], "float", 1000) for number in range(30)]
    side(tmp_path / "a", BASE, operators=many)
    more = [(*row[:3], 1000 + 100 * number) for number, row in enumerate(many)]
    side(tmp_path / "b", [step * 1.1 for step in BASE], operators=more)
    return compare(sides([tmp_path / "b"], [tmp_path / "a"]), Compare())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("slower", "slower, +10.0%"),
        ("faster", "faster, +10.0%"),
        ("no difference", "no difference beyond 3 %"),
        ("cannot tell", "cannot tell (+10.0% in these runs)"),
        ("not testable", "not testable (+10.0% in these runs)"),
    ],
)
def test_an_answer_is_one_sentence(record: ComparisonRecord, answer: Answer, said: str) -> None:
    assert record.times is not None
    assert sentence(replace(record.times, answer=answer)) == said


def test_the_rows_that_are_shown_add_up_to_the_step(record: ComparisonRecord) -> None:
    (_, operators) = sections(record)
    # The largest, the others, what is outside.
    assert len(operators.rows) == TOP + 2
    assert operators.rows[TOP][0] == "(20 others)"
    assert operators.rows[-1][0] == "(outside operators)"
    before, after, added = (
        sum(float(str(row[place])) for row in operators.rows if row[place] is not None)
        for place in (5, 6, 7)
    )
    assert (before, after, added) == (20_000_000, 20_000_000, 0)
    assert operators.notes[0] == "operators add +43.5 µs in all: 30 µs to 73.5 µs"


def test_how_many_more_runs_are_needed_is_said(record: ComparisonRecord) -> None:
    def notes(times: StepTimes) -> str:
        return markdown(sections(replace(record, times=times)))

    assert record.times is not None
    undecided = replace(record.times, answer="cannot tell", more_runs=1)
    assert "about 1 more run on each side would tell" in notes(undecided)
    assert "about 12 more runs on" in notes(replace(undecided, more_runs=12))
    assert "more runs would hardly tell" in notes(replace(undecided, more_runs=None))


def test_what_is_invented_is_marked_wherever_times_are_shown(record: ComparisonRecord) -> None:
    emulated = replace(record, emulated=True, times=None, no_times="their times are invented")
    titles = [section.title for section in sections(emulated)]
    assert titles[0] == "Comparison: step times are not compared"
    assert titles[1].endswith("(emulated: invented)")


def test_a_shape_that_changed_is_spelt_out_and_text_stays_text(record: ComparisonRecord) -> None:
    row = Contribution(
        name="aten::<b>|",
        change="shape and dtype",
        candidate_shapes=[[4, 8], []],
        base_shapes=[[2, 8]],
        candidate_dtypes=["bf16", None],
        base_dtypes=["float"],
        candidate_count=1,
        base_count=1,
        candidate_ns=5.0,
        base_ns=3.0,
        contribution_ns=2.0,
    )
    changed = replace(record, attributions=(replace(record.attributions[0], rows=(row,)),))
    text = markdown(sections(changed))
    assert "float[2,8] became bf16[4,8]" in text.replace("\\", "")
    assert r"aten::\<b>\|" in text


def test_many_differences_are_counted(record: ComparisonRecord) -> None:
    many = tuple(
        Difference(what=f"setting{number}", kind="setting", candidate=tuple("abcde"), base=("x",))
        for number in range(20)
    )
    shown = sections(replace(record, differences=many))[1]
    assert (len(shown.rows), shown.notes) == (15, ("5 more: --json",))
    assert shown.rows[0] == ("setting0", "a, b, c and 2 more", "x")
