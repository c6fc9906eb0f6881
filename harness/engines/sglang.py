"""sglang: the body of ``/start_profile``, and its own command for it.

Source: sglang 0.5.6 to 0.5.23, ``ProfileReq`` in ``srt/managers/io_struct.py``, ``start_profile``
in ``tokenizer_control_mixin.py``, ``_start_profile`` in ``profiler_manager.py``, ``profiler.py``.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from harness.engines.base import (
    EXPERIMENTAL,
    NAME,
    SCHEDULE,
    Codec,
    Field,
    Form,
    NoCounterpartError,
    Release,
    Settings,
    Special,
    Target,
    Values,
    activities,
    unless_missing,
    without,
)
from harness.engines.notations import JSON, Words

_NAMES: Final = {"host": "CPU", "device": "GPU"}
_ACTIVITIES: Final = activities(_NAMES)

NPU_FIXED: Final[Settings] = {
    f"{EXPERIMENTAL}export_type": ["Text"],
    f"{EXPERIMENTAL}profiler_level": "Level1",
    f"{EXPERIMENTAL}aic_metrics": "PipeUtilization",
    f"{EXPERIMENTAL}msprof_tx": False,
    f"{EXPERIMENTAL}l2_cache": False,
    f"{EXPERIMENTAL}op_attr": False,
    f"{EXPERIMENTAL}data_simplification": False,
    f"{EXPERIMENTAL}record_op_args": False,
    f"{EXPERIMENTAL}gc_detect_threshold": None,
}
"""What its first profiler path passes to torch_npu, whatever is asked."""
SECOND_PATH: Final = (
    "sglang's second profiler path (SGLANG_PROFILE_V2=1) gives torch_npu no experimental_config"
)
_NPU_NOTE: Final = f"start the server without SGLANG_PROFILE_V2=1: {SECOND_PATH}"
_STACKS_NOTE: Final = (
    "the server's SGLANG_PROFILE_RECORD_SHAPES and SGLANG_PROFILE_WITH_STACK must not be false:"
    " they win over the body"
)


def _of_default(names: list[str] | None) -> Any:
    return _ACTIVITIES.decode(["CPU", "GPU"] if names is None else names)


def _steps(values: Values, name: str) -> Settings:
    try:
        steps = int(values.get(name) or 0)
    except (OverflowError, TypeError, ValueError) as error:
        raise NoCounterpartError(f"{name}: it must be a number of batches") from error
    if steps <= 0:
        raise NoCounterpartError(f"{name}: without it, sglang records until /stop_profile")
    return {f"{SCHEDULE}active": steps}


_BODY: Final = (
    Field(name="output_dir", placed=True),
    Field(
        name="num_steps",
        setting=f"{SCHEDULE}active",
        codec=None,
    ),
    Field(
        name="activities",
        setting="profiler.activities",
        codec=Codec(_ACTIVITIES.encode, _of_default),
    ),
    Field(name="with_stack", setting="profiler.with_stack", codec=unless_missing(default=True)),
    Field(
        name="record_shapes", setting="profiler.record_shapes", codec=unless_missing(default=True)
    ),
    Field(
        name="start_step",
        about="an absolute count of batches; profiler.schedule.skip_first counts from the request",
    ),
    Field(
        name="profile_by_stage",
        default=False,
        about="separate captures of prefill and decode; the harness has no windows by stage",
    ),
    Field(
        name="profile_stages",
        about="which stages, read under SGLANG_PROFILE_V2=1 alone; no windows by stage",
    ),
    Field(
        name="merge_profiles",
        default=False,
        about="one trace of all ranks; the harness reads the ranks' own, --merged-trace joins them",
    ),
    Field(
        name="detailed_annotations",
        default=False,
        about="sums of query and key lengths in the names of steps; no setting has them",
    ),
    Field(name="profile_id", placed=True),
    Field(name="req_type", placed=True),
)
_PREFIX: Final = Field(name="profile_prefix", setting="name", codec=NAME)


def _body(device: str, fields: tuple[Field, ...]) -> Form:
    is_npu = device == "npu"
    return Form(
        name="body",
        title="the body of POST /start_profile",
        device=device,
        notation=JSON,
        fields=fields,
        fixed=NPU_FIXED if is_npu else {},
        why_fixed="sglang hard-codes its experimental_config" if is_npu else "",
        folder="output_dir",
        special=Special(
            lower=lambda settings: {"num_steps": settings[f"{SCHEDULE}active"]},
            means=lambda values: _steps(values, "num_steps"),
        ),
        notes=(_STACKS_NOTE, *((_NPU_NOTE,) if is_npu else ())),
    )


def _truth(value: Any) -> bool:
    return str(value).lower() not in ("false", "0", "no", "n", "off", "f")


_SWITCH: Final = Codec(lambda value: "true" if value else "false", _truth)
_COMMAND_FIELDS: Final = (
    Field(
        name="SGLANG_PROFILE_WITH_STACK",
        setting="profiler.with_stack",
        default="true",
        codec=_SWITCH,
    ),
    Field(
        name="SGLANG_PROFILE_RECORD_SHAPES",
        setting="profiler.record_shapes",
        default="true",
        codec=_SWITCH,
    ),
    Field(
        name="SGLANG_PROFILE_V2",
        default="false",
        about="another path of profiling, by stage alone",
    ),
    Field(name="SGLANG_TORCH_PROFILER_DIR", placed=True),
    Field(name="url", placed=True),
    Field(name="output-dir", placed=True),
    Field(name="num-steps", setting=f"{SCHEDULE}active", codec=None),
    Field(name="cpu", setting="profiler.activities", default=True, codec=None),
    Field(name="gpu", setting="profiler.activities", default=True, codec=None),
    Field(name="mem", default=False, about="torch's history of allocations"),
    Field(name="rpd", default=False, about="ROCm's own profiler"),
    Field(name="profile-by-stage", default=False, about="no windows by stage"),
    Field(name="merge-profiles", default=False, about="one trace of all ranks"),
)


def _command_lower(settings: Settings) -> Values:
    recorded = settings["profiler.activities"]
    return {
        "num-steps": settings[f"{SCHEDULE}active"],
        "cpu": "host" in recorded,
        "gpu": "device" in recorded,
    }


def _command_means(values: Values) -> Settings:
    both = (("cpu", "host"), ("gpu", "device"))
    recorded = [ours for name, ours in both if values.get(name, True)]
    if not recorded:
        raise NoCounterpartError("cpu: neither CPU nor GPU is recorded")
    steps = _steps({"num-steps": values.get("num-steps", 5)}, "num-steps")
    return {"profiler.activities": recorded, **steps}


def _command(device: str) -> Form:
    is_npu = device == "npu"
    prefix = Field(
        name="profile-prefix", setting="" if is_npu else "name", placed=is_npu, codec=NAME
    )
    return Form(
        name="command",
        title="variables of the server, and the command that asks it",
        device=device,
        notation=Words("python -m sglang.profiler", negated=True),
        fields=(*_COMMAND_FIELDS, prefix),
        fixed=NPU_FIXED if is_npu else {},
        why_fixed="sglang hard-codes its experimental_config" if is_npu else "",
        folder="output-dir",
        special=Special(lower=_command_lower, means=_command_means),
        notes=(_NPU_NOTE,) if is_npu else (),
    )


def _forms(*, passes_config: bool) -> tuple[Form, ...]:
    """`passes_config`: whether its first profiler path gives torch_npu an experimental_config."""
    of_npu: tuple[Form, ...] = (
        # On an NPU, torch_npu names its folders itself.
        _body("npu", (*_BODY, Field(name="profile_prefix", placed=True))),
        _command("npu"),
    )
    if not passes_config:
        of_npu = tuple(
            replace(form, fixed={}, why_fixed="", notes=(_NO_CONFIG,)) for form in of_npu
        )
    return (_body("cuda", (*_BODY, _PREFIX)), _command("cuda"), *of_npu)


_NO_CONFIG: Final = "before 0.5.13, sglang gives torch_npu no experimental_config at all"
_NEWEST: Final = _forms(passes_config=True)
SGLANG: Final = Target(
    name="sglang",
    title="the serving engine",
    package="sglang",
    releases=(
        Release(
            version="0.5.23", since="0.5.22", source="the wheels of 0.5.22, 0.5.23", forms=_NEWEST
        ),
        Release(
            version="0.5.15",
            since="0.5.13",
            source="the wheels of 0.5.13 to 0.5.15",
            forms=tuple(without(form, "detailed_annotations") for form in _NEWEST),
        ),
        Release(
            version="0.5.12",
            since="0.5.6",
            source="the wheels of 0.5.6 to 0.5.12",
            forms=tuple(
                without(form, "detailed_annotations", "req_type")
                for form in _forms(passes_config=False)
            ),
        ),
    ),
)
