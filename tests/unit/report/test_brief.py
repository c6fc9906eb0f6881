"""A summary on one screen: what it shows, and that no failure is left out of it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from harness.analyses.registry import run_analyses
from harness.capture.run_record import Delivery, DeliveryStatus
from harness.report.brief import in_detail
from harness.report.console import Console
from harness.report.run import sections
from harness.report.section import LEFT_OUT, Brief, Column, Section, brief_rows
from harness.report.terminal import show
from tests.support.captures import capture
from tests.unit.report.test_run import RECORD

LONG = Section(
    title="Long",
    columns=(Column("name"), Column("count", "count")),
    rows=(("a", 3), ("b", 2), ("c", 1)),
    notes=("why", "1 more in analyses/"),
    brief=Brief(rows=(("a", 3),), notes=("why",)),
)
SHORT = Section(title="Short", notes=("all of it",))
HIDDEN = Section(title="Hidden", notes=("for later",), brief=LEFT_OUT)
HINT = "full: report.detail=full, or summary.md"


def test_full_is_the_summary_as_it_is() -> None:
    assert in_detail([LONG, HIDDEN, SHORT], "full", "summary.md") == [LONG, HIDDEN, SHORT]


def test_brief_is_what_each_section_says_and_where_the_rest_is() -> None:
    assert in_detail([LONG, HIDDEN, SHORT], "brief", "summary.md") == [
        Section(title="Long", columns=LONG.columns, rows=(("a", 3),), notes=("why",)),
        Section(title="Short", notes=("all of it", HINT)),
    ]


def test_where_nothing_is_left_out_nothing_says_so() -> None:
    whole = replace(SHORT, brief=Brief(notes=SHORT.notes))
    assert in_detail([whole, SHORT], "brief", "summary.md") == [SHORT, SHORT]


def test_needed_rows_are_kept_however_many_they_are() -> None:
    rows = tuple((name, name in "bde") for name in "abcdef")

    def is_needed(row: object) -> bool:
        return bool(row[1])  # type: ignore[index]

    names = {
        most: "".join(str(row[0]) for row in brief_rows(rows, most, needed=is_needed))
        for most in (1, 4, 9)
    }
    assert names == {1: "bde", 4: "abde", 9: "abcdef"}


STATUSES: tuple[DeliveryStatus, ...] = (
    *("delivered", "partial", "missing", "substituted", "not_checkable", "not_requested"),
)
NOTHING = run_analyses(capture())
deliveries = st.builds(
    Delivery,
    setting=st.integers(0, 99).map(lambda number: f"profiler.setting_{number}_"),
    requested=st.just("true"),
    arrived=st.sampled_from(["", "0 operators"]),
    status=st.sampled_from(STATUSES),
    expectation=st.just("rows"),
    reason=st.sampled_from(["", "the driver has none"]),
    accepted=st.booleans(),
)


@given(st.lists(deliveries, max_size=30), st.sampled_from(["ok", "failed", "interrupted"]))
def test_what_was_not_delivered_is_on_the_screen(items: list[Delivery], status: str) -> None:
    record = replace(RECORD, delivery=tuple(items), status=status, verdict="not_delivered")
    stream = io.StringIO()
    parts = in_detail(sections(record, NOTHING, "a/run"), "brief", "summary.md")
    show(parts, Console(file=stream, width=200))
    missed = [item for item in items if item.status not in {"delivered", "not_requested"}]
    rows = [row[:2] for part in parts if part.title.startswith("Delivery") for row in part.rows]
    assert rows == [(item.status, item.setting) for item in missed]
    for item in items:
        if item.status != "delivered":
            assert item.setting.removeprefix("profiler.") in stream.getvalue()
        if item in missed and item.reason and status == "ok":
            assert item.reason in stream.getvalue()


@pytest.mark.parametrize("detail", ["brief", "full"])
def test_all_that_was_delivered_is_one_figure(detail: str) -> None:
    item = Delivery(
        setting="profiler.activities",
        requested="[host]",
        arrived="4 operators",
        status="delivered",
        expectation="rows",
    )
    record = replace(RECORD, delivery=(item, replace(item, setting="profiler.schedule")))
    parts = sections(record, NOTHING, "a/run")
    shown = {part.title: part for part in in_detail(parts, detail, "summary.md")}  # type: ignore[arg-type]
    verdict = "everything requested was delivered"
    is_brief = detail == "brief"
    figure = ": 2 of 2" if is_brief else ""
    assert shown["harness"].notes[-1] == f"{verdict}{figure} (exit code 0)"
    assert ("Delivery: what was requested, what arrived" in shown) is not is_brief
