"""Resolve: a composed config becomes a typed request, or everything that is wrong with it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from msgspec import convert, inspect
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, UnsupportedInterpolationType

from harness.devices import TARGETS
from harness.errors import Problem
from harness.settings.request import Request
from harness.settings.schema import UNSET, problems, show
from harness.workloads.callable import EXAMPLE

_EXAMPLES: Final = {"workload.target": EXAMPLE}
"""What to write for a setting that must be given, where its name does not say it."""


def request_of(config: DictConfig, choices: dict[str, Any]) -> tuple[Request | None, list[Problem]]:
    """Turn a composed config into a request, or say everything that is wrong with it."""
    unresolved: list[Problem] = []
    data = _plain(config, "", unresolved)
    everything = [
        *unresolved,
        *_misplaced(data),
        *_foreign_profiler(data, str(choices.get("profiler/experimental"))),
        *problems(data, _request_type(), ""),
    ]
    wrong = {problem.setting for problem in everything}
    remaining = [
        _named_group(problem)
        for problem in everything
        if _reference(config, problem.setting) not in wrong
    ]
    return (None if remaining else convert(data, Request)), remaining


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


def _plain(node: DictConfig, path: str, unresolved: list[Problem]) -> dict[str, Any]:
    """Return a config as plain data; what cannot be resolved becomes UNSET and a problem."""
    return {
        str(key): _value(node, key, f"{path}.{key!s}" if path else str(key), unresolved)
        for key in node
        if path or key != "hydra"
    }


def _value(node: DictConfig | ListConfig, key: Any, path: str, unresolved: list[Problem]) -> Any:
    if OmegaConf.is_missing(node, key):
        unresolved.append(
            Problem(
                setting=path,
                given="???",
                reason="this setting has no default and must be given",
                fix=_EXAMPLES.get(path, f"{path}=…"),
            )
        )
        return UNSET
    try:
        if OmegaConf.is_interpolation(node, key):
            check_references(_unresolved_text(node, key))
        value = node[key]
    except OmegaConfBaseException as error:
        unresolved.append(
            Problem(
                setting=path,
                given=_unresolved_text(node, key),
                reason="this reference cannot be resolved: "
                + str(error).split("\n", maxsplit=1)[0],
                fix=f"{path}=… with a value, or correct the reference",
            )
        )
        return UNSET
    if isinstance(value, DictConfig):
        return _plain(value, path, unresolved)
    if isinstance(value, ListConfig):
        return [_value(value, i, f"{path}[{i}]", unresolved) for i in range(len(value))]
    return value


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
