"""What Hydra's errors mean for a user: each becomes a problem with its setting and a fix."""

from __future__ import annotations

import re

from hydra.errors import MissingConfigException

from harness.configuration.config_files import BadFileError, one_line, plainly
from harness.configuration.overrides import LAUNCHERS, Catalogue, unknown_launcher
from harness.errors import Problem
from harness.settings.nearest import nearest

_IN_FILE = r"In '([^']+)': (?:\w+ raised while composing config:)?\s*([^\n]*)"
"""How Hydra begins what is wrong in a file."""
_MAX_REASON = 300
"""Characters of Hydra's own words, which may quote the whole search path."""


def explained(error: Exception, catalogue: Catalogue) -> Problem | None:
    """Return the problem behind an error that stopped Hydra; None if it tells too little."""
    if isinstance(error, BadFileError):
        return error.problem
    if isinstance(error, MissingConfigException):
        return _missing(str(error.missing_cfg_file or ""), error, catalogue)
    text = str(error)
    if isinstance(error, KeyError):
        # The only look-up without an error of its own: hydra.job.env_copy.
        name = text.strip("'\"")
        return Problem(
            setting="hydra.job.env_copy",
            given=name,
            reason="there is no environment variable of this name",
            fix=f"export {name}=…, or leave it out",
        )
    if twice := re.search(r"Multiple values for ([\w/]+)\. .*: (\S+)'", text):
        return Problem(
            setting=f"+{twice[1]}",
            given=twice[2],
            reason="this group is chosen already, and + would add a second choice",
            fix=f"{twice[1]}={twice[2]}",
        )
    unlike = re.search(r"merging override \+*([\w./]+)=(.*?)\.?$", text, re.MULTILINE)
    if unlike and not unlike[1].startswith("hydra"):
        return Problem(
            setting=unlike[1],
            given=unlike[2],
            reason="a group of names cannot take the place of a value or a list",
            fix=f"{unlike[1]}=VALUE or [VALUES]; --cfg job shows the value that it has",
        )
    return None


def at_fault(override: str, error: Exception) -> Problem:
    """Return the problem of the override without which Hydra composes the rest."""
    if re.search(_IN_FILE, str(error)):
        return file_at_fault("", error)
    setting, _, given = override.lstrip("+").partition("=")
    shown = "--cfg hydra" if setting.startswith("hydra") else "--cfg job"
    return Problem(
        setting=setting,
        given=given,
        reason=f"Hydra does not take it: {_words(error)}",
        fix=f"leave it out; {shown} shows what there is",
    )


def file_at_fault(config_name: str, error: Exception) -> Problem:
    """Return the problem of a file that Hydra cannot compose, whatever is typed."""
    inside = re.search(_IN_FILE, str(error))
    name = inside[1] if inside else config_name
    return Problem(
        setting=f"{name}.yaml",
        given="",
        reason=f"Hydra cannot compose it: {_words(error)}",
        fix="correct the file; --info defaults shows what it chooses",
    )


def _words(error: Exception) -> str:
    """Return the innermost words of an error: those around it only say where it was."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    inside = re.search(_IN_FILE, str(error))
    words = inside[2].rstrip(".") if inside and inside[2] else plainly(error)
    return words if len(words) <= _MAX_REASON else f"{words[:_MAX_REASON]}…"


def bad_search_path(error: Exception) -> Problem:
    """Return the problem behind an error that stopped Hydra from reading its search path."""
    if isinstance(error, BadFileError):
        return error.problem
    missing = re.search(r"path=(.*) is not available", str(error))
    return Problem(
        setting="hydra.searchpath",
        given=missing[1] if missing else "",
        reason="there is no such folder" if missing else one_line(error),
        fix="hydra.searchpath=[file://FOLDER], with a folder that holds profiler/, workload/, …",
    )


def unknown_before_the_run(setting: str, value: str, error: Exception) -> Problem:
    """Return the problem of a folder that refers to what only Hydra's own run knows."""
    return Problem(
        setting=setting,
        given=value,
        reason="it must be known before the run: " + one_line(error),
        fix=f"{setting}=FOLDER, without references to what Hydra only knows later",
    )


def _missing(path: str, error: Exception, catalogue: Catalogue) -> Problem:
    group, _, name = path.rpartition("/")
    if group.startswith("profiler/experimental"):
        return _missing_pair(group.rpartition("/")[2], name, catalogue)
    if group == LAUNCHERS:
        return unknown_launcher(name, catalogue.options(group))
    return Problem(
        setting=group or "--config-name",
        given=name,
        reason="there is no such config file" if path else one_line(error),
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
