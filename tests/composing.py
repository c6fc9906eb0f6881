"""Composing a request in a test."""

from __future__ import annotations

from functools import cache

from harness.compose import compose_jobs
from harness.config import Request


@cache
def composed(*overrides: str) -> Request:
    """Return the request of settings in which nothing is wrong."""
    composition = compose_jobs(overrides)
    (job,) = composition.jobs
    assert [*composition.problems, *job.problems] == []
    assert job.request is not None
    return job.request
