"""Read the overrides one by one, and report every mistake before anything is composed.

Hydra stops at the first mistake and does not report some at all. Here each override is checked by
itself, against the config groups that exist.
"""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Final

from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep

from harness.configuration.config_files import MISTAKES, one_line
from harness.configuration.hydra_loader import Loader
from harness.configuration.hydra_settings import hydra_mistakes
from harness.configuration.sweeps import as_typed, enumerable, values_problems
from harness.errors import Problem
from harness.settings.nearest import nearest
from harness.text import assignment

OPEN_GROUPS = ("device.environment.", "workload.kwargs.")
"""Below these, the user chooses the names; they may be deleted, too."""

_MAX_LENGTH: Final = 20_000
_MAX_DEPTH: Final = 32
"""Of brackets in an override; each level takes Hydra's parser dozens of calls."""
_MAX_GROUPS: Final = 200
_MAX_OPTIONS: Final = 20
"""Of wrong names in one sweep over a group, each of which is a problem of its own."""

_PAIRS = "profiler/experimental"
_SWEEPS = "sweep"
"""The group whose files say what a sweep varies; the settings of the same name say how it runs."""

LAUNCHERS = "hydra/launcher"
_LAUNCHER_PACKAGES = {
    "joblib": "hydra-joblib-launcher",
    "ray": "hydra-ray-launcher",
    "ray_aws": "hydra-ray-launcher",
    "rq": "hydra-rq-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
}
"""Hydra's launchers beside its basic one, and where they come from."""


class Catalogue:
    """The config groups and their files, those on the user's search path included.

    Raises:
        HydraException: The search path is no list of texts, or the primary file cannot be read.
        UserWarning: A folder of the search path does not exist.
    """

    def __init__(self, loader: Loader, config_name: str, overrides: Sequence[str]) -> None:
        search = [text for text in overrides if text.startswith("hydra.searchpath=")]
        self._loader = loader
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="provider=", category=UserWarning)
            # The public get_group_options would read the primary config anew for each group.
            _, self._files = loader._parse_overrides_and_create_caching_repo(  # noqa: SLF001
                config_name, search
            )

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups that hold settings, as profiler and profiler/experimental.

        The first of them, where a folder has very many: it may be no folder of configuration.
        """
        return tuple(sorted(islice(self._below(), _MAX_GROUPS), key=lambda path: path.split("/")))

    def has_group(self, name: str) -> bool:
        """Tell whether there is a group of this name, as Hydra looks for it."""
        return bool(name) and self._files.group_exists(name)

    def parse(self, text: str) -> Override:
        """Read one override; its ``glob(…)`` looks into the config groups."""
        override = OverridesParser.create().parse_override(text)
        override.config_loader = self._loader
        return override

    def _below(self) -> Iterator[str]:
        """Yield the groups, those at the top first."""
        parents = deque([""])
        while parents:
            parent = parents.popleft()
            for name in self._files.get_group_options(parent, ObjectType.GROUP):
                path = f"{parent}/{name}" if parent else name
                if path != "hydra":
                    yield path
                    if path != _PAIRS:
                        parents.append(path)

    def options(self, group: str) -> list[str]:
        """Return the names of a group's files; those that begin with "_" are only for others."""
        if group == _PAIRS:
            return [f"{device}/{name}" for device, names in self.pairs().items() for name in names]
        return self._choices(group)

    def pairs(self) -> dict[str, list[str]]:
        """Return the profiles that exist for each device."""
        return {
            device: self._choices(f"{_PAIRS}/{device}")
            for device in self._files.get_group_options(_PAIRS, ObjectType.GROUP)
        }

    def _choices(self, group: str) -> list[str]:
        names = self._files.get_group_options(group, ObjectType.CONFIG)
        return [name for name in names if not name.startswith("_")]


def opened(texts: Iterable[str]) -> tuple[str, ...]:
    """Return overrides as Hydra takes them: it wants names that no file has to be added."""
    return tuple(
        f"++{bare}" if (bare := text.lstrip("+")).startswith(OPEN_GROUPS) else text
        for text in texts
    )


def judged(texts: Iterable[str], catalogue: Catalogue) -> tuple[list[Override], list[Problem]]:
    """Return the overrides that can be composed, and what is wrong with the others."""
    valid: list[Override] = []
    problems: list[Problem] = []
    for text in texts:
        if why := _too_much(text):
            problems.append(_unparsable(text, why))
            continue
        try:
            override = catalogue.parse(text)
            mistakes = list(_mistakes(override, catalogue))
        except MISTAKES as error:
            problems.append(_unparsable(text, f"Hydra cannot read this override: {_line(error)}"))
            continue
        problems += mistakes
        valid += [] if mistakes else [override]
    return valid, problems


def _too_much(text: str) -> str:
    """Say why an override is too much for Hydra's parser, which would take long or fail."""
    if len(text) > _MAX_LENGTH:
        return f"an override has at most {_MAX_LENGTH:,} characters, and this one {len(text):,}"
    if "\0" in text:
        return "a NUL character has no place in a setting"
    if re.search("[\ud800-\udfff]", text):
        return "it is not valid UTF-8"
    depth = deepest = 0
    for bracket in re.findall(r"[\[{(\]})]", text):
        depth = max(0, depth + (1 if bracket in "[{(" else -1))
        deepest = max(deepest, depth)
    return f"its brackets are nested more than {_MAX_DEPTH} deep" if deepest > _MAX_DEPTH else ""


