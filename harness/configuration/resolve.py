"""Resolve: a composed config becomes a typed request, or everything that is wrong with it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from msgspec import convert, inspect
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import UnsupportedInterpolationType

from harness.configuration.config_files import MISTAKES, one_line
from harness.devices import TARGETS
from harness.errors import Problem
from harness.settings.request import Request
from harness.settings.schema import UNSET, problems, show
from harness.workloads.callable import EXAMPLE

_EXAMPLES: Final = {"workload.target": EXAMPLE}
"""What to write for a setting that must be given, where its name does not say it."""

_MAX_DEPTH: Final = 32
_MAX_VALUES: Final = 20_000
"""Of a whole configuration; references can repeat what they refer to."""


def request_of(config: DictConfig, choices: dict[str, Any]) -> tuple[Request | None, list[Problem]]:
    """Turn a composed config into a request, or say everything that is wrong with it."""
    resolver = _Resolver()
    data = resolver.plain(config, "")
    everything = [
        *resolver.unresolved,
        *_misplaced(data),
        *_foreign_profiler(data, str(choices.get("profiler/experimental"))),
        *problems(data, _request_type(), ""),
    ]
    wrong = {problem.setting for problem in everything}
    remaining = [
        _named_group(problem)
        for problem in everything
        if _cause(config, problem.setting) not in wrong
    ]
    return (None if everything else convert(data, Request)), remaining


def _foreign_profiler(data: dict[str, Any], chosen: str) -> list[Problem]:
    """Mark in `data` whose profiler's settings these are; take out those of another device."""
    device, profiler = data.get("device"), data.get("profiler")
    if not isinstance(profiler, dict) or not isinstance(profiler.get("experimental"), dict):
        return []
    name = device.get("name") if isinstance(device, dict) else None
    owner, _, profile = chosen.partition("/")
    if not isinstance(name, str) or name not in TARGETS:
        profiler["experimental"] = UNSET
    elif owner in TARGETS and owner != name:
        profiler["experimental"] = UNSET
        return [
            Problem(
                setting="profiler/experimental",
                given=chosen,
                reason=f"these are settings of the {owner} profiler, and device={name}",
                fix=f"profiler/experimental={name}/{profile}, or device={owner}",
            )
        ]
    else:
        profiler["experimental"]["device"] = name
    return []


@lru_cache(maxsize=1)
def _request_type() -> inspect.Type:
    return inspect.type_info(Request)


def _misplaced(data: dict[str, Any]) -> list[Problem]:
    """Take out of `data` what stands at a place that is not for settings; say where it belongs."""
    misplaced = []
    if data.pop("experiment", None) is not None:
        misplaced.append(
            Problem(
                setting="experiment",
                given="",
                reason="an experiment sets other groups, and has no settings of its own",
                fix="begin its file with the line: # @package _global_",
            )
        )
    profiler = data.get("profiler")
    experimental = profiler.get("experimental") if isinstance(profiler, dict) else None
    if isinstance(experimental, dict) and "device" in experimental:
        device = show(experimental.pop("device"))
        misplaced.append(
            Problem(
                setting="profiler.experimental.device",
                given=device,
                reason="the device is chosen for the whole run",
                fix=f"device={device}",
            )
        )
    return misplaced


class _Resolver:
    """Makes plain data of a config; what cannot be resolved becomes UNSET and a problem."""

    def __init__(self) -> None:
        self.unresolved: list[Problem] = []
        self._values = 0

    def plain(self, node: DictConfig, path: str, depth: int = 0) -> dict[str, Any]:
        """Return a group of settings."""
        return {
            str(key): self._value(node, key, f"{path}.{key!s}" if path else str(key), depth)
            for key in node
            if path or key != "hydra"
        }

    def _value(self, node: DictConfig | ListConfig, key: Any, path: str, depth: int) -> Any:
        self._values += 1
        if OmegaConf.is_missing(node, key):
            fix = _EXAMPLES.get(path, f"{path}=…")
            reason = "this setting has no default and must be given"
            return self._unset(path, "???", reason, fix)
        try:
            if OmegaConf.is_interpolation(node, key):
                check_references(_unresolved_text(node, key))
            value = node[key]
        except MISTAKES as error:
            given = _unresolved_text(node, key)
            return self._unset(path, given, f"this reference cannot be resolved: {_why(error)}")
        if not isinstance(value, DictConfig | ListConfig):
            return value
        if depth > _MAX_DEPTH or self._values > _MAX_VALUES:
            reason = (
                f"it is nested more than {_MAX_DEPTH} deep"
                if depth > _MAX_DEPTH
                else f"the configuration has more than {_MAX_VALUES:,} values"
            )
            return self._unset(path, "", f"{reason}; does it refer to itself?")
        if isinstance(value, DictConfig):
            return self.plain(value, path, depth + 1)
        return [
            self._value(value, place, f"{path}[{place}]", depth + 1) for place in range(len(value))
        ]

    def _unset(self, path: str, given: str, reason: str, fix: str = "") -> Any:
        fix = fix or f"{path}=… with a value, or correct the reference"
        # All below a setting that is too large are one problem.
        if not any(problem.reason == reason and "itself" in reason for problem in self.unresolved):
            self.unresolved.append(Problem(setting=path, given=given, reason=reason, fix=fix))
        return UNSET


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError) or "RecursionError" in str(error):
        return "it refers to itself"
    return str(error).split("\n", maxsplit=1)[0] or one_line(error)


def _unresolved_text(node: DictConfig | ListConfig, key: Any) -> str:
    data = OmegaConf.to_container(node, resolve=False)
    assert isinstance(data, dict | list)
    return str(data[key])


def check_references(text: str) -> None:
    """Refuse references to Hydra's own run: there is none yet, or it is the calling program's.

    Raises:
        UnsupportedInterpolationType: There is such a reference, as without Hydra.
    """
    if re.search(r"(?<!\\)\$\{\s*hydra\s*:", text):
        raise UnsupportedInterpolationType("Unsupported interpolation type hydra")


def _cause(config: DictConfig, path: str) -> str | None:
    """Return the setting at the end of references that begin at `path`; None for a circle."""
    seen = {path}
    while (reference := _reference(config, path)) is not None:
        if reference in seen:
            return None
        seen.add(reference)
        path = reference
    return path if len(seen) > 1 else None


def _reference(config: DictConfig, path: str) -> str | None:
    """Return the setting that the one at `path` is taken from, as in ``${profiler.with_stack}``."""
    node: Any = OmegaConf.to_container(config, resolve=False)
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    match = re.fullmatch(r"\$\{([\w.]+)\}", node) if isinstance(node, str) else None
    return match[1] if match else None


def _named_group(problem: Problem) -> Problem:
    """Say of a whole group that is missing which file to choose."""
    if problem.reason.startswith("this setting is missing; it is a group of settings"):
        return Problem(
            setting=problem.setting,
            given="",
            reason="this group of settings is missing",
            fix=f"choose one of its files: {problem.setting.replace('.', '/')}=NAME",
        )
    return problem
