"""Hydra's own settings: which of them a run can have, checked before Hydra begins one.

Hydra looks at them when it uses them, in the middle of a run, with assertions and look-ups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness.configuration.config_files import MISTAKES, one_line
from harness.configuration.sweeps import as_typed
from harness.errors import Problem
from harness.settings.schema import show
from harness.settings.slurm import SLURM_LAUNCHER, Slurm, slurm_of, slurm_problems

_REMOVABLE: Final = ("hydra.job.env_set.", "hydra.callbacks.", "hydra.sweeper.params.")
_LOGS: Final = ("hydra.job_logging", "hydra.hydra_logging")
_SWEEPER: Final = f"{BasicSweeper.__module__}.{BasicSweeper.__qualname__}"


def hydra_mistakes(override: Override, is_group: bool) -> Iterator[Problem]:
    """Yield what is wrong with an override of Hydra's settings, whatever its value."""
    key, typed = override.key_or_group, as_typed(override)
    if override.is_delete():
        if not key.startswith(_REMOVABLE):
            reason = "Hydra's own settings cannot be removed; it needs each of them"
            yield Problem(setting=f"~{key}", given=typed, reason=reason, fix="leave it out")
    elif key == "hydra":
        reason = "this is the group of Hydra's own settings, not a single value"
        fix = "set one of them: hydra.NAME=VALUE; --cfg hydra shows them"
        yield Problem(setting=key, given=typed, reason=reason, fix=fix)
    elif key.startswith(_LOGS) and not is_group:
        reason = "what is logged, and where to, is the harness's own"
        fix = "leave it out; hydra.verbose=true logs more into harness.log"
        yield Problem(setting=key, given=typed, reason=reason, fix=fix)


def hydra_problems(config: DictConfig) -> Iterator[Problem]:
    """Yield the settings of Hydra that would stop it in the middle of a run."""
    unresolved = OmegaConf.to_container(config.hydra, resolve=False)
    for path, (check, allowed, fix) in _CHECKS.items():
        try:
            value = _resolved(config, path) if path in _RESOLVED else _below(unresolved, path)
        except MISTAKES as error:
            reason = f"this reference cannot be resolved: {one_line(error)}"
        else:
            if check(value):
                continue
            reason = f"must be {allowed}"
        given = show(_below(unresolved, path))
        yield Problem(setting=f"hydra.{path}", given=given, reason=reason, fix=fix)
    if _target(config) == SLURM_LAUNCHER:
        try:
            yield from slurm_problems(_resolved(config, "launcher"))
        except MISTAKES as error:
            reason = f"a reference below it cannot be resolved: {one_line(error)}"
            fix = "write the value itself"
            yield Problem(setting="hydra.launcher", given="", reason=reason, fix=fix)


def slurm_settings(config: DictConfig) -> Slurm:
    """Return what is asked of Slurm, by settings that `hydra_problems` finds nothing wrong with."""
    return slurm_of(_resolved(config, "launcher"))


def _target(config: DictConfig) -> Any:
    return OmegaConf.select(config, "hydra.launcher._target_", throw_on_missing=False)


def _resolved(config: DictConfig, path: str) -> Any:
    value = OmegaConf.select(config, f"hydra.{path}", throw_on_missing=False)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _below(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _is_verbosity(value: Any) -> bool:
    return isinstance(value, bool | str) or _all_texts(value)


def _all_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_name(value: Any) -> bool:
    plain = isinstance(value, str) and re.fullmatch(r"[\w.-]{1,100}", value) is not None
    return plain and value not in {".", ".."}


def _is_environment(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        name and not re.search(r"[=\0]", str(name)) and isinstance(text, str) and "\0" not in text
        for name, text in value.items()
    )


def _is_sweeper(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("_target_") == _SWEEPER


def _is_launcher(value: Any) -> bool:
    classes = Plugins.instance().discover(Launcher)
    names = [f"{plugin.__module__}.{plugin.__qualname__}" for plugin in classes]
    return isinstance(value, Mapping) and value.get("_target_") in {*names, SLURM_LAUNCHER}


def _is_batch_size(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value > 0)


def _are_callbacks(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(item, Mapping) and isinstance(item.get("_target_"), str)
        for item in value.values()
    )


_RESOLVED: Final = (
    "mode",
    "sweeper.params",
    "verbose",
    "output_subdir",
    "job.env_set",
    "sweeper.max_batch_size",
)
"""The settings whose references are looked into; others may refer to what is not known yet."""

_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str, str]]] = {
    "run.dir": (bool, "the folder of a run", "hydra.run.dir=FOLDER"),
    "sweep.dir": (bool, "the folder of a sweep", "hydra.sweep.dir=FOLDER"),
    "mode": (
        lambda value: value is None or isinstance(value, RunMode),
        "RUN or MULTIRUN",
        "hydra.mode=RUN",
    ),
    "verbose": (
        _is_verbosity,
        "true, false, the name of a logger or a list of them",
        "hydra.verbose=true",
    ),
    "output_subdir": (
        lambda value: value is None or _is_name(value),
        "null, or the name of a folder in the run's",
        "hydra.output_subdir=.hydra",
    ),
    "job.name": (_is_name, "a plain name, since a file is called so", "hydra.job.name=harness"),
    "job.chdir": (
        lambda value: not value,
        "false: the harness runs in the folder where you start it",
        "hydra.job.chdir=false",
    ),
    "job.env_set": (
        _is_environment,
        "a group of environment variables, each a text",
        "+hydra.job.env_set.NAME=VALUE",
    ),
    "sweeper": (
        _is_sweeper,
        "Hydra's basic sweeper: the harness counts and checks the jobs that it makes",
        "hydra/sweeper=basic",
    ),
    "sweeper.max_batch_size": (
        _is_batch_size,
        "an integer of at least 1, or null",
        "hydra.sweeper.max_batch_size=null",
    ),
    "sweeper.params": (
        lambda value: value is None or (isinstance(value, Mapping) and None not in value.values()),
        "a group of settings, each with the values that it takes",
        "+hydra.sweeper.params.SETTING=VALUES, or SETTING=VALUES",
    ),
    "launcher": (
        _is_launcher,
        "a group of settings whose _target_ is one of Hydra's launchers",
        "hydra/launcher=basic",
    ),
    "callbacks": (
        _are_callbacks,
        "a group of callbacks, each a group with a _target_",
        "+hydra.callbacks.NAME._target_=CLASS",
    ),
}
"""For each setting, what it must be: whether a value is, in words, and a value that is."""
