"""Rules about the settings of torch_npu's profiler: what it would reset. Imports no torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from harness.errors import Problem
from harness.settings.npu import NpuExperimental
from harness.settings.schema import show

if TYPE_CHECKING:
    from harness.settings.request import Request


KNOWN = "2.13.0"
"""The torch_npu whose settings these are."""


CHOICES = {
    "profiler_level": "ProfilerLevel",
    "aic_metrics": "AiCMetrics",
    "export_type": "ExportType",
    "host_sys": "HostSystem",
}
"""Settings whose values torch_npu spells as members of a class."""


class Installed(Struct, frozen=True, kw_only=True):
    """The settings that the installed torch_npu has."""

    version: str
    settings: frozenset[str]
    """The arguments of its ``_ExperimentalConfig``."""
    choices: dict[str, frozenset[str]]
    """The values of each setting that has such a list."""


@cache
def installed() -> Installed | None:
    """Read the installed torch_npu's own source, without importing it: that would need CANN.

    Returns:
        None where there is no torch_npu, or none whose settings can be read.
    """
    spec = importlib.util.find_spec("torch_npu")
    if spec is None or spec.origin is None:
        return None
    source = Path(spec.origin).parent / "profiler" / "experimental_config.py"
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return None
    classes = {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    settings = frozenset(
        argument.arg
        for node in classes.get("_ExperimentalConfig", [])
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        for argument in (*node.args.args[1:], *node.args.kwonlyargs)
    )
    if not settings:
        return None
    choices = {
        name: frozenset(
            target.id
            for node in classes[of]
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        )
        for name, of in CHOICES.items()
        if of in classes
    }
    # It takes as long to import as all devices.
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        version = version_of("torch_npu")
    except PackageNotFoundError:
        version = "(of unknown version)"
    return Installed(version=version, settings=settings, choices=choices)


FLOPS_DOMAIN = "mfu_flops"
"""Where torch_npu marks the flops of a call."""

OTHER_PROFILERS = {
    "PROFILER_SAMPLECONFIG": "torch_npu then assumes a run under msprof, and records nothing",
    "PROFILING_MODE": "torch_npu then switches its profiler off, and records nothing",
    "PROF_CONFIG_PATH": "torch_npu is then controlled by a file in that folder",
    "MSMONITOR_USE_DAEMON": "torch_npu is then controlled by a daemon",
    "KINETO_USE_DAEMON": "torch_npu is then controlled by a daemon",
}
"""Environment variables that take the profiler away from the harness, and how."""


def takes_over(name: str, value: str) -> bool:
    """Tell whether a variable takes the profiler away; daemons want the number 1."""
    on = value.strip() == "1" if name.endswith("_DAEMON") else value != ""
    return name in OTHER_PROFILERS and on


def npu_problems(request: Request) -> Iterator[Problem]:
    """Yield what torch_npu would reset, ignore or leave out, most often with a printed warning.

    With ``profiler.activities=[host]`` CANN records nothing, whatever level and counter group are
    set. These two come with every profile, so they are not refused; all other settings of the
    device are, whether a profile or the command line sets them.
    """
    experimental = request.profiler.experimental
    assert isinstance(experimental, NpuExperimental)
    yield from _environment(request)
    yield from _not_installed(experimental)
    if "device" in request.profiler.activities:
        yield from _levels(experimental)
        yield from _domains(experimental)
    else:
        yield from _host_alone(experimental)
    if experimental.gc_detect_threshold is not None and "host" not in request.profiler.activities:
        yield _problem(
            experimental,
            "gc_detect_threshold",
            "garbage collections are host events, but profiler.activities does not include host",
            "profiler.activities=[host,device], or gc_detect_threshold=null",
        )
    yield from _flops(request, experimental)


def _problem(experimental: NpuExperimental, name: str, reason: str, fix: str) -> Problem:
    return Problem(
        setting=f"profiler.experimental.{name}",
        given=show(getattr(experimental, name)),
        reason=reason,
        fix=fix,
    )


def _environment(request: Request) -> Iterator[Problem]:
    for name, value in request.device.environment.items():
        if takes_over(name, str(value)):
            yield Problem(
                setting=f"device.environment.{name}",
                given=show(value),
                reason=OTHER_PROFILERS[name],
                fix=f"device.environment.{name}='', or leave it out",
            )


def _not_installed(experimental: NpuExperimental) -> Iterator[Problem]:
    """Refuse settings and values that the installed version of torch_npu does not have."""
    torch_npu = installed()
    if torch_npu is None:
        return
    changed = experimental.changed()
    install = f"pip install torch-npu=={KNOWN}"
    for name, value in experimental.lowered().items():
        if name not in torch_npu.settings:
            if name in changed:
                default = show(getattr(type(experimental)(), name))
                yield _problem(
                    experimental,
                    name,
                    f"the installed torch_npu {torch_npu.version} has no such setting",
                    f"profiler.experimental.{name}={default}, or {install}",
                )
            continue
        choices = torch_npu.choices.get(name)
        values = value if isinstance(value, list) else [value]
        absent = [item for item in values if choices is not None and item not in choices]
        if choices and absent:
            yield _problem(
                experimental,
                name,
                f"the installed torch_npu {torch_npu.version} has no {', '.join(absent)}",
                f"use {', '.join(sorted(choices))}, or {install}",
            )


def _levels(experimental: NpuExperimental) -> Iterator[Problem]:
    level, metrics = experimental.profiler_level, experimental.aic_metrics
    if level in {"Level_none", "Level0"} and metrics not in {None, "AiCoreNone"}:
        yield _problem(
            experimental,
            "aic_metrics",
            f"profiler_level={level} collects no AI-core counters: torch_npu would reset the group"
            " to AiCoreNone",
            "profiler.experimental.profiler_level=Level1, or aic_metrics=null",
        )
    if level == "Level_none" and not _marks(experimental):
        yield _problem(
            experimental,
            "mstx",
            "profiler_level=Level_none records nothing but marks",
            "profiler.experimental.mstx=true",
        )
    if experimental.op_attr and "Db" not in experimental.export_type:
        yield _problem(
            experimental,
            "op_attr",
            "operator attributes are only written to the database",
            "profiler.experimental.export_type=[Text,Db]",
        )
    if experimental.op_attr and level == "Level_none":
        yield _problem(
            experimental,
            "op_attr",
            "profiler_level=Level_none records no operators, so there are no attributes",
            "profiler.experimental.profiler_level=Level0, or op_attr=false",
        )


def _domains(experimental: NpuExperimental) -> Iterator[Problem]:
    include, exclude = experimental.mstx_domain_include, experimental.mstx_domain_exclude
    for name in ("mstx_domain_include", "mstx_domain_exclude"):
        domains: tuple[str, ...] = getattr(experimental, name)
        if "" in domains:
            named = show([domain for domain in domains if domain])
            yield _problem(
                experimental,
                name,
                "torch_npu drops domains without a name",
                f"profiler.experimental.{name}={named}",
            )
    if (include or exclude) and not _marks(experimental):
        yield _problem(
            experimental,
            "mstx",
            "mstx domains are set, but no marks are recorded",
            "profiler.experimental.mstx=true",
        )
    if include and exclude:
        yield _problem(
            experimental,
            "mstx_domain_exclude",
            "torch_npu accepts included or excluded domains, not both",
            "profiler.experimental.mstx_domain_exclude=[]",
        )


def _marks(experimental: NpuExperimental) -> bool:
    return experimental.mstx or experimental.msprof_tx


_NEED_NO_DEVICE = {
    "profiler_level",
    "aic_metrics",
    "data_simplification",
    "record_op_args",
    "gc_detect_threshold",
    "export_type",
}
_GROUPS_OF_PROFILES = {None, "AiCoreNone", "PipeUtilization"}
"""The counter groups that profiles set; any other one was chosen on purpose."""


def _host_alone(experimental: NpuExperimental) -> Iterator[Problem]:
    refused = [name for name in experimental.changed() if name not in _NEED_NO_DEVICE]
    if experimental.aic_metrics not in _GROUPS_OF_PROFILES:
        refused.append("aic_metrics")
    for name in refused:
        default = show(getattr(type(experimental)(), name))
        marks = name.startswith("mstx_domain") and not _marks(experimental)
        yield _problem(
            experimental,
            name,
            "CANN records it on the device, but profiler.activities does not include device",
            "profiler.activities=[host,device]"
            + (" profiler.experimental.mstx=true" if marks else "")
            + f", or profiler.experimental.{name}={default}",
        )


def _flops(request: Request, experimental: NpuExperimental) -> Iterator[Problem]:
    """Refuse flops that would not be recorded: torch_npu writes them as marks of its own domain."""
    include, exclude = experimental.mstx_domain_include, experimental.mstx_domain_exclude
    needs = []
    if "device" not in request.profiler.activities:
        needs.append("profiler.activities=[host,device]")
    if not _marks(experimental):
        needs.append("profiler.experimental.mstx=true")
    if include and FLOPS_DOMAIN not in include:
        needs.append(f"profiler.experimental.mstx_domain_include={show([*include, FLOPS_DOMAIN])}")
    elif not include and FLOPS_DOMAIN in exclude:
        others = [domain for domain in exclude if domain != FLOPS_DOMAIN]
        needs.append(f"profiler.experimental.mstx_domain_exclude={show(others)}")
    if request.profiler.with_flops and needs:
        yield Problem(
            setting="profiler.with_flops",
            given="true",
            reason="torch_npu writes flops as marks, which would not be recorded",
            fix=f"{' '.join(needs)}, or profiler.with_flops=false",
        )
