"""Compose: command line and YAML in, one checked `Request` for each job out. Hydra lives here.

Hydra stops at its first error and lets several mistakes pass, so the overrides are looked at one
by one, the rest is composed without types, and the result is walked against the settings' types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from msgspec import Struct
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.compose.overrides import (
    Catalogue,
    add_folder,
    added_twice,
    ambiguous,
    as_typed,
    enumerable,
    first_value,
    forced,
    judged,
    parse,
    sweep_problems,
)
from harness.compose.resolve import request_of
from harness.devices import TARGETS
from harness.errors import Problem, RefusedError
from harness.settings.request import Request
from harness.settings.schema import nearest

_BESIDE = Path(__file__).parents[1] / "conf"
CONF = _BESIDE if _BESIDE.is_dir() else Path(__file__).parents[2] / "conf"
"""The shipped configuration: beside the package when installed, above it in a checkout."""

_MAX_SLUG = 100


class Job(Struct, frozen=True, kw_only=True):
    """One composed run: of a sweep, or the only one."""

    overrides: tuple[str, ...]
    """The overrides that make this job, as Hydra gives them to it."""
    request: Request | None
    """The typed request; None if there are problems."""
    problems: tuple[Problem, ...]
    """Everything that composing found wrong."""


class Composition(Struct, frozen=True, kw_only=True):
    """All that a command line asks for."""

    multirun: bool
    """Whether it is a sweep: by ``-m``, or by ``hydra.mode`` in a config."""
    swept: tuple[str, ...]
    """The settings that the sweep varies, or that its file does, without their ``+``."""
    jobs: tuple[Job, ...]
    """The jobs in the order in which they will run; empty if the command line is wrong."""
    problems: tuple[Problem, ...]
    """What is wrong with the command line itself; concerns every job."""
    unswept: dict[str, Any] = {}
    """The configuration without the swept settings, as far as there is one."""
    folder: str = ""
    """Where the results go, as Hydra reads it; "" if nothing says where those of a sweep go."""


def compose_jobs(
    overrides: Sequence[str],
    *,
    multirun: bool = False,
    config_dir: str | None = None,
    config_name: str = "config",
) -> Composition:
    """Compose every job that the overrides describe; never raises for what a user wrote."""
    with initialize_config_dir(str(CONF), job_name="harness", version_base="1.3"):
        found = add_folder(config_dir) if config_dir else []
        try:
            composer = _Composer(config_name, Catalogue(config_name, overrides))
        except _MISTAKES as error:
            return _refused(multirun, [*found, _search_path(error)])
        kept = judged(overrides, composer.catalogue, found)
        fixed = [override for override in kept if not override.is_sweep_override()]
        base = composer.config(fixed)
        # Without the swept settings there may be nothing to compose.
        first = (
            composer.config(map(first_value, filter(enumerable, kept)))
            if isinstance(base, Problem)
            else base
        )
        if isinstance(first, Problem):
            return _refused(multirun, [*found, first])
        multirun = multirun or str(first.hydra.mode) == "RunMode.MULTIRUN"
        if multirun:
            params = OmegaConf.to_container(first.hydra.sweeper.params or OmegaConf.create({}))
            assert isinstance(params, dict)
            texts = [f"{key!s}={value}" for key, value in params.items()]
            written = judged(texts, composer.catalogue, found)
            found += [*sweep_problems([*written, *kept]), *added_twice(written, kept)]
            both = [each for each in [*written, *kept] if enumerable(each)]
            # What a file varies is swept, even if the command line leaves it one value.
            varied = {_key(each) for each in [*written, *kept] if each.is_sweep_override()}
            foreign = dict(_foreign(first, both, varied))
            found += foreign.values()
            # What else the sweep's file sets is for those settings.
            without = {*foreign, *(["sweep"] if foreign else [])}
            both = [each for each in both if _key(each) not in without]
            swept = tuple(dict.fromkeys(_key(each) for each in both if _key(each) in varied))
            # As Hydra does: of two that set the same, the last one counts.
            batches = BasicSweeper.split_arguments(both, max_batch_size=None)[0]
        else:
            found += [ambiguous(override) for override in kept if override.is_sweep_override()]
            swept = ()
            batches = [[str(override.input_line) for override in fixed]]
        jobs = tuple(composer.job(batch) for batch in batches)
        folder = _folder(first, multirun=multirun)
        if isinstance(folder, Problem):
            return _refused(multirun, [*found, folder])
    return Composition(
        multirun=multirun,
        swept=swept,
        folder=folder,
        jobs=jobs,
        problems=tuple(found),
        unswept={} if isinstance(base, Problem) else _unresolved(base),
    )


_UNSAID: Final = "outputs/sweeps/${name}"
"""The folder of conf/config.yaml, to which the harness adds what tells sweeps apart."""


def _folder(config: DictConfig, *, multirun: bool) -> str | Problem:
    """Return where Hydra puts results: its own setting may be quoted, forced, or in a file."""
    mode = "sweep" if multirun else "run"
    written = OmegaConf.to_container(config.hydra[mode], resolve=False)
    assert isinstance(written, dict)
    if written["dir"] == _UNSAID:
        return ""
    try:
        return str(config.hydra[mode].dir)
    except OmegaConfBaseException as error:
        return Problem(
            setting=f"hydra.{mode}.dir",
            given=str(written["dir"]),
            reason="it must be known before the run: " + " ".join(str(error).split()).rstrip("."),
            fix=f"hydra.{mode}.dir=FOLDER, without what Hydra knows later",
        )


def setting_of(override: str) -> str:
    """Return the setting, or the group, of an override's text: ``++seed=1`` sets ``seed``."""
    return override.lstrip("+~").partition("=")[0]


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _foreign(
    first: DictConfig, overrides: Sequence[Override], varied: Container[str]
) -> Iterator[tuple[str, Problem]]:
    """Yield the swept settings that only profilers of other devices have, each once.

    Each job would say it again, of its own value.
    """
    device, sweep = first.device.get("name"), first.hydra.runtime.choices.get("sweep")
    if device not in TARGETS or "device" in varied:
        return
    last = {_key(override): override for override in overrides}
    for key in filter(varied.__contains__, last):
        group, _, name = key.rpartition(".")
        have = [
            other
            for other, target in TARGETS.items()
            if name in target.experimental.__struct_fields__ and key not in target.unsupported
        ]
        if group == "profiler.experimental" and have and device not in have:
            rehearse = ", or python -m harness rehearse" if "npu" in have else ""
            yield (
                key,
                Problem(
                    setting="+sweep" if sweep else key,
                    given=str(sweep or as_typed(last[key])),
                    reason=f"device={device} has no {name} to sweep",
                    fix=f"device={have[0]}{rehearse}",
                ),
            )


