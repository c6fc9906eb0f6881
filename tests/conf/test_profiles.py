"""The shipped configuration: what each profile means on each device, and that nothing is loose."""

from __future__ import annotations

import ast
import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from msgspec import structs
from torch._C._profiler import _ExperimentalConfig

from harness.configuration.composition import CONF, compose_jobs
from harness.configuration.validate import problems
from harness.devices import TARGETS
from harness.settings.npu import (
    DEFAULTS_OF_OUR_OWN,
    AiCMetrics,
    ExportType,
    HostSystem,
    NpuExperimental,
    ProfilerLevel,
)
from harness.settings.request import (
    Analysis,
    Delivery,
    Device,
    Execution,
    Profiler,
    Rehearsal,
    Request,
    Sweep,
)
from harness.settings.torch import TorchExperimental
from harness.workloads import AnyWorkload
from harness.workloads.base import BuiltWorkload
from tests.support.composing import composed

SWITCHES = ("record_shapes", "with_stack", "profile_memory", "with_modules", "with_flops")
HOST = ("host",)
BOTH = ("host", "device")
VERBOSE = {"verbose": True}
COUNTERS = {"profiler_level": "Level1", "aic_metrics": "PipeUtilization"}
SGLANG = {
    "export_type": ["Text"],
    "profiler_level": "Level1",
    "aic_metrics": "PipeUtilization",
    "msprof_tx": False,
    "l2_cache": False,
    "op_attr": False,
    "data_simplification": False,
    "record_op_args": False,
    "gc_detect_threshold": None,
}

# Device, profile, activities, the switches that are on, what differs from the device's _base.
PROFILES: list[tuple[str, str, tuple[str, ...], set[str], dict[str, Any]]] = [
    ("cpu", "default", HOST, {"record_shapes"}, {}),
    ("cpu", "level0", HOST, set(), {}),
    ("cpu", "level1", HOST, {"record_shapes", "with_flops"}, {}),
    ("cpu", "level2", HOST, {"record_shapes", "with_stack", "profile_memory"}, VERBOSE),
    ("cpu", "memory", HOST, {"record_shapes", "with_stack", "profile_memory"}, VERBOSE),
    ("cpu", "stacks", HOST, {"with_stack"}, VERBOSE),
    ("cuda", "default", BOTH, {"record_shapes"}, {}),
    ("cuda", "level0", BOTH, set(), {}),
    ("cuda", "level1", BOTH, {"record_shapes", "with_flops"}, {}),
    (
        "cuda",
        "level2",
        BOTH,
        {"record_shapes", "with_stack", "profile_memory"},
        VERBOSE | {"enable_cuda_sync_events": True},
    ),
    ("cuda", "memory", BOTH, {"record_shapes", "with_stack", "profile_memory"}, VERBOSE),
    ("cuda", "stacks", BOTH, {"with_stack"}, VERBOSE),
    ("npu", "default", BOTH, {"record_shapes"}, COUNTERS),
    ("npu", "level0", BOTH, set(), {"profiler_level": "Level0", "aic_metrics": "AiCoreNone"}),
    ("npu", "level1", BOTH, {"record_shapes"}, COUNTERS),
    (
        "npu",
        "level2",
        BOTH,
        {"record_shapes", "with_stack", "profile_memory"},
        {"profiler_level": "Level2", "aic_metrics": "PipeUtilization", "l2_cache": True},
    ),
    ("npu", "memory", BOTH, {"record_shapes", "with_stack", "profile_memory"}, COUNTERS),
    ("npu", "stacks", BOTH, {"with_stack", "with_modules"}, COUNTERS),
    (
        "npu",
        "markers",
        BOTH,
        set(),
        {"profiler_level": "Level_none", "aic_metrics": "AiCoreNone", "mstx": True},
    ),
    ("npu", "sglang", BOTH, {"record_shapes", "with_stack"}, SGLANG),
]


def read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    data.pop("defaults", None)
    return data


def base(device: str) -> dict[str, Any]:
    return read(CONF / "profiler" / "experimental" / device / "_base.yaml")


def listed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as YAML has them: lists in place of tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }


@pytest.mark.parametrize(("device", "profile", "activities", "on", "experimental"), PROFILES)
def test_a_profile_means_what_its_table_says(
    device: str,
    profile: str,
    activities: tuple[str, ...],
    on: set[str],
    experimental: dict[str, Any],
) -> None:
    request = composed(f"device={device}", f"profiler={profile}")
    profiler = request.profiler
    assert request.device.name == device
    assert profiler.activities == activities
    assert {name for name in SWITCHES if getattr(profiler, name)} == on
    assert not profiler.memory_timeline
    assert structs.asdict(profiler.schedule) == {
        "skip_first": 0,
        "skip_first_wait": 0,
        "wait": 0,
        "warmup": 1,
        "active": 3,
        "repeat": 1,
    }
    assert profiler.baseline.steps == 5
    expected = base(device) | ({"verbose": False} if device != "npu" else {}) | experimental
    assert listed(structs.asdict(profiler.experimental)) == expected
    assert problems(request) == []


