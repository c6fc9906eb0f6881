"""What was meant by a flag that does not exist, or by a bare word that is no subcommand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import inspect

from harness.configuration.composition import choices
from harness.errors import Problem, RefusedError
from harness.settings.nearest import nearest
from harness.settings.request import Request
from harness.settings.schema import paths
from harness.text import assignment

_PAIRS = "profiler/experimental"
"""A group whose files follow from the choice of others."""
_ADDED = "sweep"
"""The group that is added to the settings, with a +."""


def unknown_flag(
    flag: str, value: str, flags: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> Problem:
    """Say which setting, or which of the flags, was meant by ``--name`` or ``--name value``."""
    word = flag.lstrip("-").replace("-", "_")
    settings = _settings(groups)
    names = [name.lstrip("-") for name in flags]
    close = None if word in settings else nearest(flag.lstrip("-"), names)
    setting = None if close else _meant(word, settings)
    if setting:
        reason = "settings are written without dashes, as name=value"
        fix = f"write {assignment(settings[setting], value or '…')}"
    elif close:
        reason, fix = "there is no such flag", f"write --{close}"
    else:
        reason, fix = "there is no such flag", f"use one of {', '.join(flags)}"
    return Problem(setting=flag, given=value, reason=reason, fix=fix)


def bare_word(
    word: str, subcommand: str, subcommands: Collection[str], groups: Mapping[str, Sequence[str]]
) -> Problem:
    """Say which subcommand, setting or choice was meant by a word without ``=``."""
    if word in subcommands:
        return Problem(
            setting=word,
            given="",
            reason="only one subcommand can be given",
            fix=f"keep {subcommand} or {word}",
        )
    choosing: dict[str, list[str]] = {}
    for group, options in groups.items():
        for option in options:
            choosing.setdefault(option, []).append(f"{_typed(group)}={option}")
    meant = _meant(word, [*([] if subcommand else subcommands), *choosing, *groups])
    if meant is None:
        fix = f"use one of {', '.join(subcommands)}"
    elif meant in choosing:
        fix = f"write {' or '.join(choosing[meant])}"
    elif meant in groups:
        fix = f"write {_typed(meant)}=NAME, with one of {', '.join(groups[meant])}"
    else:
        fix = f"python -m harness {meant}"
    return Problem(
        setting=word,
        given="",
        reason="there is no such subcommand, and a setting is written name=value",
        fix=fix,
    )


def _settings(groups: Collection[str]) -> dict[str, str]:
    """Return each group and setting as it is typed, by its name and by the last part of it."""
    names: dict[str, str] = {}
    every = dict.fromkeys(paths(inspect.type_info(Request)))
    # Of several with the same last part, as `name`, the least deep one.
    for path in sorted(every, key=lambda path: path.count(".")):
        names.setdefault(path.rpartition(".")[2], path)
    names |= {path: path for path in every}
    return names | {group: _typed(group) for group in groups}


def _typed(group: str) -> str:
    return f"+{group}" if group == _ADDED else group


def _meant(word: str, names: Collection[str]) -> str | None:
    return word if word in names else nearest(word, names)


def known_groups(config_dir: str | None, config_name: str) -> dict[str, list[str]]:
    """Return the groups with the names that can be chosen; the shipped ones if others fail."""
    try:
        groups = choices(config_dir, config_name)
    except RefusedError:
        groups = choices(None)
    return {group: names for group, names in groups.items() if group != _PAIRS}
