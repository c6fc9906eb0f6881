"""The user's own step, as returned by a factory function."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from msgspec import field

from harness.errors import Problem
from harness.workloads.base import BuiltWorkload, Setup, Step

PASSED = ("device", "dtype", "seed", "stage")
"""The arguments that the harness passes to a factory."""

FACTORY: Final = "a function that takes device, dtype and seed, and returns the step to run"
EXAMPLE: Final = """workload.target=my_module:factory, with a my_module.py like this:
        import torch

        def factory(device, dtype, seed):
            layer = torch.nn.Linear(64, 64, device=device, dtype=dtype)
            data = torch.randn(16, 64, device=device, dtype=dtype)
            return lambda: layer(data).sum().backward()"""
"""What to write for a target that is no factory."""

_TARGET: Final = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


class Callable(
    BuiltWorkload, tag="callable", frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Run the step that ``factory(device=…, dtype=…, seed=…, **kwargs)`` returns.

    A factory that also takes ``stage`` receives it, and may write ``with stage("forward"): …``.
    """

    target: str
    """The factory, ``package.module:name``; the working directory is searched first. Read by:
    the workload."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the factory. Read by: the workload."""

    def problems(self) -> Iterator[Problem]:
        """Yield a target that names no factory, and arguments that the harness passes itself."""
        if not _TARGET.fullmatch(self.target):
            yield Problem(
                setting="workload.target",
                given=self.target,
                reason=f"it must name a factory, as package.module:name: {FACTORY}",
                fix=EXAMPLE,
            )
        for name in PASSED:
            if name in self.kwargs:
                yield Problem(
                    setting=f"workload.kwargs.{name}",
                    given=str(self.kwargs[name]),
                    reason=f"the harness passes {name} itself",
                    fix=f"~workload.kwargs.{name}",
                )

    def build(self, setup: Setup) -> Step:
        """Call the factory.

        Raises:
            ImportError: The module does not exist, or cannot import what it needs.
            AttributeError: The module has no such name.
            TypeError: The factory, or what it returned, cannot be called.
        """
        factory = self._factory()
        if not callable(factory):
            raise TypeError(
                f"workload.target={self.target} is a {type(factory).__name__}, not a factory; "
                f"a factory is {FACTORY}"
            )
        passed = {"device": setup.device, "dtype": setup.dtype, "seed": setup.seed}
        if _takes_stage(factory):
            passed["stage"] = setup.stage
        self._accepts(factory, passed)
        step: object = factory(**passed, **self.kwargs)
        if not callable(step):
            raise TypeError(
                f"workload.target={self.target} returned a {type(step).__name__}, not a step; "
                "a step is a function without arguments, such as lambda: model(data)"
            )
        if not self.compile:
            return step

        import torch

        return torch.compile(step)

    def _accepts(self, factory: Any, passed: dict[str, Any]) -> None:
        """Raise `TypeError` if the factory does not take what the harness passes."""
        try:
            inspect.signature(factory).bind(**passed, **self.kwargs)
        except TypeError as exc:
            arguments = ", ".join([*passed, *self.kwargs])
            raise TypeError(
                f"workload.target={self.target} does not take the arguments {arguments} ({exc}); "
                f"a factory is {FACTORY}; workload.kwargs adds arguments"
            ) from exc

    def _factory(self) -> object:
        """Import the module and look up the name in it."""
        name, _, attribute = self.target.partition(":")
        here = str(Path.cwd())
        # `python -m` puts the working directory there; a console script does not.
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as exc:
            # A failed import inside the user's module is another error, and is not changed.
            if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
                raise
            raise ModuleNotFoundError(
                f"workload.target={self.target}: no module {exc.name} in {here} or elsewhere on "
                "the Python path; write workload.target=package.module:factory",
                name=exc.name,
            ) from exc
        try:
            return attrgetter(attribute)(module)
        except AttributeError as exc:
            raise AttributeError(
                f"workload.target={self.target}: {exc}; write the name of a function in "
                f"{module.__file__} after the colon"
            ) from exc


def _takes_stage(factory: Any) -> bool:
    """Whether the factory has a parameter for ``stage``."""
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == "stage" and parameter.kind is not parameter.POSITIONAL_ONLY)
        for parameter in inspect.signature(factory).parameters.values()
    )
