"""Compose: command line and YAML in, one checked `Request` for each job out. Hydra lives here.

Hydra stops at its first error and lets several mistakes pass, so the overrides are looked at one
by one, the rest is composed without types, and the result is walked against the settings' types.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from hydra._internal.core_plugins.basic_launcher import BasicLauncherConf
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from msgspec import Struct
from omegaconf import DictConfig, OmegaConf

from harness.configuration.config_files import MISTAKES
from harness.configuration.hydra_loader import CONF, Loader, isolated, loader, place_problems
from harness.configuration.hydra_settings import hydra_problems, slurm_settings
from harness.configuration.mistakes import (
    at_fault,
    bad_search_path,
    explained,
    file_at_fault,
    unknown_before_the_run,
)
from harness.configuration.overrides import Catalogue, first_value, forced, judged
from harness.configuration.references import endless
from harness.configuration.resolve import check_references, request_of
from harness.configuration.sharing import Composed, Sharing, groups_of
from harness.configuration.sweeps import (
    added_twice,
    ambiguous,
    as_typed,
    enumerable,
    repeated_values,
    size_problems,
    sweep_problems,
)
from harness.devices import TARGETS
from harness.errors import Problem, RefusedError
from harness.settings.marks import mark_of, measured
from harness.settings.request import MOST_JOBS, Request, Sweep
from harness.settings.slurm import SLURM_LAUNCHER, Slurm
from harness.waits import waiting

BASIC_LAUNCHER: Final = BasicLauncherConf._target_
"""Hydra's default launcher."""

_MAX_SLUG = 100


class Job(Struct, frozen=True, kw_only=True):
    """One composed run: of a sweep, or the only one."""

    overrides: tuple[str, ...]
    """The overrides that make this job, as Hydra gives them to it."""
    request: Request | None
    """The typed request; None if there are problems."""
    problems: tuple[Problem, ...]
    """What is wrong with this job."""


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
    launcher: str = ""
    """The class of Hydra's launcher, which runs the jobs of a sweep."""
    slurm: Slurm | None = None
    """What is asked of Slurm, if that runs the jobs of a sweep."""

    @property
    def in_this_process(self) -> bool:
        """Whether Hydra runs the jobs here, one after the other."""
        return self.launcher == BASIC_LAUNCHER


def compose_jobs(
    overrides: Sequence[str],
    *,
    multirun: bool = False,
    config_dir: str | None = None,
    config_name: str = "config",
) -> Composition:
    """Compose every job that the overrides describe; never raises for what a user wrote.

    It leaves no trace in the process: it may be called within a Hydra program, and in threads.
    """
    if misplaced := place_problems(config_dir, config_name):
        return _refused(multirun, misplaced)
    with isolated():
        files = loader(config_dir)
        try:
            composer = _Composer(files, config_name, Catalogue(files, config_name, overrides))
        except MISTAKES as error:
            return _refused(multirun, [bad_search_path(error)])
        valid, problems = judged(overrides, composer.catalogue)
        base = composer.config(item for item in valid if not item.is_sweep_override())
        # Without the swept settings there may be nothing to compose.
        first = base if isinstance(base, DictConfig) else composer.first_of_sweep(valid)
        if isinstance(first, Problem):
            return _refused(multirun, [*problems, first])
        if unfit := list(hydra_problems(first)):
            return _refused(multirun, [*problems, *unfit])
        multirun = multirun or str(first.hydra.mode) == "RunMode.MULTIRUN"
        expand = _sweep if multirun else _one_job
        batches, swept, mistakes = expand(first, valid, composer.catalogue)
        problems += mistakes
        folder = _folder(first, multirun=multirun)
        if isinstance(folder, Problem):
            return _refused(multirun, [*problems, folder])
        return Composition(
            multirun=multirun,
            swept=swept,
            folder=folder,
            launcher=(launcher := _launcher(first)),
            slurm=slurm_settings(first) if launcher == SLURM_LAUNCHER else None,
            jobs=tuple(composer.jobs(batches)),
            problems=tuple(problems),
            unswept=_unresolved(base) if isinstance(base, DictConfig) else {},
        )


class _Expansion(NamedTuple):
    """The jobs that overrides stand for."""

    batches: Sequence[Sequence[str]]
    """The overrides of each job."""
    swept: tuple[str, ...]
    problems: list[Problem]


