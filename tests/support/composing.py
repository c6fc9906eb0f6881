"""Composing a request in a test."""

from __future__ import annotations

from functools import cache

from harness.configuration.composition import compose_jobs
from harness.configuration.validate import problems
from harness.errors import Problem
from harness.settings.request import Request


@cache
def composed(*overrides: str) -> Request:
    """Return the request of settings in which nothing is wrong."""
    composition = compose_jobs(overrides)
    (job,) = composition.jobs
    assert [*composition.problems, *job.problems] == []
    assert job.request is not None
    return job.request


def problems_of(*overrides: str) -> list[Problem]:
    """Return everything that is wrong with settings that make one job."""
    composition = compose_jobs(overrides)
    (job,) = composition.jobs
    further = problems(job.request) if job.request else []
    return [*composition.problems, *job.problems, *further]
