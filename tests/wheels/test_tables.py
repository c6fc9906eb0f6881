"""The tables of the engines are what their released packages say, in their own source."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from harness.engines import TARGETS
from harness.engines.base import EXPERIMENTAL, Form, Release
from harness.engines.exporting import export
from harness.engines.verl import NPU_FIXED as VERL_FIXED
from harness.engines.vllm import ASCEND_FIXED
from tests.support.composing import composed
from tests.wheels.conftest import Wheel

Wheels = Callable[[str, str], Wheel]


def release_of(name: str, version: str) -> Release:
    return next(each for each in TARGETS[name].releases if each.version == version)


def form_of(release: Release, name: str, device: str) -> Form:
    return next(form for form in release.forms if (form.name, form.device) == (name, device))


def of_arguments(call: ast.Call) -> dict[str, Any]:
    """The constants that torch_npu's configuration is given, by our names for them."""
    settings: dict[str, Any] = {}
    for word in call.keywords:
        if isinstance(word.value, ast.Constant | ast.List):
            settings[f"{EXPERIMENTAL}{word.arg}"] = ast.literal_eval(word.value)
        elif isinstance(word.value, ast.Attribute):
            value = word.value.attr
            settings[f"{EXPERIMENTAL}{word.arg}"] = [value] if word.arg == "export_type" else value
    return settings


SGLANG_IO = "sglang/srt/managers/io_struct.py"
SGLANG_PROFILER = "sglang/srt/managers/scheduler_components/profiler_manager.py"


@pytest.mark.parametrize("version", ["0.5.23", "0.5.15", "0.5.12"])
def test_sglang_takes_these_fields(wheel: Wheels, version: str) -> None:
    package = wheel("sglang", version)
    named = "ProfileReq" if "class ProfileReq(" in package.text(SGLANG_IO) else "ProfileReqInput"
    fields = package.fields(SGLANG_IO, named)
    form = form_of(release_of("sglang", version), "body", "cuda")
    assert set(fields) - {"type"} == {field.name for field in form.fields}
    for field in form.fields:
        if field.name != "req_type":
            assert fields[field.name] == field.default, field.name


@pytest.mark.parametrize("version", ["0.5.23", "0.5.15"])
def test_sglang_hard_codes_this_on_an_npu(wheel: Wheels, version: str) -> None:
    (call,) = wheel("sglang", version).calls(SGLANG_PROFILER, "_ExperimentalConfig")
    assert of_arguments(call) == form_of(release_of("sglang", version), "body", "npu").fixed


def test_sglang_s_second_path_passes_no_configuration(wheel: Wheels) -> None:
    second = "sglang/srt/utils/profile_utils.py"
    package = wheel("sglang", "0.5.23")
    assert package.calls(second, "_ExperimentalConfig") == []
    calls = [call for call in package.calls(second, "profile") if call.keywords]
    assert calls
    for call in calls:
        assert "experimental_config" not in {word.arg for word in call.keywords}


def test_sglang_before_0_5_13_passes_none_at_all(wheel: Wheels) -> None:
    package = wheel("sglang", "0.5.12")
    assert "experimental_config" not in package.text(
        "sglang/srt/managers/scheduler_profiler_mixin.py"
    )
    assert "experimental_config" not in package.text("sglang/srt/utils/profile_utils.py")
    assert form_of(release_of("sglang", "0.5.12"), "body", "npu").fixed == {}


def test_sglang_s_command_has_these_options(wheel: Wheels) -> None:
    calls = wheel("sglang", "0.5.23").calls("sglang/profiler.py", "add_argument")
    options = {ast.literal_eval(call.args[0]).removeprefix("--") for call in calls}
    form = form_of(TARGETS["sglang"].releases[0], "command", "cuda")
    assert options == {field.name for field in form.fields if not field.name.isupper()}


VLLM_CONFIG = "vllm/config/profiler.py"
VLLM_ROUTER = "vllm/entrypoints/serve/profile/api_router.py"


