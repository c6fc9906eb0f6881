"""vLLM: ``--profiler-config``, and the body of ``/start_profile``; and vllm-ascend upon it.

Sources: vLLM 0.13.0 to 0.33.0, ``config/profiler.py``, ``profiler/wrapper.py`` and
``entrypoints/serve/profile/api_router.py``; vllm-ascend 0.18.0 and 0.23.0,
``profiler/torch_npu_profiler.py``.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec.structs import replace

from harness.engines.base import (
    EXPERIMENTAL,
    NAME,
    SCHEDULE,
    UNNAMED,
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
    without,
)
from harness.engines.notations import JSON, OptionValue

_OPTION: Final = OptionValue("--profiler-config")
_ACTIVITIES: Final = activities({"host": "CPU", "device": "CUDA"})
_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PROTON: Final = "Triton's Proton is another profiler; the harness reads torch's"


def _number(values: Values, name: str, default: int) -> int:
    value = values.get(name, default)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NoCounterpartError(f"{name}: it must be a number of iterations, 0 or more")
    return value


def _lower_schedule(settings: Settings) -> Values:
    active, wait, warmup = (settings[f"{SCHEDULE}{name}"] for name in ("active", "wait", "warmup"))
    delay = {"delay_iterations": settings[f"{SCHEDULE}skip_first"]}
    if not wait and not warmup:
        return {**delay, "max_iterations": active}
    schedule = {"wait_iterations": wait, "warmup_iterations": warmup, "active_iterations": active}
    return {**delay, **schedule}


def _schedule_means(values: Values) -> Settings:
    wait, warmup = (_number(values, f"{name}_iterations", 0) for name in ("wait", "warmup"))
    limit = _number(values, "max_iterations", 0)
    delay = {f"{SCHEDULE}skip_first": _number(values, "delay_iterations", 0)}
    if not wait and not warmup:
        return {**delay, f"{SCHEDULE}active": _limit(limit)}
    active = _number(values, "active_iterations", 5)
    if limit and limit < active:
        active = limit
    return {
        **delay,
        f"{SCHEDULE}wait": wait,
        f"{SCHEDULE}warmup": warmup,
        f"{SCHEDULE}active": active,
    }


def _limit(limit: int) -> int:
    if not limit:
        raise NoCounterpartError("max_iterations: without it, vLLM records until /stop_profile")
    return limit


_SCHEDULE: Final = (
    Field(name="delay_iterations", setting=f"{SCHEDULE}skip_first", default=0, codec=None),
    Field(name="max_iterations", setting=f"{SCHEDULE}active", default=0, codec=None),
)
_CYCLE: Final = (
    Field(name="wait_iterations", setting=f"{SCHEDULE}wait", default=0, codec=None),
    Field(name="warmup_iterations", setting=f"{SCHEDULE}warmup", default=0, codec=None),
    Field(name="active_iterations", setting=f"{SCHEDULE}active", default=5, codec=None),
)
_UNMATCHED: Final = (
    Field(name="torch_profiler_dir", default="", placed=True),
    Field(name="torch_profiler_use_gzip", default=True, about="the harness reads both"),
    Field(
        name="torch_profiler_dump_cuda_time_total",
        default=True,
        about="a table beside the trace; the harness makes its own",
    ),
    Field(
        name="capture_torch_profiler",
        default=False,
        about="a profile of the capture of CUDA graphs, on rank 0",
    ),
    Field(
        name="detailed_trace_annotation",
        default=False,
        about="sums of query and key lengths in annotations; no setting has them",
    ),
    Field(
        name="ignore_frontend",
        default=False,
        about="leaves out the capture of the frontend's process; the harness names such processes",
    ),
    *(
        Field(name=f"proton_{name}", default=default, about=_PROTON)
        for name, default in {
            "profiler_dir": "",
            "context": "shadow",
            "data": "tree",
            "backend": None,
            "mode": None,
            "hook": None,
            "output_format": None,
            "graph_attribution": False,
        }.items()
    ),
)


def _kind(value: Any) -> None:
    if value != "torch":
        what = "off" if value is None else f"{value}, which is not torch's profiler"
        raise NoCounterpartError(f"profiler: it is {what}")


def _config_means(values: Values) -> Settings:
    _kind(values.get("profiler"))
    return _schedule_means(values)


def _platform(device: str) -> Codec:
    """Null is what the platform records: all that it can."""
    everything = ["CPU"] if device == "cpu" else ["CPU", "CUDA"]
    return Codec(
        _ACTIVITIES.encode,
        lambda value: _ACTIVITIES.decode(everything if value is None else value),
    )


def _config(device: str) -> Form:
    return Form(
        name="config",
        title="the value of --profiler-config",
        device=device,
        notation=_OPTION,
        fields=(
            Field(name="profiler", codec=None, setting="profiler.activities"),
            Field(
                name="torch_profiler_activities",
                setting="profiler.activities",
                codec=_platform(device),
            ),
            Field(
                name="torch_profiler_record_shapes",
                setting="profiler.record_shapes",
                default=False,
            ),
            Field(name="torch_profiler_with_stack", setting="profiler.with_stack", default=True),
            Field(name="torch_profiler_with_flops", setting="profiler.with_flops", default=False),
            Field(
                name="torch_profiler_with_memory", setting="profiler.profile_memory", default=False
            ),
            *_SCHEDULE,
            *_CYCLE,
            *_UNMATCHED,
        ),
        always={"profiler": "torch"},
        folder="torch_profiler_dir",
        special=Special(lower=_lower_schedule, means=_config_means),
        notes=("recording begins with POST /start_profile",),
    )


def _prefix(value: Any) -> str:
    return value if _PREFIX.fullmatch(value) else UNNAMED


def _lower_body(settings: Settings) -> Values:
    return {
        "delay_iterations": settings[f"{SCHEDULE}skip_first"],
        "max_iterations": settings[f"{SCHEDULE}active"],
    }


def _body_means(values: Values) -> Settings:
    limit = _limit(_number(values, "max_iterations", 0))
    delay = _number(values, "delay_iterations", 0)
    return {f"{SCHEDULE}skip_first": delay, f"{SCHEDULE}active": limit}


def _body(device: str) -> Form:
    switches = ("record_shapes", "with_stack", "profile_memory", "with_flops", "with_modules")
    return Form(
        name="body",
        title="the body of POST /start_profile, of a server that was started with a profiler",
        device=device,
        notation=JSON,
        fields=(
            Field(name="profile_prefix", setting="name", codec=Codec(_prefix, NAME.decode)),
            *_SCHEDULE,
            *(
                # Without them, the server's own configuration decides, which is not known.
                Field(name=f"profiler_kwargs.{name}", setting=f"profiler.{name}", default=False)
                for name in switches
            ),
        ),
        special=Special(lower=_lower_body, means=_body_means),
        notes=(
            "start the server with a --profiler-config of a torch profiler and a folder",
            "its own activities, wait and warm-up hold in any case",
            "before 0.33, vLLM ignores profiler_kwargs without a word; before 0.32, the whole body",
        ),
    )


def _limit_means(values: Values) -> Settings:
    _kind(values.get("profiler"))
    return _body_means(values)


def _older(form: Form, *, stack: bool) -> Form:
    """Return a form whose ``torch_profiler_with_stack`` has another default."""
    name = "torch_profiler_with_stack"
    return replace(
        form,
        fields=tuple(
            replace(field, default=stack) if field.name == name else field for field in form.fields
        ),
    )


_DEVICES: Final = ("cuda", "cpu")
_CONFIGS: Final = tuple(map(_config, _DEVICES))
_BODIES: Final = tuple(map(_body, _DEVICES))
_KWARGS: Final = tuple(field.name for field in _BODIES[0].fields if "." in field.name)
_PROTON_FIELDS: Final = tuple(f.name for f in _UNMATCHED if f.name.startswith("proton_"))
_IN_0_30: Final = tuple(without(form, "torch_profiler_activities") for form in _CONFIGS)
_IN_0_27: Final = tuple(without(form, *_PROTON_FIELDS) for form in _IN_0_30)
_IN_0_25: Final = tuple(
    without(form, "capture_torch_profiler", "detailed_trace_annotation") for form in _IN_0_27
)
_IN_0_17: Final = tuple(
    replace(
        without(form, *(field.name for field in _CYCLE)),
        special=Special(lower=_lower_body, means=_limit_means),
    )
    for form in _IN_0_25
)


def _release(version: str, since: str, *forms: Form) -> Release:
    first = f" to {version}" if since != version else ""
    source = f"the wheels of {since}{first}" if first else f"the wheel of {version}"
    return Release(version=version, since=since, source=source, forms=forms)


VLLM: Final = Target(
    name="vllm",
    title="the serving engine",
    package="vllm",
    releases=(
        _release("0.33.0", "0.33.0", *_CONFIGS, *_BODIES),
        _release("0.32.0", "0.32.0", *_CONFIGS, *(without(form, *_KWARGS) for form in _BODIES)),
        _release("0.31.0", "0.31.0", *_CONFIGS),
        _release("0.30.0", "0.28.0", *_IN_0_30),
        _release("0.27.0", "0.26.0", *_IN_0_27),
        _release("0.25.0", "0.19.0", *_IN_0_25),
        _release("0.18.0", "0.18.0", *(_older(form, stack=False) for form in _IN_0_25)),
        _release("0.17.0", "0.13.0", *_IN_0_17),
    ),
)

ASCEND_FIXED: Final[Settings] = {
    "profiler.activities": ["host", "device"],
    "profiler.with_stack": False,
    f"{EXPERIMENTAL}export_type": ["Text"],
    f"{EXPERIMENTAL}profiler_level": "Level1",
    f"{EXPERIMENTAL}aic_metrics": "PipeUtilization",
    f"{EXPERIMENTAL}msprof_tx": False,
    f"{EXPERIMENTAL}l2_cache": False,
    f"{EXPERIMENTAL}op_attr": False,
    f"{EXPERIMENTAL}data_simplification": True,
    f"{EXPERIMENTAL}record_op_args": False,
    f"{EXPERIMENTAL}gc_detect_threshold": None,
}
"""What vllm-ascend passes to torch_npu, whatever is asked."""
_NOT_FORWARDED: Final = "vllm-ascend does not forward it to torch_npu"


VLLM_ASCEND: Final = Target(
    name="vllm-ascend",
    title="vLLM on Ascend NPUs",
    package="vllm-ascend",
    releases=(
        Release(
            version="0.23.0",
            since="0.18.0",
            source="the wheels of 0.18.0 and 0.23.0, and its repository of 2026-08-22",
            forms=(
                Form(
                    name="config",
                    title="the value of --profiler-config",
                    device="npu",
                    notation=_OPTION,
                    fields=(
                        Field(name="profiler", codec=None, setting="profiler.activities"),
                        Field(
                            name="torch_profiler_activities",
                            about="vllm-ascend records CPU and NPU in any case",
                        ),
                        Field(
                            name="torch_profiler_record_shapes",
                            setting="profiler.record_shapes",
                            default=False,
                            ignored=_NOT_FORWARDED,
                        ),
                        # It is passed as with_modules; with_stack is false in any case.
                        Field(
                            name="torch_profiler_with_stack",
                            setting="profiler.with_modules",
                            default=True,
                        ),
                        Field(
                            name="torch_profiler_with_flops",
                            setting="profiler.with_flops",
                            default=False,
                            ignored=_NOT_FORWARDED,
                        ),
                        Field(
                            name="torch_profiler_with_memory",
                            setting="profiler.profile_memory",
                            default=False,
                        ),
                        *_SCHEDULE,
                        *(
                            Field(name=field.name, default=field.default, about=_NOT_FORWARDED)
                            for field in _CYCLE
                        ),
                        *_UNMATCHED,
                    ),
                    fixed=ASCEND_FIXED,
                    why_fixed="vllm-ascend hard-codes it",
                    always={"profiler": "torch"},
                    folder="torch_profiler_dir",
                    special=Special(lower=_lower_body, means=_limit_means),
                    notes=(
                        "recording begins with POST /start_profile",
                        "torch_profiler_with_stack is passed to torch_npu as with_modules",
                    ),
                ),
            ),
        ),
    ),
)
