"""What Hydra's errors mean for a user: each becomes a problem with its setting and a fix."""

from __future__ import annotations

import re
from typing import Final

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from harness.compose.overrides import LAUNCHERS, Catalogue, unknown_launcher
from harness.errors import Problem
from harness.settings.nearest import nearest

MISTAKES: Final = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, UserWarning)
"""What composing raises for mistakes in what a user wrote."""


def explained(error: Exception, catalogue: Catalogue) -> Problem:
    """Return the problem behind an error that stopped Hydra."""
    if isinstance(error, MissingConfigException):
        return _missing(str(error.missing_cfg_file or ""), error, catalogue)
    if isinstance(error, yaml.YAMLError):
        return _bad_yaml(error)
    text = str(error)
    if twice := re.search(r"Multiple values for ([\w/]+)\. .*: (\S+)'", text):
        return Problem(
            setting=f"+{twice[1]}",
            given=twice[2],
            reason="this group is chosen already, and + would add a second choice",
            fix=f"{twice[1]}={twice[2]}",
        )
    if unlike := re.search(r"merging override \+*([\w./]+)=(.*?)\.?$", text, re.MULTILINE):
        return Problem(
            setting=unlike[1],
            given=unlike[2],
            reason="a group of names cannot take the place of a value or a list",
            fix=f"{unlike[1]}=VALUE or [VALUES]; --cfg job shows the value that it has",
        )
    return Problem(
        setting="configuration",
        given="",
        reason="Hydra cannot compose it: " + _one_line(error),
        fix="look at the defaults with --info defaults",
    )


def bad_search_path(error: Exception) -> Problem:
    """Return the problem behind an error that stopped Hydra from reading its search path."""
    if isinstance(error, yaml.YAMLError):
        return _bad_yaml(error)
    missing = re.search(r"path=(.*) is not available", str(error))
    return Problem(
        setting="hydra.searchpath",
        given=missing[1] if missing else "",
        reason="there is no such folder" if missing else str(error).rstrip("."),
        fix="hydra.searchpath=[file://FOLDER], with a folder that holds profiler/, workload/, …",
    )


def unknown_before_the_run(setting: str, value: str, error: Exception) -> Problem:
    """Return the problem of a folder that refers to what only Hydra's own run knows."""
    return Problem(
        setting=setting,
        given=value,
        reason="it must be known before the run: " + _one_line(error),
        fix=f"{setting}=FOLDER, without references to what Hydra only knows later",
    )


def _missing(path: str, error: Exception, catalogue: Catalogue) -> Problem:
    group, _, name = path.rpartition("/")
    if group.startswith("profiler/experimental"):
        return _missing_pair(group.rpartition("/")[2], name, catalogue)
    if group == LAUNCHERS:
        return unknown_launcher(name, catalogue.options(group))
    return Problem(
        setting=group or "configuration",
        given=name,
        reason="there is no such config file" if path else _one_line(error),
        fix=f"use one of {', '.join(catalogue.options(group))}"
        if group
        else "look at --info searchpath",
    )


def _missing_pair(device: str, profile: str, catalogue: Catalogue) -> Problem:
    """Name the pair of device and profile that does not exist, and those that do."""
    pairs = catalogue.pairs()
    listing = "; ".join(f"{target}: {', '.join(names)}" for target, names in pairs.items())
    others = [target for target, names in pairs.items() if profile in names]
    return Problem(
        setting="profiler",
        given=profile,
        reason=f"device={device} has no profile {profile}. There are: {listing}",
        fix=f"profiler={nearest(profile, pairs.get(device, [])) or 'default'}"
        + (f", or device={others[0]}" if others else "")
        + f", or write your own profiler/experimental/{device}/{profile}.yaml",
    )


def _bad_yaml(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}" if mark else "YAML"
    what = getattr(error, "problem", None) or str(error)
    tab = "\\t" in what or "tab" in what
    return Problem(
        setting=place,
        given="",
        reason="YAML does not allow a tab here" if tab else f"not valid YAML: {what}",
        fix="indent with spaces" if tab else "correct the file at that place",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
