"""Overrides, one by one: read them, and say what is wrong with each before anything is composed.

Hydra stops at the first mistake and lets several pass in silence; here each is judged by itself,
against the config groups that exist.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from harness.errors import Problem
from harness.settings.schema import nearest

OPEN_GROUPS = ("device.environment.", "workload.kwargs.")
"""Below these, the user chooses the names; they may be deleted, too."""

_PAIRS = "profiler/experimental"
_SWEEPS = "sweep"
"""The group whose files say what is varied; the settings of the same name, how."""


class Catalogue:
    """The config groups and their files, on the user's own search path, too.

    Raises:
        HydraException: The search path is no list of texts.
        UserWarning: A folder of the search path does not exist.
    """

    def __init__(self, config_name: str, overrides: Sequence[str]) -> None:
        search = [text for text in overrides if text.startswith("hydra.searchpath=")]
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="provider=", category=UserWarning)
            # The public get_group_options would read the primary config anew for each group.
            _, self._files = _loader()._parse_overrides_and_create_caching_repo(  # noqa: SLF001
                config_name, search
            )
        self.groups = tuple(self._below(""))
        """Every group that holds settings: device, profiler, profiler/experimental, …"""

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


def add_folder(config_dir: str) -> list[Problem]:
    """Put the folder of ``--config-dir`` on the search path, where Hydra's command line puts it."""
    folder = Path(config_dir).absolute()
    if not folder.is_dir():
        return [
            Problem(
                setting="--config-dir",
                given=config_dir,
                reason="there is no such folder",
                fix="give a folder that holds profiler/, workload/, …",
            )
        ]
    loader = _loader()
    path = loader.config_search_path
    path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    loader.repository.initialize_sources(path)
    return []


def _loader() -> ConfigLoaderImpl:
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    return loader


def opened(texts: Iterable[str]) -> tuple[str, ...]:
    """Return overrides as Hydra takes them: it wants names that no file has to be added."""
    return tuple(
        f"++{bare}" if (bare := text.lstrip("+")).startswith(OPEN_GROUPS) else text
        for text in texts
    )


def judged(texts: Sequence[str], catalogue: Catalogue, found: list[Problem]) -> list[Override]:
    """Return the overrides that can be composed; what is wrong with the others goes to `found`."""
    kept = []
    for text in texts:
        try:
            override = parse(text)
            complaints = list(_complaints(override, catalogue))
        except (HydraException, OmegaConfBaseException) as error:
            found.append(_unparsable(text, error))
            continue
        found += complaints
        kept += [] if complaints else [override]
    return kept


def parse(text: str) -> Override:
    """Read one override; its ``glob(…)`` looks into the config groups."""
    override = OverridesParser.create().parse_override(text)
    override.config_loader = _loader()
    return override


def _complaints(override: Override, catalogue: Catalogue) -> Iterator[Problem]:
    key = override.key_or_group
    given = as_typed(override)
    groups = catalogue.groups
    slashed = key.replace(".", "/")
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return
    if not key:
        yield _unparsable(str(override.input_line), HydraException("there is no name before '='"))
    elif override.is_delete():
        if not key.startswith(OPEN_GROUPS):
            yield Problem(
                setting=f"~{key}",
                given=given,
                reason="settings cannot be removed; the run needs each of them",
                fix=f"leave it out, or set it: {key}=…",
            )
    elif key == _SWEEPS and (override.is_sweep_override() or not override.is_add()):
        yield Problem(
            setting=str(override.get_key_element()),
            given=given,
            reason="one sweep at a time is added to the settings, with a +",
            fix=f"+{key}={given.partition(',')[0]}",
        )
    elif key in groups:
        yield from _option_problems(override, catalogue.options(key))
    elif slashed in groups and not isinstance(override.value(), dict):
        yield Problem(
            setting=key,
            given=given,
            reason="this is a group of settings; one of its files is chosen with a slash",
            fix=f"{slashed}={given}",
        )
    elif "/" in key:
        close = nearest(key, groups)
        yield Problem(
            setting=key,
            given=given,
            reason="there is no such config group" + (f"; did you mean {close}?" if close else ""),
            fix=f"use one of {', '.join(groups)}",
        )


def _option_problems(override: Override, options: Sequence[str]) -> Iterator[Problem]:
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
            fix=f"{plus}{group}={close or options[0]}",
        )


def as_typed(override: Override) -> str:
    """Return the value as it was typed; a sweep's, too."""
    return str(override.input_line).partition("=")[2]


def enumerable(override: Override) -> bool:
    """Return whether the override has one value, or values that can be counted."""
    return not override.is_sweep_override() or override.is_discrete_sweep()


def first_value(override: Override) -> Override:
    """Return the override with the first of its values, if it is a sweep."""
    if override.is_sweep_override():
        key, value = override.get_key_element(), next(iter(override.sweep_string_iterator()))
        return parse(f"{key}={value}")
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
    """Return a text as Hydra reads it back, whatever characters it has."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def ambiguous(override: Override) -> Problem:
    """Say that several values were given where there is no sweep."""
    given = as_typed(override)
    return Problem(
        setting=override.get_key_element(),
        given=given,
        reason="several values make a sweep",
        fix=f"put -m first, or write one value, or a list: {override.key_or_group}=[{given}]",
    )


def sweep_problems(overrides: Sequence[Override]) -> Iterator[Problem]:
    """Yield what cannot be part of a sweep."""
    for override in overrides:
        key = override.key_or_group
        if key == "hydra.run.dir":
            yield Problem(
                setting=key,
                given=as_typed(override),
                reason="Hydra ignores it in a sweep",
                fix="hydra.sweep.dir=FOLDER",
            )
        if key == "hydra.sweep.subdir":
            yield Problem(
                setting=key,
                given=as_typed(override),
                reason="a job's folder is named after what the sweep varies, to be found again",
                fix="leave it out; sweep.json says which folder is whose",
            )
        if not enumerable(override):
            yield Problem(
                setting=override.get_key_element(),
                given=as_typed(override),
                reason="an interval has no end of values",
                fix=f"{key}=1,2,3 or {key}=range(1,4)",
            )


def added_twice(written: Sequence[Override], given: Sequence[Override]) -> Iterator[Problem]:
    """Yield what is to be added though a sweep's file varies it: each job would have two values."""
    varied = {override.key_or_group for override in written}
    for override in given:
        key = override.key_or_group
        if key in varied and override.get_key_element() != key:
            yield Problem(
                setting=override.get_key_element(),
                given=as_typed(override),
                reason="the sweep varies this setting under its plain name",
                fix=f"{key}={as_typed(override)}, which then counts in place of the sweep's values",
            )


def _unparsable(text: str, error: Exception) -> Problem:
    return Problem(
        setting=text,
        given="",
        reason="Hydra cannot read this override: " + " ".join(str(error).split("\n")[0].split()),
        fix="write key=value; quote special characters: 'key=\"value\"'",
    )