def choices(config_dir: str | None, config_name: str = "config") -> dict[str, list[str]]:
    """Return the config groups with the files that can be chosen in each."""
    with initialize_config_dir(str(CONF), job_name="harness", version_base="1.3"):
        if config_dir and (found := add_folder(config_dir)):
            raise RefusedError(found)
        catalogue = Catalogue(config_name, ())
        return {group: catalogue.options(group) for group in catalogue.groups}


def _refused(multirun: bool, found: Sequence[Problem]) -> Composition:
    return Composition(multirun=multirun, swept=(), jobs=(), problems=tuple(found))


def slug(overrides: str) -> str:
    """Return overrides as a folder name of at most 100 characters, another one for others."""
    plain = re.sub(r"[^\w.,=+-]+", "_", overrides, flags=re.ASCII).strip("_") or "job"
    if len(plain) <= _MAX_SLUG and plain == (overrides or "job"):
        return plain
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return f"{plain[: _MAX_SLUG - 9]}-{digest}"


OmegaConf.register_new_resolver("harness.slug", slug, replace=True)


_MISTAKES = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, UserWarning)
"""What composing raises for mistakes in what a user wrote."""


class _Composer:
    """Composes by Hydra, without types, all value overrides forced in."""

    def __init__(self, config_name: str, catalogue: Catalogue) -> None:
        self.config_name = config_name
        self.catalogue = catalogue
        self._known: dict[tuple[str, ...], DictConfig | Problem] = {}

    def config(self, overrides: Iterable[Override]) -> DictConfig | Problem:
        """Return the composed config, or the problem that stopped Hydra."""
        texts = tuple(forced(override, self.catalogue.groups) for override in overrides)
        if texts not in self._known:
            self._known[texts] = self._compose(texts)
        return self._known[texts]

    def _compose(self, texts: Sequence[str]) -> DictConfig | Problem:
        try:
            return compose(self.config_name, overrides=list(texts), return_hydra_config=True)
        except MissingConfigException as error:
            return _missing(error, self.catalogue)
        except yaml.YAMLError as error:
            return _bad_yaml(error)
        except _MISTAKES as error:
            twice = re.search(r"Multiple values for ([\w/]+)\. .*: (\S+)'", str(error))
            if twice:
                return Problem(
                    setting=f"+{twice[1]}",
                    given=twice[2],
                    reason="this group is chosen already, and + would add a second choice",
                    fix=f"{twice[1]}={twice[2]}",
                )
            unlike = re.search(r"merging override \+*([\w./]+)=(.*?)\.?$", str(error), re.MULTILINE)
            if unlike:
                return Problem(
                    setting=unlike[1],
                    given=unlike[2],
                    reason="a group of names cannot take the place of what is no group",
                    fix=f"{unlike[1]}=VALUE or [VALUES]; --cfg job shows what stands there",
                )
            return Problem(
                setting="configuration",
                given="",
                reason="Hydra cannot compose it: " + " ".join(str(error).split()).rstrip("."),
                fix="look at the defaults with --info defaults",
            )

    def job(self, texts: Sequence[str]) -> Job:
        """Compose one job of a sweep, or the only one."""
        overrides = [parse(text) for text in texts]
        task = tuple(
            text
            for text, override in zip(texts, overrides, strict=True)
            if not override.is_hydra_override()
        )
        config = self.config(overrides)
        if isinstance(config, Problem):
            return Job(overrides=task, request=None, problems=(config,))
        choices = OmegaConf.to_container(config.hydra.runtime.choices)
        assert isinstance(choices, dict)
        request, found = request_of(config, {str(key): choices[key] for key in choices})
        return Job(overrides=task, request=request, problems=tuple(found))


