"""Each line of doctor, good and bad, on machines that are not here."""

from __future__ import annotations

from typing import Any

import pytest

from harness.doctor.diagnose import CHECKS
from tests.support.diagnoses import cuda, host, npu
from tests.support.machines import finding

TABLES = (host, cuda, npu)
GOOD = [case for table in TABLES for case in table.GOOD]
BAD = [case for table in TABLES for case in table.BAD]
NOTES = [case for table in TABLES for case in table.NOTES]


@pytest.mark.parametrize(("name", "changes", "says"), GOOD)
def test_other_good_machines(name: str, changes: dict[str, Any], says: str) -> None:
    assert finding(name, **changes) == (True, says, "")


@pytest.mark.parametrize(("name", "changes", "says", "do"), BAD)
def test_bad_says_why_and_what_to_do(
    name: str, changes: dict[str, Any], says: str, do: str
) -> None:
    assert finding(name, **changes) == (False, says, do)


@pytest.mark.parametrize(("name", "changes", "says", "do"), NOTES)
def test_what_is_in_the_way_of_nothing_is_a_note(
    name: str, changes: dict[str, Any], says: str, do: str
) -> None:
    assert finding(name, **changes) == (None, says, do)


def test_each_line_can_be_other_than_good() -> None:
    assert {case[0] for case in (*BAD, *NOTES)} == {check.name for check in CHECKS}
