"""The user's own files of configuration: folders, and YAML that can be read to its end.

Hydra opens whatever has the right name. A file is looked at first: whether it is one, how large it
is, and how much its aliases stand for.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.errors import Problem

MISTAKES: Final = (
    HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    UserWarning,
)
"""What Hydra and OmegaConf raise for mistakes in what a user wrote.

Few of their checks raise errors of their own: a set in a file is an AttributeError, an environment
variable that is not there a KeyError, a deep list a RecursionError.
"""

_MAX_BYTES: Final = 100_000
_MAX_VALUES: Final = 5_000
_MAX_DEPTH: Final = 32
_MAX_NAME: Final = 255
_MAX_PATH: Final = 4095


class BadFileError(HydraException):
    """A file of configuration cannot be read."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


class FileSource(FileConfigSource):
    """A folder of configuration whose files are checked before Hydra reads them."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a file's configuration.

        Raises:
            BadFileError: It is no file of settings.
        """
        path = Path(self.path, self._normalize_file_name(config_path))
        if not _checked_size(path):
            # It is not opened: files of the kernel have no size, and may never end.
            return ConfigResult(
                config=OmegaConf.create(), path=self.path, provider=self.provider, header={}
            )
        _check_values(path)
        try:
            return super().load_config(config_path)
        except MISTAKES as error:
            raise BadFileError(unreadable(str(path), error)) from error

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of a folder's files; none if it cannot be read."""
        try:
            names: list[str] = super().list(config_path, results_filter)
        except OSError:
            return []
        return names


def _checked_size(path: Path) -> int:
    """Return how many bytes a file has.

    Raises:
        BadFileError: It is no file, or too large for a file of settings.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadFileError(unreadable(str(path), error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise _bad(path, "this is not a regular file", "name a YAML file")
    if status.st_size > _MAX_BYTES:
        limit = f"{_MAX_BYTES:,} bytes"
        reason = f"a file of configuration has at most {limit}, and this one {status.st_size:,}"
        raise _bad(path, reason, "keep data elsewhere, and its path in the configuration")
    return status.st_size


def _check_values(path: Path) -> None:
    """Raise `BadFileError` unless a file holds settings, and not too many of them."""
    try:
        with path.open(encoding="utf-8") as file:
            root = yaml.compose(file, Loader=yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadFileError(unreadable(str(path), error)) from error
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise _bad(path, f"it holds {kind}, not settings", "write name: value, one on each line")
    count = _expanded(root, {}, 0, path)
    if count > _MAX_VALUES:
        reason = f"it stands for more than {_MAX_VALUES:,} values, aliases written out"
        raise _bad(path, reason, "keep data elsewhere, and its path in the configuration")


def _expanded(node: yaml.Node, counts: dict[int, int], depth: int, path: Path) -> int:
    """Count the values below a node as often as aliases repeat them."""
    if depth > _MAX_DEPTH:
        reason = (
            f"it is nested more than {_MAX_DEPTH} deep, or an alias stands within its own value"
        )
        raise _bad(path, reason, "write it flatter")
    if id(node) not in counts:
        inner = sum(_expanded(child, counts, depth + 1, path) for child in _children(node))
        counts[id(node)] = 1 + inner
    return counts[id(node)]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _bad(path: Path, reason: str, fix: str) -> BadFileError:
    return BadFileError(Problem(setting=str(path), given="", reason=reason, fix=fix))


def unreadable(path: str, error: Exception) -> Problem:
    """Return the problem of a file that cannot be read."""
    if isinstance(error, BadFileError):
        return error.problem
    if isinstance(error, yaml.YAMLError):
        return _bad_yaml(path, error)
    if isinstance(error, OSError) and error.strerror:
        reason, fix = f"it cannot be read: {error.strerror}", "make it readable, or name another"
    elif isinstance(error, UnicodeError):
        reason, fix = "it is not a text in UTF-8", "name a YAML file"
    elif isinstance(error, RecursionError):
        reason, fix = f"it is nested more than {_MAX_DEPTH} deep", "write it flatter"
    else:
        reason, fix = f"it does not hold settings: {plainly(error)}", "correct the file"
    return Problem(setting=path, given="", reason=reason, fix=fix)


def _bad_yaml(path: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else path
    what = getattr(error, "problem", None) or one_line(error)
    tab = re.search(r"\\t|\btab\b", what) is not None
    return Problem(
        setting=place,
        given="",
        reason="YAML does not allow a tab here" if tab else f"not valid YAML: {what}",
        fix="indent with spaces" if tab else "correct the file at that place",
    )


def one_line(error: Exception) -> str:
    """Return what an error says, in one line; its type if it says nothing."""
    if "integer string conversion" in str(error):
        return "a number has too many digits"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def plainly(error: Exception) -> str:
    """Return what an error says, without the lines that say where OmegaConf and Hydra were."""
    if isinstance(error, RecursionError):
        return "it is nested too deep, or refers to itself"
    text = re.split(r"\n\s*(?:full_key:|object_type=|reference_type=|See https:)", str(error))[0]
    line = " ".join(text.split()).rstrip(".")
    return line if line and "integer string conversion" not in line else one_line(error)


def possible(name: str) -> bool:
    """Tell whether files can have a name: Hydra asks the file system for every key."""
    try:
        size = max(map(len, name.encode().split(b"/")))
    except UnicodeError:
        return False
    return "\0" not in name and size < _MAX_NAME - len(".yaml") and len(name) < _MAX_PATH


def folder_problems(config_dir: str | None, groups: Collection[str]) -> list[Problem]:
    """Return what is wrong with the folder of ``--config-dir``.

    `groups` are the names of the folders that the shipped configuration has.
    """
    if config_dir is None:
        return []
    reason = "there is no such folder"
    try:
        if config_dir and Path(config_dir).is_dir():
            if _has_configuration(Path(config_dir), groups):
                return []
            reason = "there is no configuration in this folder"
    except OSError as error:
        reason = f"this folder cannot be read: {error.strerror}"
    except ValueError:
        reason = "no folder can have this name"
    fix = "name a folder that holds profiler/, workload/, …"
    return [Problem(setting="--config-dir", given=config_dir, reason=reason, fix=fix)]


def _has_configuration(folder: Path, groups: Collection[str]) -> bool:
    """Tell whether a folder holds YAML or a group, or a folder with YAML; or is still empty."""
    entries = list(folder.iterdir())
    if not entries or any(_is_yaml(path) or path.name in groups for path in entries):
        return True
    return any(map(_is_yaml, _inside(entries)))


def _inside(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        if folder.is_symlink():
            # /proc/self/cwd leads anywhere.
            continue
        try:
            yield from folder.iterdir()
        except OSError:
            continue


def _is_yaml(path: Path) -> bool:
    return path.suffix in {".yaml", ".yml"}


def name_problems(config_name: str) -> list[Problem]:
    """Return what is wrong with the name of ``--config-name``."""
    if not config_name:
        reason = "a value must follow"
    elif not possible(config_name):
        reason = "no file can have this name"
    elif config_name.startswith("/") or ".." in config_name.split("/"):
        reason = "a configuration file is named by its place in the folder of --config-dir"
    else:
        return []
    fix = "--config-dir FOLDER --config-name NAME, for FOLDER/NAME.yaml"
    return [Problem(setting="--config-name", given=config_name, reason=reason, fix=fix)]
