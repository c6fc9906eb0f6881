"""Another release of torch than the tested one is said, and only that."""

from __future__ import annotations

import pytest

from harness.execution.tested import untested


@pytest.mark.parametrize("version", ["2.13.0", "2.13.0+cpu", "2.13.1a0+git", ""])
def test_nothing_is_said_of_the_tested_release(version: str) -> None:
    assert untested(version) == ()


@pytest.mark.parametrize("version", ["2.14.1", "2.130.0", "3.0.0a0"])
def test_another_release_is_named(version: str) -> None:
    (said,) = untested(version)
    assert said == f"torch {version} is another release than 2.13, with which harness is tested"
