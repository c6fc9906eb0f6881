"""Which tables hold for a version, and which versions are refused."""

from __future__ import annotations

import pytest

from harness.engines import SOURCES, TARGETS
from harness.engines.importing import reading
from harness.engines.requested import of_request
from harness.engines.versions import holding, named, numbers, release_of
from harness.errors import RefusedError
from tests.support.composing import composed

BODY = '{"profiler": "torch", "torch_profiler_dir": "c", "active_iterations": 3}'


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.33", (0, 33)),
        ("0.33.0", (0, 33)),
        ("v0.5.23.post1+cu12", (0, 5, 23)),
        ("0.32.0rc1", (0, 32)),
        ("b5bcd76c", ()),
        ("0.11.0rc2.dev12+gabc_1", (0, 11)),
        ("new", ()),
        ("0.5.23+123", (0, 5, 23)),
        ("0.5.23-1", (0, 5, 23)),
        ("@", ()),
        ("0.33@x", ()),
        ("٣.٣", ()),
        ("9999999999", ()),
    ],
)
def test_numbers_of_a_version(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("", "0.33.0"), ("0.40", "0.33.0"), ("0.33", "0.33.0"), ("0.32.1", "0.32.0")],
)
def test_the_newest_release_that_is_no_newer_holds(version: str, expected: str) -> None:
    assert release_of(TARGETS["vllm"], version, "export").version == expected


@pytest.mark.parametrize(
    ("target", "version", "fix"),
    [
        ("vllm", "0.12", "--target vllm@0.13.0, and compare what your version takes"),
        ("vllm", "new", "--target vllm, or --target vllm@0.33.0"),
        ("torchtitan", "0.2", "--target torchtitan"),
    ],
)
def test_a_version_that_was_not_looked_at_is_refused(target: str, version: str, fix: str) -> None:
    known = {**TARGETS, **SOURCES}[target]
    assert holding(known, version) is None
    with pytest.raises(RefusedError) as raised:
        release_of(known, version, "--target")
    assert [problem.fix for problem in raised.value.problems] == [fix]


@pytest.mark.parametrize(("target", "expected"), [("vllm", "0.33.0"), ("vllm@0.32", "0.32.0")])
def test_a_file_is_read_with_the_words_of_its_version(target: str, expected: str) -> None:
    assert reading(BODY, "body.json", target).release.version == expected


@pytest.mark.parametrize(
    ("version", "of"), [("", "sglang 0.5.23"), ("0.5.15", "sglang 0.5.15"), ("0.6", "sglang 0.6")]
)
def test_a_capture_is_judged_as_the_version_says(version: str, of: str) -> None:
    request = composed("device=npu", "profiler=sglang")
    made = of_request(request, TARGETS["sglang"], version)
    assert made.expected.asked is not None
    assert made.expected.asked.of == of
    assert all(text.startswith(f"{of} takes") for text in made.expected.asked.drops.values())


@pytest.mark.parametrize(
    ("given", "expected"),
    [("vllm", ("vllm", "")), ("vllm@0.32", ("vllm", "0.32")), ("vllm@", ("vllm", "@"))],
)
def test_an_at_sign_with_nothing_behind_it_is_no_newest_version(
    given: str, expected: tuple[str, str]
) -> None:
    assert named(given) == expected
    if expected[1] == "@":
        with pytest.raises(RefusedError, match="a version is numbers with dots"):
            release_of(TARGETS["vllm"], "@", "export")
