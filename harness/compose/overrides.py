"""Read the overrides one by one, and report every mistake before anything is composed.

Hydra stops at the first mistake and does not report some at all. Here each override is checked by
itself, against the config groups that exist.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from harness.compose.hydra_loader import Loader
from harness.errors import Problem
from harness.settings.nearest import nearest

OPEN_GROUPS = ("device.environment.", "workload.kwargs.")
"""Below these, the user chooses the names; they may be deleted, too."""

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
        HydraException: The search path is no list of texts.
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
        self.groups = tuple(self._below(""))
        """Every group that holds settings: device, profiler, profiler/experimental, …"""

    def parse(self, text: str) -> Override:
        """Read one override; its ``glob(…)`` looks into the config groups."""
        override = OverridesParser.create().parse_override(text)
        override.config_loader = self._loader
        return override

    def _below(self, parent: str) -> Iterator[str]:
        for name in self._files.get_group_options(parent, ObjectType.GROUP):
            if name != "hydra":
                path = f"{parent}/{name}" if parent else name
                yield path
                if path != _PAIRS:
                    yield from self._below(path)

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
        try:
            override = catalogue.parse(text)
            mistakes = list(_mistakes(override, catalogue))
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(_unparsable(text, error))
            continue
        problems += mistakes
        valid += [] if mistakes else [override]
    return valid, problems


def _mistakes(override: Override, catalogue: Catalogue) -> Iterator[Problem]:
    key = override.key_or_group
    if key == LAUNCHERS:
        yield from _launcher_mistakes(override, catalogue)
    elif key == "hydra" or override.is_hydra_override():
        return
    elif not key:
        yield _unparsable(str(override.input_line), HydraException("there is no name before '='"))
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
    elif key in catalogue.groups:
        yield from _option_mistakes(override, catalogue.options(key))
    else:
        yield from _group_mistakes(override, catalogue.groups)


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
        [str(value) for value in override.sweep_string_iterator()]
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


def _group_mistakes(override: Override, groups: Sequence[str]) -> Iterator[Problem]:
    """Yield the mistakes in a key that is no group itself."""
    key, typed = override.key_or_group, as_typed(override)
    slashed = key.replace(".", "/")
    if slashed in groups and not isinstance(override.value(), dict):
        yield Problem(
            setting=key,
            given=typed,
            reason="this is a group of settings; choose one of its files with a slash",
            fix=f"{slashed}={typed}",
        )
    elif "/" in key:
        close = nearest(key, groups)
        yield Problem(
            setting=key,
            given=typed,
            reason="there is no such config group" + (f"; did you mean {close}?" if close else ""),
            fix=f"use one of {', '.join(groups)}",
        )


def as_typed(override: Override) -> str:
    """Return the value as it was typed; a sweep's, too."""
    return str(override.input_line).partition("=")[2]


def enumerable(override: Override) -> bool:
    """Return whether the override has one value, or values that can be counted."""
    return not override.is_sweep_override() or override.is_discrete_sweep()


def first_value(override: Override, catalogue: Catalogue) -> Override:
    """Return the override with the first of its values, if it is a sweep."""
    if override.is_sweep_override():
        key, value = override.get_key_element(), next(iter(override.sweep_string_iterator()))
        return catalogue.parse(f"{key}={value}")
    return override


def forced(override: Override, groups: Sequence[str]) -> str:
    """Return the override with ``++``, if it sets a value: its name is judged later."""
    if (
        override.is_hydra_override()
        or override.is_delete()
        or override.key_or_group in groups
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


def ambiguous(override: Override) -> Problem:
    """Say that several values were written where there is no sweep."""
    key, typed = str(override.key_or_group), as_typed(override)
    return Problem(
        setting=override.get_key_element(),
        given=typed,
        reason="several values make a sweep, and a sweep needs -m",
        fix="add -m to run each value, or write one value"
        + (f", or a list: {key}=[{typed}]" if "." in key else ""),
    )


def sweep_problems(overrides: Sequence[Override]) -> Iterator[Problem]:
    """Yield what cannot be part of a sweep."""
    for override in overrides:
        key, typed = override.key_or_group, as_typed(override)
        if key in _NOT_IN_A_SWEEP:
            reason, fix = _NOT_IN_A_SWEEP[key]
            yield Problem(setting=key, given=typed, reason=reason, fix=fix)
        if not override.is_sweep_override():
            continue
        if override.is_hydra_override():
            reason = "settings of Hydra itself cannot be swept"
            yield Problem(setting=key, given=typed, reason=reason, fix=f"{key}= with one value")
        elif not enumerable(override):
            yield Problem(
                setting=override.get_key_element(),
                given=typed,
                reason="an interval cannot be swept: it has infinitely many values",
                fix=f"{key}=1,2,3 or {key}=range(1,4)",
            )
        else:
            yield from _repeated_values(override)


_NOT_IN_A_SWEEP = {
    "hydra.run.dir": ("Hydra ignores it in a sweep", "hydra.sweep.dir=FOLDER"),
    "hydra.sweep.subdir": (
        "a job's folder is named after what the sweep varies, to be found again",
        "leave it out; sweep.json says which folder belongs to which job",
    ),
}


def _repeated_values(override: Override) -> Iterator[Problem]:
    """Refuse two jobs that would be the same, and write into the same folder."""
    counts = Counter(map(str, override.sweep_string_iterator()))
    for value in (value for value, count in counts.items() if count > 1):
        yield Problem(
            setting=override.get_key_element(),
            given=as_typed(override),
            reason=f"the value {value} occurs twice, and both would be the same job",
            fix=f"{override.key_or_group}={','.join(counts)}",
        )


def added_twice(in_file: Sequence[Override], typed: Sequence[Override]) -> Iterator[Problem]:
    """Yield what a + adds though the sweep's file varies it: each job would have two values."""
    varied = {override.key_or_group for override in in_file}
    for override in typed:
        key, value = override.key_or_group, as_typed(override)
        if key in varied and override.get_key_element() != key:
            yield Problem(
                setting=override.get_key_element(),
                given=value,
                reason="the sweep varies this setting under its plain name",
                fix=f"{key}={value}, which then replaces the values of the sweep",
            )


def _unparsable(text: str, error: Exception) -> Problem:
    return Problem(
        setting=text,
        given="",
        reason="Hydra cannot read this override: " + " ".join(str(error).split("\n")[0].split()),
        fix="write key=value; quote special characters: 'key=\"value\"'",
    )