def _search_path(error: Exception) -> Problem:
    if isinstance(error, yaml.YAMLError):
        return _bad_yaml(error)
    missing = re.search(r"path=(.*) is not available", str(error))
    return Problem(
        setting="hydra.searchpath",
        given=missing[1] if missing else "",
        reason="there is no such folder" if missing else str(error).rstrip("."),
        fix="hydra.searchpath=[file://FOLDER], with a folder that holds profiler/, workload/, …",
    )


def _missing(error: MissingConfigException, catalogue: Catalogue) -> Problem:
    """Name the pair of device and profile that does not exist, and those that do."""
    path = str(error.missing_cfg_file or "")
    group, _, name = path.rpartition("/")
    if group.startswith("profiler/experimental"):
        device = group.rpartition("/")[2]
        pairs = catalogue.pairs()
        have = "; ".join(f"{target}: {', '.join(names)}" for target, names in pairs.items())
        elsewhere = [target for target, names in pairs.items() if name in names]
        return Problem(
            setting="profiler",
            given=name,
            reason=f"device={device} has no profile {name}. There are: {have}",
            fix=f"profiler={nearest(name, pairs.get(device, [])) or 'default'}"
            + (f", or device={elsewhere[0]}" if elsewhere else "")
            + f", or write your own profiler/experimental/{device}/{name}.yaml",
        )
    return Problem(
        setting=group or "configuration",
        given=name,
        reason="there is no such config file" if path else " ".join(str(error).split()),
        fix=f"use one of {', '.join(catalogue.options(group))}"
        if group
        else "look at --info searchpath",
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
        fix="indent with spaces" if tab else "mend the file at that place",
    )


def _unresolved(config: DictConfig) -> dict[str, Any]:
    data = OmegaConf.to_container(config, resolve=False)
    assert isinstance(data, dict)
    return {str(key): data[key] for key in data if key != "hydra"}


def _without(data: Any, paths: Container[str], at: str = "") -> Any:
    """Return nested settings without those at some dotted paths."""
    if not isinstance(data, dict):
        return data
    named = {key: f"{at}.{key}" if at else str(key) for key in data}
    return {key: _without(data[key], paths, named[key]) for key in data if named[key] not in paths}


_AFTERWARDS: Final = ("sweep", "merge", "analysis")
"""How a sweep is resumed, joined and judged says nothing of what it measures."""


def identity(composition: Composition) -> str:
    """Return eight hex digits for what stays the same in a sweep: all but the swept values."""
    swept = sorted(composition.swept)
    fixed = {
        text
        for job in composition.jobs
        for text in job.overrides
        if setting_of(text) not in swept and setting_of(text).split(".")[0] not in _AFTERWARDS
    }
    # A swept value is none of all.
    unswept = _without(composition.unswept, {*_AFTERWARDS, *swept})
    same = [unswept, sorted(fixed), swept]
    return hashlib.sha256(msgspec.json.encode(same, order="sorted")).hexdigest()[:8]


__all__ = [
    "CONF",
    "Composition",
    "Job",
    "choices",
    "compose_jobs",
    "identity",
    "request_of",
    "setting_of",
    "slug",
]
