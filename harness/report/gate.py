"""The sections of a gate, and its JUnit file: every limit, the worst first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as ET

from harness.capture.gate_record import GateRecord, Verdict, VerdictUnit
from harness.report.comparison import sections as comparison_sections
from harness.report.section import Column, Section, Value
from harness.report.units import duration, size
from harness.text import visible

_MARKS: Final = {
    "broken": "bad",
    "not checkable": "bad",
    "not decided": "remark",
    "held": "good",
    "not recorded": "remark",
}
_NO_XML: Final = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")


def sections(record: GateRecord) -> list[Section]:
    """Return what a gate shows."""
    shown = [_verdicts(record), *_culprits(record)]
    if record.comparison is not None:
        shown += comparison_sections(record.comparison)
    return shown


def _verdicts(record: GateRecord) -> Section:
    broken = sum(verdict.fails for verdict in record.verdicts)
    total = len(record.verdicts)
    undecided = sum(verdict.status == "not decided" for verdict in record.verdicts)
    title = f"Gate: failed, {broken} of {total} limits" if broken else "Gate: passed"
    if undecided:
        title += f"; {undecided} not decided"
    return Section(
        title=title,
        columns=(
            Column("", "status"),
            Column("limit"),
            Column("verdict"),
            Column("candidate", "text"),
            Column("base", "text"),
            Column("allowed"),
        ),
        rows=tuple(_row(verdict) for verdict in record.verdicts),
        notes=(
            *_reasons(record),
            f"limits: {record.limits or 'the default ones (docs/comparing.md)'}",
            *record.notes,
        ),
    )


def _reasons(record: GateRecord) -> Iterator[str]:
    passed_over = []
    for item in record.verdicts:
        if item.status == "not recorded":
            passed_over.append(item.limit.partition(".")[0])
        elif item.reason:
            yield f"{item.limit}: {item.reason}"
    if passed_over:
        yield f"not recorded on either side, and passed over: {', '.join(passed_over)}"


def _allowed(verdict: Verdict) -> str:
    if verdict.most is not None:
        return f"at most {figure(verdict.most, verdict.unit)}"
    return "equal" if verdict.limit.endswith(".equal") and verdict.base is not None else ""


def _row(verdict: Verdict) -> tuple[Value, ...]:
    return (
        _MARKS[verdict.status],
        verdict.limit,
        verdict.status,
        figure(verdict.candidate, verdict.unit),
        figure(verdict.base, verdict.unit),
        _allowed(verdict) or None,
    )


def figure(value: float | None, unit: VerdictUnit) -> str | None:
    """Return a figure of a verdict for people; None where there is none."""
    if value is None:
        return None
    if unit == "ns":
        return duration(value)
    return size(round(value)) if unit == "bytes" else f"{value:,.10g}"


def _culprits(record: GateRecord) -> Iterator[Section]:
    for verdict in record.verdicts:
        if verdict.culprits:
            yield Section(title=f"What breaks {verdict.limit}", notes=verdict.culprits)


def junit(record: GateRecord) -> bytes:
    """Return the limits as JUnit XML: one test for each."""
    failures = sum(verdict.status == "broken" for verdict in record.verdicts)
    errors = sum(verdict.fails for verdict in record.verdicts) - failures
    skipped = sum(
        not verdict.fails and verdict.status in {"not decided", "not recorded"}
        for verdict in record.verdicts
    )
    suite = ET.Element(
        "testsuite",
        name="harness gate",
        tests=str(len(record.verdicts)),
        failures=str(failures),
        errors=str(errors),
        skipped=str(skipped),
    )
    for verdict in record.verdicts:
        case = ET.SubElement(suite, "testcase", classname="harness.gate", name=verdict.limit)
        kind = _junit_kind(verdict)
        if kind:
            told = ET.SubElement(case, kind, message=_told(verdict))
            told.text = "\n".join(_clean(line) for line in verdict.culprits)
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    content: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _junit_kind(verdict: Verdict) -> str:
    if verdict.status == "broken":
        return "failure"
    if verdict.fails:
        return "error"
    return "skipped" if verdict.status in {"not decided", "not recorded"} else ""


def _told(verdict: Verdict) -> str:
    return _clean("; ".join(filter(None, (one_line(verdict), verdict.reason))))


def one_line(verdict: Verdict) -> str:
    """Return a verdict in one line."""
    words: list[str] = [verdict.status]
    if verdict.candidate is not None:
        words.append(f"{figure(verdict.candidate, verdict.unit)}")
    if verdict.base is not None:
        words.append(f"base {figure(verdict.base, verdict.unit)}")
    if allowed := _allowed(verdict):
        words.append(f"allowed {allowed}")
    return ", ".join(words)


def _clean(text: str) -> str:
    return _NO_XML.sub("?", visible(text))
