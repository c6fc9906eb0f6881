"""Whatever goes wrong: the right exit code, a true record, and nothing left behind."""

from __future__ import annotations

import pytest

from tests.faults.scene import Fault
from tests.faults.table import all_faults, made, quick

QUICK = list(quick())


@pytest.mark.parametrize("fault", QUICK, ids=[fault.name for fault in QUICK])
def test_fault(fault: Fault) -> None:
    _, wrong = made(fault)
    assert wrong == []


def test_the_table_is_as_large_as_it_says() -> None:
    faults = all_faults()
    assert len({fault.name for fault in faults}) == len(faults), "each has a name of its own"
    assert len(faults) >= 300
    assert len({fault.kind for fault in faults}) >= 25
