"""Limits: which are allowed, which hold, what breaks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from harness.capture.gate_record import GateRecord, Verdict
from harness.comparison.gate import gate
from harness.comparison.limits import DEFAULT, read_limits
from harness.comparison.sides import sides
from harness.errors import RefusedError
from harness.report.gate import junit, sections
from harness.report.markdown import markdown
from tests.support.compared import compared_run, side

BASE = [10.0, 10.1, 9.9, 10.05, 9.95]
MM = ("aten::mm", [[4, 8]], "float", 1_000_000)
ADD = ("aten::add", [[4, 8]], "float", 900_000)


def held(
    tmp_path: Path, candidate: dict[str, Any], base: dict[str, Any] | None, text: str = ""
) -> GateRecord:
    """Hold a candidate of five runs against a base of five runs, if there is one."""
    side(tmp_path / "b", candidate.pop("steps", BASE), **candidate)
    if base is not None:
        side(tmp_path / "a", base.pop("steps", BASE), **base)
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    bases = [tmp_path / "a"] if base is not None else []
    limits = read_limits(file) if text else DEFAULT
    return gate(sides([tmp_path / "b"], bases), limits, str(file) if text else "")


def by_name(record: GateRecord) -> dict[str, Verdict]:
    return {verdict.limit: verdict for verdict in record.verdicts}


def test_of_the_same_all_that_was_recorded_is_held(tmp_path: Path) -> None:
    record = held(tmp_path, {"memory": [5000]}, {"memory": [5000]})
    assert record.passed
    assert {name: verdict.status for name, verdict in by_name(record).items()} == {
        "operators.equal": "held",
        "peak_memory.max_increase": "held",
        "shapes.equal": "held",
        "dtypes.equal": "held",
        "step_time.max_increase": "held",
        "kernels.equal": "not recorded",
        "launches.equal": "not recorded",
        "collective_bytes.equal": "not recorded",
    }


def test_an_operator_more_breaks_the_count_and_is_named(tmp_path: Path) -> None:
    record = held(tmp_path, {"operators": [MM, ADD]}, {"operators": [MM]})
    verdict = by_name(record)["operators.equal"]
    assert (record.passed, verdict.status, verdict.candidate, verdict.base) == (
        False,
        "broken",
        2,
        1,
    )
    assert verdict.culprits == ("aten::add [4,8]: 0 to 1",)


def test_as_many_operators_that_are_others_break_the_count(tmp_path: Path) -> None:
    sub = ("aten::sub", *ADD[1:])
    record = held(tmp_path, {"operators": [MM, sub]}, {"operators": [MM, ADD]})
    verdict = by_name(record)["operators.equal"]
    assert (record.passed, verdict.status, verdict.candidate, verdict.base) == (
        False,
        "broken",
        2,
        2,
    )
    assert verdict.culprits == ("aten::sub: 0 to 1", "aten::add: 1 to 0")
    assert verdict.reason == "as many in all, but 2 are not called as often"


def test_operators_that_one_run_of_the_base_calls_are_held(tmp_path: Path) -> None:
    sub = ("aten::sub", *ADD[1:])
    for number, operators in enumerate(([MM, ADD], [MM, sub])):
        compared_run(tmp_path / "a" / str(number), operators=operators)
    compared_run(tmp_path / "b", operators=[MM, sub])
    record = gate(sides([tmp_path / "b"], [tmp_path / "a"]), DEFAULT, "")
    assert by_name(record)["operators.equal"].status == "held"


def test_other_shapes_and_dtypes_are_broken_apart(tmp_path: Path) -> None:
    record = held(
        tmp_path,
        {"operators": [("aten::mm", [[4, 9]], "float", 1), ("aten::add", [[4, 8]], "bf16", 1)]},
        {"operators": [MM, ADD]},
    )
    found = by_name(record)
    assert found["operators.equal"].status == "held"
    assert found["shapes.equal"].culprits == ("aten::mm: [4,8] became [4,9]",)
    assert found["dtypes.equal"].culprits == ("aten::add: float became bf16",)


@pytest.mark.parametrize(("peak", "status"), [(10_100, "held"), (10_101, "broken"), (1, "held")])
def test_memory_may_grow_by_a_hundredth(tmp_path: Path, peak: int, status: str) -> None:
    verdict = by_name(held(tmp_path, {"memory": [peak]}, {"memory": [10_000, 7]}))
    assert verdict["peak_memory.max_increase"].status == status


def test_memory_is_held_against_the_highest_peak_of_the_base(tmp_path: Path) -> None:
    for number, peak in enumerate((9_000, 10_000)):
        compared_run(tmp_path / "a" / str(number), memory=[peak])
    compared_run(tmp_path / "b", memory=[10_100])
    record = gate(sides([tmp_path / "b"], [tmp_path / "a"]), DEFAULT, "")
    assert by_name(record)["peak_memory.max_increase"].status == "held"


def test_a_slower_step_breaks_the_gate_and_names_what_took_longer(tmp_path: Path) -> None:
    slow = {"steps": [step * 1.1 for step in BASE], "operators": [(*MM[:3], 2_000_000)]}
    verdict = by_name(held(tmp_path, slow, {}))["step_time.max_increase"]
    assert (verdict.status, verdict.fails) == ("broken", True)
    assert verdict.reason == "slower by 10.0%"
    assert verdict.culprits == ("aten::mm [4,8]: +1,000.0 µs (time)",)
    assert verdict.most == pytest.approx(10e6 * 1.03)


def test_a_time_that_runs_cannot_tell_fails_only_if_that_is_asked(tmp_path: Path) -> None:
    for undecided, fails in (("pass", False), ("fail", True)):
        text = f"step_time: {{max_increase: 0.03, undecided: {undecided}}}"
        record = held(tmp_path / undecided, {"steps": [11.0]}, {"steps": [10.0]}, text)
        (verdict,) = record.verdicts
        assert (verdict.status, verdict.fails) == ("not decided", fails)
        assert "one run" in verdict.reason


def test_a_faster_step_is_held(tmp_path: Path) -> None:
    faster = {"steps": [step * 0.98 for step in BASE]}
    assert by_name(held(tmp_path, faster, {}))["step_time.max_increase"].status == "held"


def test_limits_alone_need_no_base(tmp_path: Path) -> None:
    text = "operators: {max: 1}\nstep_time: {max_ms: 9.5}\npeak_memory: {max_mib: 1}\n"
    record = held(tmp_path, {"memory": [2**20 + 1]}, None, text)
    assert [(verdict.limit, verdict.status) for verdict in record.verdicts] == [
        ("step_time.max_ms", "broken"),
        ("peak_memory.max_mib", "broken"),
        ("operators.max", "held"),
    ]
    assert record.verdicts[0].candidate == 10e6
    assert record.comparison is None


def test_a_written_limit_without_data_fails_and_says_what_to_turn_on(tmp_path: Path) -> None:
    record = held(tmp_path, {}, {}, "peak_memory: {max_increase: 0.1}\nkernels: {max: 5}")
    found = by_name(record)
    assert not record.passed
    assert {verdict.status for verdict in found.values()} == {"not checkable"}
    assert "profiler.profile_memory=true" in found["peak_memory.max_increase"].reason
    assert "profiler.activities" in found["kernels.max"].reason


def test_by_default_what_the_base_alone_has_is_not_checkable(tmp_path: Path) -> None:
    verdict = by_name(held(tmp_path, {}, {"memory": [5]}))["peak_memory.max_increase"]
    assert (verdict.status, verdict.fails) == ("not checkable", True)
    assert "the candidate has not recorded it" in verdict.reason


def test_counts_that_differ_within_the_base_are_said(tmp_path: Path) -> None:
    side(tmp_path / "a", [10.0]), side(tmp_path / "b", [10.0], operators=[MM, ADD])
    compared_run(tmp_path / "a" / "other", operators=[MM, ADD])
    record = gate(sides([tmp_path / "b"], [tmp_path / "a"]), DEFAULT, "")
    verdict = by_name(record)["operators.equal"]
    assert (verdict.status, verdict.reason) == ("held", "the runs of the base differ: 1 to 2")


REFUSED = {
    "kernels: {equall: true}": "kernels.equall=true: there is no such setting",
    "kernels: {max: -1}": "kernels.max=-1: must be a number above 0",
    "step_time: {max_increase: 3%}": "step_time.max_increase=3%: must be a number above 0",
    "speed: {max: 1}": "speed",
    "kernels: {}": "this limit allows everything; it needs equal or max_increase or max",
    "shapes: {equal: false}": "this limit allows everything",
    "kernels: {max: 1, max: 2}": "the key max stands twice",
    "a: &x {max: 1}\nb: *x": "an alias (*name) has no place in limits",
    "!!python/object/apply:os.system ['true']": "a tag (!name) has no place in limits",
    "[1]": "it must have limits by their names",
    "": "it must have limits by their names",
    "kernels: {": "it is no YAML of limits",
    "kernels: !!python/object/apply:os.system [id]": "a tag (!name) has no place in limits",
    "kernels: {equal: !!bool abc}": "a tag (!name) has no place in limits",
    "kernels: !!map [a]": "a tag (!name) has no place in limits",
    "[" * 50_000: "it has more than 8 levels, and limits take two",
    "{a: " * 20_000: "it has more than 8 levels, and limits take two",
    "kernels: {max: 1:" + "30:" * 20_000 + "1}": "of more than 200 characters has no place",
    "".join(f"k{number}: 1\n" for number in range(9_000)): "it has more than 1,000 names",
    "kernels: {<<: {equal: true}}": "it is no YAML of limits",
    "? [a]\n: 1": "found unhashable key",
    "kernels:\n\tequal: true": "it is no YAML of limits",
    "kernels: null": "a limit is a name with its rules",
    "kernels: yes": "a limit is a name with its rules",
    "kernels: {max: .nan}": "kernels.max=nan: must be a number above 0",
    "kernels: {max: .inf}": "kernels.max=inf: must be a number above 0",
    "step_time: {max_increase: 0.1, confidence: .nan}": "step_time.confidence=nan: must be",
    "\x00": "it is no YAML of limits",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:40]))
def test_a_file_of_limits_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    with pytest.raises(RefusedError) as refused:
        read_limits(file)
    assert REFUSED[text] in str(refused.value)
    assert str(file) in str(refused.value)


def test_all_wrong_limits_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("kernels: {max: a}\noperators: {max: b}\n")
    with pytest.raises(RefusedError) as refused:
        read_limits(file)
    assert len(refused.value.problems) == 2


def test_a_file_of_limits_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="No such file"):
        read_limits(tmp_path / "none.yaml")


def test_the_reports_have_every_limit_the_worst_first(tmp_path: Path) -> None:
    name = "bad\x1b[31m<&|name\ufffe"
    record = held(tmp_path, {"operators": [MM, (name, [[1]], "float", 1)]}, {"operators": [MM]})
    text = markdown(sections(record))
    assert text.startswith("# Gate: failed, 1 of 8 limits\n")
    assert text.index("operators.equal") < text.index("shapes.equal")
    suite = ET.fromstring(junit(record)).find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "1", "0")
    assert suite.get("skipped") == "4"
    case = suite.find("testcase")
    assert case is not None
    failure = case.find("failure")
    assert (case.get("name"), failure is not None) == ("operators.equal", True)
    assert failure is not None
    assert failure.text == "bad[U+001B][31m<&|name? [1]: 0 to 1"
