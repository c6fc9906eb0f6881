"""What the jobs of a sweep share is composed once; the values of each are set last, as Hydra does.

Hydra composes each job anew, some 0.1 s each: most of what a long sweep takes to begin.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from harness.configuration.config_files import MISTAKES
from harness.configuration.overrides import Catalogue, forced
from harness.errors import Problem


class Composed(NamedTuple):
    """What Hydra composed."""

    config: DictConfig
    groups: dict[str, Any]
    """The file that was chosen in each group."""


class Sharing:
    """Composes jobs that differ in plain values from what they have in common."""

    def __init__(
        self,
        compose: Callable[[Iterable[Override]], DictConfig | Problem],
        catalogue: Catalogue,
    ) -> None:
        self._compose = compose
        self._catalogue = catalogue
        self._common: dict[tuple[str, ...], Composed | None] = {}

    def composed(self, overrides: Sequence[Override]) -> Composed | None:
        """Return what Hydra would compose; None where that might be something else."""
        values = [override for override in overrides if self._is_value(override)]
        rest = [override for override in overrides if not self._is_value(override)]
        if any(override.is_delete() for override in rest):
            return None  # of a value, perhaps
        texts = tuple(str(override.input_line) for override in rest)
        if texts not in self._common:
            self._common[texts] = _without_hydra(self._compose(rest))
        common = self._common[texts]
        if common is None or any("${" in str(override.input_line) for override in values):
            return None
        config = copy.deepcopy(common.config)
        try:
            for override in values:
                key = str(override.key_or_group)
                OmegaConf.update(config, key, override.value(), force_add=True)
        except MISTAKES:
            return None
        return Composed(config, common.groups)

    def _is_value(self, override: Override) -> bool:
        """Whether it sets a value of ours, and chooses no group and no setting of Hydra's."""
        is_forced = forced(override, self._catalogue).startswith("++")
        return is_forced and not override.is_hydra_override()


def groups_of(config: DictConfig) -> dict[str, Any]:
    """Return the file that was chosen in each group."""
    groups = OmegaConf.to_container(config.hydra.runtime.choices)
    assert isinstance(groups, dict)
    return {str(group): groups[group] for group in groups}


def _without_hydra(config: DictConfig | Problem) -> Composed | None:
    """Return a config that jobs may share: without Hydra's part, if nothing refers to that."""
    if isinstance(config, Problem):
        return None
    groups, settings = groups_of(config), copy.deepcopy(config)
    with open_dict(settings):
        del settings["hydra"]
    return None if "hydra" in OmegaConf.to_yaml(settings) else Composed(settings, groups)