def _mistakes(override: Override, catalogue: Catalogue) -> Iterator[Problem]:
    key = override.key_or_group
    endless = list(values_problems(override))
    if endless:
        yield from endless
    elif key == LAUNCHERS:
        yield from _launcher_mistakes(override, catalogue)
    elif key == "hydra" or override.is_hydra_override():
        yield from hydra_mistakes(override, catalogue.has_group(key))
    elif not key:
        yield _unparsable(str(override.input_line), "there is no name before '='")
    elif override.is_delete():
        yield from _removal_mistakes(override)
    elif key == _SWEEPS and (override.is_sweep_override() or not override.is_add()):
        typed = as_typed(override)
        yield Problem(
            setting=str(override.get_key_element()),
            given=typed,
            reason="one sweep at a time is added to the settings, with a +",
            fix=f"+{key}={typed.partition(',')[0]}",
        )
    elif catalogue.has_group(key):
        yield from _option_mistakes(override, catalogue.options(key))
    else:
        yield from _group_mistakes(override, catalogue)


def _launcher_mistakes(override: Override, catalogue: Catalogue) -> Iterator[Problem]:
    installed = catalogue.options(LAUNCHERS)
    name = as_typed(override)
    # Hydra itself refuses several.
    if name not in installed and not override.is_sweep_override() and "${" not in name:
        yield unknown_launcher(name, installed)


def unknown_launcher(name: str, installed: Sequence[str]) -> Problem:
    """Say of a launcher how to install it, or which ones there are."""
    package = _LAUNCHER_PACKAGES.get(name)
    if package:
        return Problem(
            setting=LAUNCHERS,
            given=name,
            reason=f"this launcher is not installed; installed are {', '.join(installed)}",
            fix=f"pip install {package}, or {LAUNCHERS}={installed[0]}",
        )
    close = nearest(name, [*installed, *_LAUNCHER_PACKAGES])
    return Problem(
        setting=LAUNCHERS,
        given=name,
        reason="there is no such launcher"
        + (f"; did you mean {close}? Installed are " if close else "; installed are ")
        + ", ".join(installed),
        fix=f"{LAUNCHERS}={close or installed[0]}",
    )


def _removal_mistakes(override: Override) -> Iterator[Problem]:
    key = override.key_or_group
    if not key.startswith(OPEN_GROUPS):
        yield Problem(
            setting=f"~{key}",
            given=as_typed(override),
            reason="settings cannot be removed; the run needs each of them",
            fix=f"leave it out, or set it: {key}=…",
        )


def _option_mistakes(override: Override, options: Sequence[str]) -> Iterator[Problem]:
    group = override.key_or_group
    plus = "+" if group == _SWEEPS else ""
    chosen = (
        [str(value) for value in islice(override.sweep_string_iterator(), _MAX_OPTIONS)]
        if override.is_sweep_override() and enumerable(override)
        else [as_typed(override)]
    )
    for option in chosen:
        if option in options or "${" in option:
            continue
        close = nearest(option, options)
        yield Problem(
            setting=f"{plus}{group}",
            given=option,
            reason=f"there is no such {group}"
            + (f"; did you mean {close}? There are " if close else "; there are ")
            + ", ".join(options),
            fix=f"{plus}{group}={close}"
            if close
            else f"{plus}{group}=NAME, with one of these names",
        )


def _group_mistakes(override: Override, catalogue: Catalogue) -> Iterator[Problem]:
    """Yield the mistakes in a key that is no group itself."""
    key, typed = override.key_or_group, as_typed(override)
    slashed = key.replace(".", "/")
    if catalogue.has_group(slashed) and not isinstance(override.value(), dict):
        yield Problem(
            setting=key,
            given=typed,
            reason="this is a group of settings; choose one of its files with a slash",
            fix=assignment(slashed, typed),
        )
    elif "/" in key:
        close = nearest(key, catalogue.groups)
        yield Problem(
            setting=key,
            given=typed,
            reason="there is no such config group" + (f"; did you mean {close}?" if close else ""),
            fix=f"use one of {', '.join(catalogue.groups)}",
        )


def first_value(override: Override, catalogue: Catalogue) -> Override:
    """Return the override with the first of its values, if it is a sweep."""
    if override.is_sweep_override():
        key, values = override.get_key_element(), override.value()
        # A range that is shuffled would be made whole.
        first = (
            values.start
            if isinstance(values, RangeSweep)
            else next(iter(override.sweep_string_iterator()), "null")
        )
        return catalogue.parse(f"{key}={first}")
    return override


def forced(override: Override, catalogue: Catalogue) -> str:
    """Return the override with ``++``, if it sets a value: its name is judged later."""
    if (
        override.is_hydra_override()
        or override.is_delete()
        or catalogue.has_group(override.key_or_group)
        or override.package is not None
    ):
        return str(override.input_line)
    return "++" + str(override.input_line).lstrip("+")


def quoted(text: str) -> str:
    """Return a text as Hydra and OmegaConf read it back, whatever characters it has."""
    # OmegaConf halves the backslashes before "${", and one more keeps it from being a reference.
    literal = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", text)
    return "'" + re.sub(r"(\\*)('|$)", _escaped_quote, literal) + "'"


def _escaped_quote(match: re.Match[str]) -> str:
    return match[1] * 2 + ("\\'" if match[2] else "")


def _unparsable(text: str, why: str) -> Problem:
    setting, equals, given = text.partition("=")
    return Problem(
        setting=setting if equals and setting else text,
        given=given if setting else "",
        reason=why,
        fix="write key=value; quote special characters: 'key=\"value\"'",
    )


def _line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its brackets are nested too deep"
    return " ".join(one_line(error).split("\n")[0].split())
