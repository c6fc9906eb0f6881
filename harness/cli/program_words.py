"""The words after ``--`` on a command line: a program of the user's, as settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import Problem, refuse


def split_program(words: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """Return the words before ``--``, and those after it; None if there is no such sign."""
    if "--" not in words:
        return list(words), None
    place = list(words).index("--")
    return list(words[:place]), tuple(words[place + 1 :])


def settings_of_program(
    program: Sequence[str], overrides: Sequence[str], subcommand: str, is_taken: bool
) -> list[str]:
    """Return the settings that a program and its words stand for.

    Args:
        program: The words after ``--``.
        overrides: The settings before it.
        subcommand: The name of the subcommand; empty without one.
        is_taken: Whether it takes a program.

    Raises:
        RefusedError: There is no program, or it has no place here; or a setting names another.
    """
    # What reads settings is loaded only where there is a program.
    from harness.configuration.composition import setting_of
    from harness.configuration.overrides import quoted
    from harness.workloads.program import settings_of

    if not is_taken:
        reason, fix = f"{subcommand} runs no program", "leave out -- and what follows it"
        refuse([Problem(setting="--", given="", reason=reason, fix=fix)])
    if not program or tuple(program) == ("-m",):
        fix = "-- train.py --lr 1e-3, or -- -m package.train"
        refuse([Problem(setting="--", given="", reason="a program must follow", fix=fix)])
    settings = settings_of(tuple(program))
    typed = {text: setting_of(text) for text in overrides}

    def typed_as(name: str, value: str | list[str]) -> str:
        words = f"[{','.join(map(quoted, value))}]" if isinstance(value, list) else quoted(value)
        return f"workload.{name}={words}"

    if not settings["args"] and "workload.args" in typed.values():
        # They may be swept.
        del settings["args"]
    refuse([*_named_twice(typed, {"workload", *(f"workload.{name}" for name in settings)})])
    return ["workload=program", *(typed_as(name, value) for name, value in settings.items())]


def _named_twice(typed: dict[str, str], taken: set[str]) -> Iterator[Problem]:
    for text, setting in typed.items():
        if setting in taken:
            given = text.partition("=")[2]
            reason = "the program after -- sets it, too"
            yield Problem(setting=setting, given=given, reason=reason, fix="keep one of them")
