"""A configuration-driven profiling harness for PyTorch on CPU, NVIDIA GPUs and Ascend NPUs."""

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

from harness.steps import stage, step, stop

if TYPE_CHECKING:
    from harness.api.profiles import Profile, profile
    from harness.api.requests import build_profiler, compose, plan
    from harness.api.results import Run, load
    from harness.errors import (
        HarnessError,
        HarnessWarning,
        MachineError,
        NotDeliveredError,
        Problem,
        RecorderError,
        RefusedError,
        WriteError,
    )
    from harness.sessions.session import Session
    from harness.sessions.window import Window

_HOMES = {
    "api.profiles": ("Profile", "profile"),
    "api.requests": ("build_profiler", "compose", "plan"),
    "api.results": ("Run", "load"),
    "errors": (
        "HarnessError",
        "HarnessWarning",
        "MachineError",
        "NotDeliveredError",
        "Problem",
        "RecorderError",
        "RefusedError",
        "WriteError",
    ),
    "sessions.session": ("Session",),
    "sessions.window": ("Window",),
}
"""Where the public names are; each is loaded when it is first used. None of them loads torch."""

__all__ = [
    "HarnessError",
    "HarnessWarning",
    "MachineError",
    "NotDeliveredError",
    "Problem",
    "Profile",
    "RecorderError",
    "RefusedError",
    "Run",
    "Session",
    "Window",
    "WriteError",
    "__version__",
    "build_profiler",
    "compose",
    "load",
    "plan",
    "profile",
    "stage",
    "step",
    "stop",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"harness.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
