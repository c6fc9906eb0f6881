"""Resolve: a composed config becomes a typed request, or everything that is wrong with it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from msgspec import convert, inspect
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.devices import TARGETS
from harness.errors import Problem
from harness.settings.request import Request
from harness.settings.schema import UNSET, problems, show


def request_of(config: DictConfig, choices: dict[str, Any]) -> tuple[Request | None, list[Problem]]:
    """Turn a composed config into a request, or say everything that is wrong with it."""
    found: list[Problem] = []
    data = _plain(config, "", found)
    found += _misplaced(data)
    device = data.get("device")
    name = device.get("name") if isinstance(device, dict) else None
    profiler = data.get("profiler")
    if isinstance(profiler, dict) and isinstance(profiler.get("experimental"), dict):
        chosen = str(choices.get("profiler/experimental"))
        foreign = chosen.partition("/")[0]
        if not isinstance(name, str) or name not in TARGETS:
            profiler["experimental"] = UNSET
        elif foreign in TARGETS and foreign != name:
            found.append(
                Problem(
                    setting="profiler/experimental",
                    given=chosen,
                    reason=f"these are settings of the {foreign} profiler, and device={name}",
                    fix=f"profiler/experimental={name}/{chosen.partition('/')[2]},"
                    f" or device={foreign}",
                )
            )
            profiler["experimental"] = UNSET
        else:
            profiler["experimental"]["device"] = name
    found += problems(data, _request_type(), "")
    wrong = {problem.setting for problem in found}
    found = [
        _named_group(problem)
        for problem in found
        if _reference(config, problem.setting) not in wrong
    ]
    return (None if found else convert(data, Request)), found


@lru_cache(maxsize=1)
def _request_type() -> inspect.Type:
    return inspect.type_info(Request)


def _misplaced(data: dict[str, Any]) -> list[Problem]:
    """Take out of `data` what stands at a place that is not for settings; say where it belongs."""
    found = []
    if data.pop("experiment", None) is not None:
        found.append(
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
        given = show(experimental.pop("device"))
        found.append(
            Problem(
                setting="profiler.experimental.device",
                given=given,
                reason="the device is chosen for the whole run",
                fix=f"device={given}",
            )
        )
    return found


def _plain(node: DictConfig, path: str, found: list[Problem]) -> dict[str, Any]:
    """Return a config as plain data; what cannot be resolved becomes UNSET and a problem."""
    return {
        str(key): _value(node, key, f"{path}.{key!s}" if path else str(key), found)
        for key in node
        if path or key != "hydra"
    }


def _value(node: DictConfig | ListConfig, key: Any, path: str, found: list[Problem]) -> Any:
    if OmegaConf.is_missing(node, key):
        found.append(
            Problem(
                setting=path,
                given="???",
                reason="this setting has no default and must be given",
                fix=f"{path}=…",
            )
        )
        return UNSET
    try:
        value = node[key]
    except OmegaConfBaseException as error:
        raw = OmegaConf.to_container(node, resolve=False)
        assert isinstance(raw, dict | list)
        found.append(
            Problem(
                setting=path,
                given=str(raw[key]),
                reason="this reference cannot be resolved: "
                + str(error).split("\n", maxsplit=1)[0],
                fix=f"{path}=… with a value, or mend the reference",
            )
        )
        return UNSET
    if isinstance(value, DictConfig):
        return _plain(value, path, found)
    if isinstance(value, ListConfig):
        return [_value(value, i, f"{path}[{i}]", found) for i in range(len(value))]
    return value


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