def test_the_table_has_every_pair_that_is_shipped() -> None:
    shipped = {
        (path.parent.name, path.stem)
        for path in (CONF / "profiler" / "experimental").glob("*/[!_]*.yaml")
    }
    assert {(device, profile) for device, profile, *_ in PROFILES} == shipped
    assert {profile for _, profile in shipped} == {
        path.stem for path in (CONF / "profiler").glob("*.yaml")
    }


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("profile", ["markers", "sglang"])
def test_a_pair_that_does_not_exist_is_refused_with_those_that_do(
    device: str, profile: str
) -> None:
    (problem,) = compose_jobs([f"device={device}", f"profiler={profile}"]).problems
    assert (problem.setting, problem.given) == ("profiler", profile)
    for name in TARGETS:
        have = ", ".join(sorted(pair[1] for pair in PROFILES if pair[0] == name))
        assert f"{name}: {have}" in problem.reason
    assert problem.fix.startswith("profiler=default, or device=npu, or write your own")


NEEDED = {
    "ddp": ("execution=torchrun",),
    "loop": ("execution=inline",),
    "callable": ("workload.target=package.module:name",),
    "program": ("workload.module=package.train",),
}
"""What has no default, by workload."""


def options() -> list[tuple[str, ...]]:
    """Every file that a person can choose, as the overrides that choose it."""
    chosen: list[tuple[str, ...]] = [
        (f"{group}={path.stem}",)
        for group in ("analysis", "device", "execution", "experiment")
        for path in sorted((CONF / group).glob("[!_]*.yaml"))
    ]
    rehearsed = ("device=npu", "rehearsal.emulate=true")
    chosen += [
        (*rehearsed, f"rehearsal={path.stem}")
        for path in sorted((CONF / "rehearsal").glob("*.yaml"))
    ]
    for path in sorted((CONF / "workload").glob("[!_]*.yaml")):
        chosen.append((f"workload={path.stem}", *NEEDED.get(path.stem, ())))
    return chosen


@pytest.mark.parametrize("overrides", options(), ids=" ".join)
def test_every_shipped_file_composes_into_a_valid_request(overrides: tuple[str, ...]) -> None:
    in_program = "workload=loop" in overrides
    assert problems(composed(*overrides), in_program=in_program) == []


def test_every_group_is_covered_here() -> None:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    settings = {"device", "profiler", "workload", "execution", "rehearsal", "analysis"}
    # Each sweep is composed in tests/unit/sweep/test_jobs.py.
    assert groups == settings | {"experiment", "hydra", "sweep"}


@pytest.mark.parametrize("workload", get_args(AnyWorkload))
def test_a_workload_file_has_all_settings_of_its_workload(workload: type) -> None:
    tag = workload.__struct_config__.tag  # type: ignore[attr-defined]
    settings = read(CONF / "workload" / f"{tag}.yaml")
    shared = ("_base", "_built") if issubclass(workload, BuiltWorkload) else ("_base",)
    assert {"name", *structs_fields(workload)} == {
        *settings,
        *(name for file in shared for name in read(CONF / "workload" / f"{file}.yaml")),
    }


@pytest.mark.parametrize(
    ("settings", "path", "elsewhere"),
    [
        (Device, "device/cpu.yaml", ()),
        (Device, "device/cuda.yaml", ()),
        (Device, "device/npu.yaml", ()),
        (Execution, "execution/isolated.yaml", ()),
        (Execution, "execution/inline.yaml", ()),
        (Profiler, "profiler/default.yaml", ("experimental",)),
        (Rehearsal, "rehearsal/healthy.yaml", ()),
        (Analysis, "analysis/default.yaml", ()),
    ],
)
def test_a_file_has_all_settings_of_its_group(
    settings: type, path: str, elsewhere: tuple[str, ...]
) -> None:
    assert structs_fields(settings) == {*read(CONF / path), *elsewhere}


def test_the_primary_config_has_all_settings_outside_the_groups() -> None:
    primary = read(CONF / "config.yaml")
    groups = {"device", "profiler", "workload", "execution", "rehearsal", "analysis"}
    assert structs_fields(Request) == (set(primary) - {"hydra"}) | groups
    assert structs_fields(Delivery) == set(primary["delivery"])
    assert structs_fields(Sweep) == set(primary["sweep"])


