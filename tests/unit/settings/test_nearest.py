"""The name that a mistyped word means."""

from __future__ import annotations

import pytest

from harness.settings.nearest import nearest

LEVELS = ("default", "level0", "level1", "level2", "memory")
WORKLOADS = ("attention", "callable", "conv", "matmul", "mlp", "transformer")
DEVICES = ("cpu", "cuda", "npu")


@pytest.mark.parametrize(
    ("word", "names", "meant"),
    [
        ("LEVEL1", LEVELS, "level1"),  # the same, but for its case
        ("lvel1", LEVELS, "level1"),  # a letter is missing
        ("levell1", LEVELS, "level1"),  # one is too many
        ("mpl", WORKLOADS, "mlp"),  # two are swapped
        ("cnov", WORKLOADS, "conv"),
        ("matmal", WORKLOADS, "matmul"),  # one is another
        ("tranform", WORKLOADS, "transformer"),  # three are missing
        ("transf", WORKLOADS, "transformer"),  # the beginning of one
        ("gpu", DEVICES, "cuda"),  # a synonym, though "cpu" and "npu" look like it
        ("GPU", DEVICES, "cuda"),
        ("gpu", ("cpu", "mpu2"), "cpu"),  # where the synonym's name does not exist
        ("fp16", ("bfloat16", "float16", "float32"), "float16"),
    ],
)
def test_the_nearest_name_wins(word: str, names: tuple[str, ...], meant: str) -> None:
    assert nearest(word, names) == meant
    assert nearest(word, names[::-1]) == meant  # never by its place


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("nosuch", LEVELS),
        ("level3", LEVELS),  # three are as near
        ("tpu", DEVICES),
        ("x", ("y", "z1")),  # one letter wrong of one
        ("", LEVELS),
        ("word", ()),
        ("memo", ("memory", "memoir")),  # both begin with it
    ],
)
def test_no_name_is_suggested_if_none_is_near_or_several_are(
    word: str, names: tuple[str, ...]
) -> None:
    assert nearest(word, names) is None