@pytest.mark.parametrize(
    "version",
    [release.version for release in TARGETS["vllm"].releases if release.version >= "0.30"],
)
def test_vllm_takes_these_fields(wheel: Wheels, version: str) -> None:
    package = wheel("vllm", version)
    release = release_of("vllm", version)
    fields = package.fields(VLLM_CONFIG, "ProfilerConfig")
    form = form_of(release, "config", "cuda")
    assert set(fields) == {field.name for field in form.fields}
    for field in form.fields:
        assert fields[field.name] == field.default, field.name
    has_body = "StartProfileRequest" in package.text(VLLM_ROUTER)
    assert has_body == any(form.name == "body" for form in release.forms)
    if has_body:
        taken = set(package.fields(VLLM_ROUTER, "StartProfileRequest")) - {"model_config"}
        body = form_of(release, "body", "cuda")
        assert taken == {field.name.partition(".")[0] for field in body.fields}


ASCEND = "vllm_ascend/profiler/torch_npu_profiler.py"


def test_vllm_ascend_hard_codes_this(wheel: Wheels) -> None:
    package = wheel("vllm-ascend", "0.23.0")
    (config,) = package.calls(ASCEND, "_ExperimentalConfig")
    (profile,) = package.calls(ASCEND, "profile")
    given = {word.arg: ast.unparse(word.value) for word in profile.keywords}
    fixed = {name: ASCEND_FIXED[name] for name in ASCEND_FIXED if name.startswith(EXPERIMENTAL)}
    assert of_arguments(config) == fixed
    assert given["with_stack"] == "False"
    assert given["with_modules"] == "profiler_config.torch_profiler_with_stack"
    assert given["profile_memory"] == "profiler_config.torch_profiler_with_memory"
    assert not {"record_shapes", "with_flops", "schedule"} & set(given)


VERL_CONFIG = "verl/utils/profiler/config.py"


@pytest.mark.parametrize("version", ["0.9.1", "0.9.0", "0.8.0"])
def test_verl_hard_codes_this_on_an_npu(wheel: Wheels, version: str) -> None:
    package = wheel("verl", version)
    (call,) = package.calls("verl/utils/profiler/mstx_profile.py", "_ExperimentalConfig")
    known = of_arguments(call)
    assert {name: known[name] for name in VERL_FIXED} == VERL_FIXED
    assert set(known) == set(VERL_FIXED)
    options = package.fields(VERL_CONFIG, "NPUToolConfig").keys() - {"name"}
    form = form_of(release_of("verl", version), "critic", "npu")
    prefix = "critic.profiler.tool_config.npu."
    names = {
        field.name.removeprefix(prefix) for field in form.fields if field.name.startswith(prefix)
    }
    assert names - {"discrete", "_target_"} == options - {"discrete"}


@pytest.mark.parametrize("version", ["0.9.1", "0.9.0", "0.8.0"])
@pytest.mark.parametrize("device", ["npu", "cuda"])
def test_verl_s_own_configuration_takes_the_words(
    wheel: Wheels, tmp_path_factory: pytest.TempPathFactory, version: str, device: str
) -> None:
    """Hydra composes verl's own files with what is exported: no name is unknown, and all arrive."""
    folder = wheel("verl", version).unpacked(
        tmp_path_factory.mktemp("verl"), "verl/trainer/config/"
    )
    target, release = TARGETS["verl"], release_of("verl", version)
    request = composed(f"device={device}", "profiler=memory", "profiler.schedule.warmup=0")
    for name in ("actor", "critic"):
        done = export(request, target, release, form_of(release, name, device), "captures")
        words = shlex.split(done.text)
        with initialize_config_dir(str(folder / "verl/trainer/config"), version_base=None):
            config = compose("ppo_trainer", words)
        for field, value in done.values.items():
            assert OmegaConf.select(config, field) == value, field
