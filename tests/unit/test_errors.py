"""How problems are told."""

from __future__ import annotations

import pickle

from harness.errors import ExitCode, Problem, RefusedError


def test_problem_is_two_lines() -> None:
    problem = Problem(setting="seed", given="x", reason="must be a number", fix="seed=1")
    assert str(problem) == "seed=x: must be a number.\n    fix: seed=1"
    error = RefusedError([problem, problem])
    assert error.exit_code is ExitCode.REFUSED
    assert str(error).count("fix:") == 2


def test_a_refusal_keeps_its_problems_between_processes() -> None:
    problem = Problem(setting="seed", given="x", reason="must be a number", fix="seed=1")
    again = pickle.loads(pickle.dumps(RefusedError([problem])))  # noqa: S301 - our own bytes
    assert again.problems == (problem,)
    assert str(again) == str(problem)
