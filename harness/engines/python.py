"""Python: torch's profiler, or torch_npu's, without the harness.

Sources: torch 2.13.0, ``profiler/profiler.py``; torch_npu 2.13.0, ``profiler/profiler.py`` and
``experimental_config.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from harness.engines.base import (
    EXPERIMENTAL,
    SCHEDULE,
    Field,
    Form,
    NoCounterpartError,
    Release,
    Settings,
    Special,
    Target,
    Values,
    activities,
    bare,
)
from harness.engines.python_code import PythonCode

_DEVICE_ACTIVITY: Final = {"cpu": "CUDA", "cuda": "CUDA", "npu": "NPU"}
_SWITCHES: Final = ("record_shapes", "profile_memory", "with_stack", "with_flops", "with_modules")
_DEFAULTS: Final = {
    "skip_first": 0,
    "skip_first_wait": 0,
    "wait": 0,
    "warmup": 0,
    "active": None,
    "repeat": 0,
}


def _lower(settings: Settings) -> Values:
    return {f"schedule.{name}": settings[f"{SCHEDULE}{name}"] for name in _DEFAULTS}


def _means(values: Values) -> Settings:
    schedule = {
        name: values.get(f"schedule.{name}", default) for name, default in _DEFAULTS.items()
    }
    if schedule["active"] is None:
        why = "schedule: without one, it records from its start to its stop"
        raise NoCounterpartError(why)
    return {f"{SCHEDULE}{name}": value for name, value in schedule.items()}


def _experimental(device: str) -> Iterator[Field]:
    for setting, default in bare(device).items():
        if setting.startswith(EXPERIMENTAL):
            name = setting.removeprefix(EXPERIMENTAL)
            yield Field(name=f"experimental_config.{name}", setting=setting, default=default)


def _form(device: str) -> Form:
    recorded = bare(device)["profiler.activities"]
    names = {"host": "CPU", "device": _DEVICE_ACTIVITY[device]}
    default: Any = [names[name] for name in recorded]
    return Form(
        name="snippet",
        title=f"a program with {'torch_npu' if device == 'npu' else 'torch'} alone",
        device=device,
        notation=PythonCode("torch_npu.profiler" if device == "npu" else "torch.profiler"),
        fields=(
            Field(
                name="activities",
                setting="profiler.activities",
                default=default,
                codec=activities(names),
            ),
            *(Field(name=name, setting=f"profiler.{name}", default=False) for name in _SWITCHES),
            *(
                Field(
                    name=f"schedule.{name}",
                    setting=f"{SCHEDULE}{name}",
                    default=default,
                    codec=None,
                )
                for name, default in _DEFAULTS.items()
            ),
            Field(name="folder", placed=True),
            Field(name="use_cuda", about="an older word that wins over the activities"),
            Field(
                name="execution_trace_observer",
                about="an execution trace for replays; no setting has it",
            ),
            Field(name="custom_trace_id_callback", about="names of traces, by a function"),
            *_experimental(device),
        ),
        folder="folder",
        special=Special(lower=_lower, means=_means),
    )


PYTHON: Final = Target(
    name="python",
    title="torch's profiler, or torch_npu's, without the harness",
    package="torch",
    releases=(
        Release(
            version="2.13.0",
            since="2.13.0",
            source="the wheels of torch and torch-npu 2.13.0",
            forms=(_form("npu"), _form("cuda"), _form("cpu")),
        ),
    ),
)