def _one_job(_first: DictConfig, valid: Sequence[Override], _catalogue: Catalogue) -> _Expansion:
    batch = [str(item.input_line) for item in valid if not item.is_sweep_override()]
    return _Expansion([batch], (), [ambiguous(item) for item in valid if item.is_sweep_override()])


def _sweep(first: DictConfig, typed: Sequence[Override], catalogue: Catalogue) -> _Expansion:
    """Expand a sweep as Hydra's basic sweeper does, with what its file varies."""
    params = OmegaConf.to_container(first.hydra.sweeper.params or OmegaConf.create({}))
    assert isinstance(params, dict)
    texts = [f"{key!s}={value}" for key, value in params.items()]
    in_file, problems = judged(texts, catalogue)
    everything = [*in_file, *typed]
    problems += [*sweep_problems(everything), *added_twice(in_file, typed)]
    discrete = [
        override
        for override in everything
        if enumerable(override)
        and not (override.is_sweep_override() and override.is_hydra_override())
    ]
    if unbounded := list(size_problems(discrete, _max_jobs(first))):
        return _Expansion([], (), [*problems, *unbounded])
    problems += [
        problem
        for override in discrete
        if override.is_sweep_override()
        for problem in repeated_values(override)
    ]
    # What a file varies is swept, even if the command line leaves it one value.
    varied = {_key(override) for override in everything if override.is_sweep_override()}
    foreign = dict(_foreign(first, discrete, varied))
    problems += foreign.values()
    # The other settings of the sweep's file belong to those.
    without = {*foreign, *(["sweep"] if foreign else [])}
    overrides = [override for override in discrete if _key(override) not in without]
    swept = tuple(dict.fromkeys(_key(item) for item in overrides if _key(item) in varied))
    # As in Hydra, the last override of a setting counts.
    (batches,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    return _Expansion(batches, swept, problems)


def _max_jobs(config: DictConfig) -> int:
    """Return the bound that the settings say; the default where it is not known yet."""
    limit = OmegaConf.select(config, "sweep.max_jobs", throw_on_missing=False)
    usual = Sweep().max_jobs
    return limit if isinstance(limit, int) and 0 < limit <= MOST_JOBS else usual


_DEFAULT_FOLDER: Final = "outputs/sweeps/${name}"
"""The folder of conf/config.yaml, to which the harness adds what tells sweeps apart."""


def _folder(config: DictConfig, *, multirun: bool) -> str | Problem:
    """Return where Hydra puts results: its own setting may be quoted, forced, or in a file."""
    mode = "sweep" if multirun else "run"
    unresolved = OmegaConf.to_container(config.hydra[mode], resolve=False)
    assert isinstance(unresolved, dict)
    folder = str(unresolved["dir"])
    if folder == _DEFAULT_FOLDER:
        return ""
    try:
        check_references(folder)
        return str(config.hydra[mode].dir)
    except MISTAKES as error:
        return unknown_before_the_run(f"hydra.{mode}.dir", folder, error)


def _launcher(config: DictConfig) -> str:
    """Return the class of Hydra's launcher."""
    launcher = OmegaConf.select(config, "hydra.launcher._target_")
    return str(launcher or "")


def setting_of(override: str) -> str:
    """Return the setting, or the group, of an override's text: ``++seed=1`` sets ``seed``."""
    return override.lstrip("+~").partition("=")[0]


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _foreign(
    first: DictConfig, overrides: Sequence[Override], varied: Container[str]
) -> Iterator[tuple[str, Problem]]:
    """Yield the swept settings that only profilers of other devices have, each once.

    Else each job would report it again, for its value.
    """
    device = OmegaConf.select(first, "device.name", throw_on_missing=False)
    sweep = first.hydra.runtime.choices.get("sweep")
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
            rehearsed = any(TARGETS[other].can_be_rehearsed for other in have)
            rehearse = ", or python -m harness rehearse" if rehearsed else ""
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
    if problems := place_problems(config_dir, config_name):
        raise RefusedError(problems)
    with isolated():
        try:
            catalogue = Catalogue(loader(config_dir), config_name, ())
        except MISTAKES as error:
            raise RefusedError([bad_search_path(error)]) from error
        return {group: catalogue.options(group) for group in catalogue.groups}


def _refused(multirun: bool, problems: Sequence[Problem]) -> Composition:
    return Composition(multirun=multirun, swept=(), jobs=(), problems=tuple(problems))


def slug(overrides: str) -> str:
    """Return overrides as a folder name of at most 100 characters, another one for others."""
    plain = re.sub(r"[^\w.,=+-]+", "_", overrides, flags=re.ASCII).strip("_") or "job"
    if len(plain) <= _MAX_SLUG and plain == (overrides or "job"):
        return plain
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return f"{plain[: _MAX_SLUG - 9]}-{digest}"


class _Composer:
    """Composes by Hydra, without types, all value overrides forced in."""

    def __init__(self, files: Loader, config_name: str, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._files = files
        self._config_name = config_name
        self._composed: dict[tuple[str, ...], DictConfig | Problem] = {}
        self._sharing = Sharing(self.config, catalogue)

    def config(self, overrides: Iterable[Override]) -> DictConfig | Problem:
        """Return the composed config, or the problem that stopped Hydra."""
        texts = tuple(forced(override, self.catalogue) for override in overrides)
        if texts not in self._composed:
            self._composed[texts] = self._compose(texts)
        return self._composed[texts]

    def first_of_sweep(self, overrides: Iterable[Override]) -> DictConfig | Problem:
        """Return the config of a sweep's first job."""
        firsts = []
        for override in filter(enumerable, overrides):
            try:
                firsts.append(first_value(override, self.catalogue))
            except MISTAKES as error:
                # Hydra cannot read all that it writes anew.
                return at_fault(str(override.input_line), error)
        return self.config(firsts)

    def _compose(self, texts: Sequence[str]) -> DictConfig | Problem:
        try:
            config = self._loaded(texts)
            return endless(config) or config
        except MISTAKES as error:
            return explained(error, self.catalogue) or self._fault(texts)

    def _loaded(self, texts: Sequence[str]) -> DictConfig:
        return self._files.load_configuration(
            self._config_name, list(texts), RunMode.RUN, from_shell=False
        )

    def _fault(self, texts: Sequence[str]) -> Problem:
        """Return the problem of the override that stops Hydra: the last of the fewest that do."""
        composed, stopped = -1, len(texts)
        error = self._error(texts)
        while stopped - composed > 1:
            count = (composed + stopped) // 2
            if other := self._error(texts[:count]):
                stopped, error = count, other
            else:
                composed = count
        assert error is not None
        if not stopped:
            return file_at_fault(self._config_name, error)
        return at_fault(texts[stopped - 1], error)

    def _error(self, texts: Sequence[str]) -> Exception | None:
        try:
            self._loaded(texts)
        except MISTAKES as error:
            return error
        return None

    def jobs(self, batches: Sequence[Sequence[str]]) -> Iterator[Job]:
        """Compose the jobs of a sweep, or the only one."""
        with waiting("composing the jobs", len(batches), "jobs") as more:
            for texts in batches:
                yield self._job(texts, alone=len(batches) == 1)
                more(1)

    def _job(self, texts: Sequence[str], *, alone: bool) -> Job:
        try:
            overrides = [self.catalogue.parse(text) for text in texts]
        except MISTAKES:
            # Hydra writes the values of a sweep anew, and cannot read all that it wrote.
            _, problems = judged(texts, self.catalogue)
            return Job(overrides=tuple(texts), request=None, problems=tuple(problems))
        task = tuple(
            text
            for text, override in zip(texts, overrides, strict=True)
            if not override.is_hydra_override()
        )
        composed = None if alone else self._sharing.composed(overrides)
        if composed is None:
            config = self.config(overrides)
            if isinstance(config, Problem):
                return Job(overrides=task, request=None, problems=(config,))
            composed = Composed(config, groups_of(config))
        request, mistakes = request_of(*composed)
        return Job(overrides=task, request=request, problems=tuple(mistakes))


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


def identity(composition: Composition) -> str:
    """Return eight hex digits for what a sweep measures, except for the swept values."""
    swept = sorted(composition.swept)
    fixed = {
        text
        for job in composition.jobs
        for text in job.overrides
        if setting_of(text) not in swept and mark_of(setting_of(text)).measured
    }
    # A swept value is none of all.
    unswept = _without(measured(composition.unswept), swept)
    same = [unswept, sorted(fixed), swept]
    return hashlib.sha256(msgspec.json.encode(same, order="sorted")).hexdigest()[:8]


__all__ = [
    "BASIC_LAUNCHER",
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