@pytest.mark.parametrize(
    ("device", "settings"),
    [("cpu", TorchExperimental), ("cuda", TorchExperimental), ("npu", NpuExperimental)],
)
def test_the_base_file_of_a_device_has_all_experimental_settings_and_their_defaults(
    device: str, settings: type[TorchExperimental | NpuExperimental]
) -> None:
    shipped = base(device)
    tied = {} if device == "npu" else {"verbose": "${profiler.with_stack}"}
    assert shipped == listed(structs.asdict(settings())) | tied


@pytest.mark.parametrize("path", sorted(CONF.glob("profiler/experimental/*/[!_]*.yaml")), ids=str)
def test_an_experimental_file_sets_nothing_that_its_base_does_not_have(path: Path) -> None:
    assert set(read(path)) <= set(base(path.parent.name))


def structs_fields(settings: type) -> set[str]:
    return {field.name for field in structs.fields(settings)}


def parameters(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """The arguments of a function but for self, with their defaults."""
    names = [argument.arg for argument in function.args.args[1:]]
    return dict(zip(names, function.args.defaults, strict=True))


def test_torch_has_these_experimental_settings_with_these_defaults() -> None:
    documented = str(_ExperimentalConfig.__init__.__doc__)
    (signature,) = ast.parse(f"def {documented.splitlines()[0]}: ...").body
    assert isinstance(signature, ast.FunctionDef)
    theirs = {name: ast.literal_eval(node) for name, node in parameters(signature).items()}
    assert listed(structs.asdict(TorchExperimental())) == theirs


def torch_npu_source() -> ast.Module:
    """torch_npu's settings, read without importing it: without CANN that fails."""
    spec = importlib.util.find_spec("torch_npu")
    assert spec is not None, "torch-npu is needed, but not CANN"
    assert spec.origin is not None
    source = Path(spec.origin).parent / "profiler" / "experimental_config.py"
    return ast.parse(source.read_text(encoding="utf-8"))


def class_of(module: ast.Module, name: str) -> ast.ClassDef:
    (definition,) = [
        node for node in module.body if isinstance(node, ast.ClassDef) and node.name == name
    ]
    return definition


def test_torch_npu_has_these_experimental_settings_with_these_defaults() -> None:
    """A new version fails here if it adds, drops, renames or reorders one, or changes a default."""
    config = class_of(torch_npu_source(), "_ExperimentalConfig")
    (init,) = [
        node
        for node in config.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]
    theirs = {name: default_of(node) for name, node in parameters(init).items()}
    ours = structs.asdict(NpuExperimental())
    assert list(ours) == list(theirs)
    different = {name for name in theirs if as_torch_npu_has_it(ours[name]) != theirs[name]}
    assert different == set(DEFAULTS_OF_OUR_OWN)
    # What the reasons in the table rest on: these two do not go together.
    assert {name: theirs[name] for name in different} == {
        "profiler_level": "Level0",
        "aic_metrics": "PipeUtilization",
    }


CONSTANTS = {
    "Constant.LEVEL0": "Level0",
    "Constant.AicPipeUtilization": "PipeUtilization",
    "ExportType.Text": "Text",
}
"""What torch_npu's signature names, in the words of its classes."""


def default_of(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else CONSTANTS[ast.unparse(node)]


def as_torch_npu_has_it(value: object) -> object:
    """Its lists are None when empty, and need not be lists when there is one item."""
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else list(value) or None
    return value


def test_our_own_defaults_go_together() -> None:
    """They are delivered as they are; torch_npu's are not."""
    assert problems(composed("device=npu", "profiler=default")) == []
    lowered = NpuExperimental().lowered()
    assert (lowered["profiler_level"], lowered["aic_metrics"]) == ("Level1", "PipeUtilization")


def test_every_npu_setting_is_explained_where_its_value_stands() -> None:
    """A comment above each line says what the setting is."""
    text = (CONF / "profiler" / "experimental" / "npu" / "_base.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line]
    settings = {
        line.partition(":")[0]: above for above, line in pairwise(lines) if not line.startswith("#")
    }
    assert list(settings) == list(structs.asdict(NpuExperimental()))
    assert [name for name, above in settings.items() if not above.startswith("# ")] == []


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("ProfilerLevel", ProfilerLevel),
        ("AiCMetrics", AiCMetrics),
        ("ExportType", ExportType),
        ("HostSystem", HostSystem),
    ],
)
def test_torch_npu_spells_its_choices_like_this(name: str, ours: object) -> None:
    assigned = [
        node for node in class_of(torch_npu_source(), name).body if isinstance(node, ast.Assign)
    ]
    theirs = [
        target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)
    ]
    assert sorted(get_args(ours)) == sorted(theirs)
