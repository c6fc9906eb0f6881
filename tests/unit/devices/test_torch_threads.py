"""Operators of the program's other threads are counted; those of torch's own workers are not."""

from __future__ import annotations

import pytest

from harness.devices.torch_threads import _Operator, counts_of

STEP = [
    _Operator(0, 100, "aten::attention"),
    _Operator(10, 20, "aten::empty"),
    _Operator(100, 150, "aten::add"),
    _Operator(200, 300, "aten::mm"),
]


@pytest.mark.parametrize(
    ("others", "counted"),
    [
        ([], ()),
        # All within an operator, or within two that follow each other without a gap.
        ([[_Operator(30, 40, "aten::empty"), _Operator(220, 300, "aten::empty")]], ()),
        ([[_Operator(90, 120, "aten::empty")]], ()),
        # One before, between, over the end, or after: so the step's thread did not wait for all.
        ([[_Operator(-5, 4, "aten::mul")]], ({"aten::mul": 1},)),
        (
            [[_Operator(30, 40, "aten::mul"), _Operator(160, 170, "aten::mul")]],
            ({"aten::mul": 2},),
        ),
        ([[_Operator(140, 151, "aten::mul")]], ({"aten::mul": 1},)),
        ([[_Operator(301, 302, "aten::mul")]], ({"aten::mul": 1},)),
        (
            [[_Operator(30, 40, "aten::empty")], [_Operator(150, 200, "aten::mm")]],
            ({"aten::mm": 1},),
        ),
    ],
)
def test_threads_are_counted_that_the_step_does_not_wait_for(
    others: list[list[_Operator]], counted: tuple[dict[str, int], ...]
) -> None:
    counts = counts_of(STEP, others)
    assert counts.of_others == counted
    names = {"aten::attention": 1, "aten::empty": 1, "aten::add": 1, "aten::mm": 1}
    assert counts.of_step == names


def test_a_thread_of_the_devices_own_is_left_out_if_it_does_nothing_else() -> None:
    destroyed, multiplied = _Operator(160, 170, "destroy_event"), _Operator(180, 190, "aten::mul")
    others = [[destroyed, destroyed], [destroyed, multiplied]]
    upkeep = {"destroy_event"}
    assert counts_of(STEP, others[:1], upkeep).of_others == ()
    assert counts_of(STEP, others, upkeep).of_others == ({"destroy_event": 1, "aten::mul": 1},)
    assert counts_of(STEP, others[:1]).of_others == ({"destroy_event": 2},)


def test_of_a_step_without_operators_all_others_are_counted() -> None:
    assert counts_of([], [[_Operator(0, 1, "aten::mm")]]).of_others == ({"aten::mm": 1},)
