"""Which functions outside torch the host's time belongs to."""

from __future__ import annotations

import pytest

from harness.analyses.code import functions, own_function
from tests.support.captures import Columns, capture

OPERATORS: Columns = {
    "step": [None, 1, 1, 1, 1],
    "name": ["mm", "mm", "relu", "add", "copy"],
    "stack_id": [1, 1, 2, 1, None],
    "self_ns": [1000, 50, 70, 30, 20],
    "device_ns": [None, 5, None, 6, None],
}
STACKS: Columns = {
    "stack_id": [1, 2],
    "frames": [
        [
            "<built-in function linear>",
            "torch/nn/modules/linear.py(130): forward",
            "gpt.py(7): mlp",
        ],
        ["gpt.py(20): norm", "gpt.py(7): mlp"],
    ],
}


def test_an_operator_belongs_to_the_innermost_function_outside_torch() -> None:
    table = functions(capture(operators=OPERATORS, stacks=STACKS))
    assert table.columns == ["function", "operators", "self_ns", "device_ns", "share"]
    assert table.rows() == [
        ("gpt.py(7): mlp", 2, 80, 11, 80 / 170),
        ("gpt.py(20): norm", 1, 70, None, 70 / 170),
        (None, 1, 20, None, 20 / 170),
    ]
    assert table["self_ns"].sum() == 50 + 70 + 30 + 20


def test_without_stacks_there_is_no_table() -> None:
    without: Columns = {**OPERATORS, "stack_id": [None] * 5}
    assert functions(capture(operators=without)).is_empty()
    inside: Columns = {"stack_id": [1], "frames": [["torch/_ops.py(7): call"]]}
    assert functions(capture(operators=OPERATORS, stacks=inside)).is_empty()


@pytest.mark.parametrize(
    ("frame", "is_own"),
    [
        ("train.py(7): forward", True),
        ("/home/me/models/gpt.py(7): <lambda>", True),
        ("<ipython-input-3>(7): forward", True),
        ("<string>(1): <module>", False),
        ("harness/workloads/mlp.py(7): step", True),
        ("harness/execution/session.py(7): run", False),
        ("torch/nn/modules/linear.py(130): forward", False),
        ("/usr/lib/python3/dist-packages/numpy/core.py(1): f", False),
        ("/venv/lib/python3.11/site-packages/transformers/trainer.py(9): step", False),
        ("torch_npu/npu/streams.py(4): wait", False),
        ("threading.py(975): run", False),
        ("concurrent/futures/thread.py(58): run", False),
        ("torchtrain/train.py(7): step", True),
        ("nn.Module: Linear_0", False),
        ("<built-in method randn of type object at 0x7f14bfacea40>", False),
    ],
)
def test_what_is_outside_torch_and_python(frame: str, is_own: bool) -> None:
    assert own_function(["torch/_ops.py(1): call", frame]) == (frame if is_own else None)
    assert own_function(None) is None
