"""Hydra's config loader, below its global state: a program that calls it stays as it was.

``hydra.compose()`` needs GlobalHydra, which a caller's own Hydra program holds already.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from platform import python_version_tuple
from typing import Any, Final

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.core_plugins import structured_config_source
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf

from harness.configuration.config_files import (
    MISTAKES,
    BadFileError,
    FileSource,
    folder_problems,
    name_problems,
    possible,
    unreadable,
)
from harness.errors import Problem

_BESIDE = Path(__file__).parents[1] / "conf"
CONF = _BESIDE if _BESIDE.is_dir() else Path(__file__).parents[2] / "conf"
"""The shipped configuration: beside the package when installed, above it in a checkout."""

VERSION_BASE: Final = "1.3"
JOB_NAME: Final = "harness"


class StructuredConfigSource(structured_config_source.StructuredConfigSource):
    """The schemas of Hydra and its plugins.

    Not what the calling program keeps in the ConfigStore: its ``config`` is no schema of ours.
    Hydra looks for a source of this name.
    """

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        repo = self.store.repo
        self.store = copy.copy(self.store)
        self.store.repo = {
            name: repo[name] for name in ("hydra", "_dummy_empty_config_.yaml") if name in repo
        }

    def __deepcopy__(self, _memo: dict[int, Any]) -> StructuredConfigSource:
        """Return itself: Hydra copies its sources for each config, and this one never changes."""
        return self


class _Repository(ConfigRepository):
    """Hydra's, whose files outside the shipped configuration are checked before they are read."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        super().initialize_sources(config_search_path)
        schema = config_search_path.get_path()[-1]
        self.sources[-1] = StructuredConfigSource(schema.provider, schema.path)
        self.sources = [
            FileSource(source.provider, source.path)
            if source.scheme() == "file" and source.path != str(CONF)
            else source
            for source in self.sources
        ]

    def load_config(self, config_path: str) -> ConfigResult | None:
        try:
            return super().load_config(config_path)
        except MISTAKES as error:
            # As for a list of defaults that is none.
            raise BadFileError(unreadable(f"{config_path}.yaml", error)) from error

    def _find_object_source(
        self, config_path: str, object_type: ObjectType | None
    ) -> ConfigSource | None:
        if not possible(config_path):
            return None
        return super()._find_object_source(config_path, object_type)


class Loader(ConfigLoaderImpl):
    """Loads configs from the shipped folder and the user's."""

    def __init__(self, path: ConfigSearchPath) -> None:
        self.config_search_path = path
        self.repository = _Repository(path)

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        config = super()._compose_config_from_defaults_list(defaults, repo)
        if "name" not in config.hydra.job:
            # Else Hydra takes the name of the calling program.
            config.hydra.job.name = JOB_NAME
        return config


def loader(config_dir: str | None = None) -> Loader:
    """Return a loader that reads the shipped configuration, then the folder of ``--config-dir``."""
    path = create_config_search_path(str(CONF))
    if config_dir:
        folder = f"file://{Path(config_dir).absolute()}"
        path.prepend("command-line", folder, SearchPathQuery(provider="schema"))
    return Loader(path)


def place_problems(config_dir: str | None, config_name: str = "config") -> list[Problem]:
    """Return what is wrong with the folder and the name that say where configuration is."""
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    return [*folder_problems(config_dir, groups), *name_problems(config_name)]


_LOCK = threading.RLock()


@contextmanager
def isolated() -> Iterator[None]:
    """Compose as Hydra 1.3 does, one thread at a time; afterwards the process is as it was.

    Resolvers that the caller has registered are used, not replaced.
    """
    with _LOCK:
        base = VersionBase.instance()
        version_before = base.version_base
        version.setbase(VERSION_BASE)
        added = [name for name in _RESOLVERS if not OmegaConf.has_resolver(name)]
        for name in added:
            OmegaConf.register_new_resolver(name, _RESOLVERS[name], use_cache=name == "now")
        try:
            yield
        finally:
            for name in added:
                OmegaConf.clear_resolver(name)
            base.version_base = version_before


def _now(pattern: str) -> str:
    return datetime.now().strftime(pattern)  # noqa: DTZ005 - as Hydra's own


def _python_version(level: str = "minor") -> str:
    parts = {"major": 1, "minor": 2, "micro": 3}[level]
    return ".".join(python_version_tuple()[:parts])


_RESOLVERS: Final[dict[str, Callable[[str], str]]] = {
    "now": _now,
    "python_version": _python_version,
}
"""Hydra's resolvers that are known before a run; ``hydra`` is not."""
