"""The limits of a gate: a YAML file under version control, checked strictly; no code in it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml
from msgspec import Meta

from harness import files
from harness.errors import Problem, refuse
from harness.settings.request import Settings
from harness.settings.schema import problems as schema_problems
from harness.settings.schema import show

_LARGEST: Final = 100_000
"""Bytes of the file."""
_DEEPEST: Final = 8
"""Levels of the file; limits take two."""
_MOST: Final = 1_000
"""Names, values and brackets."""
_LONGEST: Final = 200
"""Characters of a name or a value."""
Increase = Annotated[float, Meta(ge=0, le=10)]
Positive = Annotated[float, Meta(gt=0, le=1e18)]
_FIX: Final = "see docs/comparing.md for a file of limits"


class StepTime(Settings, frozen=True, kw_only=True):
    """How much slower a step may become."""

    max_increase: Annotated[float, Meta(gt=0, le=10)] | None = None
    """0.03: at most 3 % slower than the base. Read by: gate."""
    confidence: Annotated[float, Meta(ge=0.5, le=0.999)] = 0.95
    """Of the tests. Read by: gate."""
    undecided: Literal["pass", "fail"] = "pass"
    """What becomes of the gate where the runs cannot tell. Read by: gate."""
    max_ms: Positive | None = None
    """The longest median step, in milliseconds. Read by: gate."""


class Count(Settings, frozen=True, kw_only=True):
    """How a count of one step may change."""

    equal: bool = False
    """Exactly that of the base. Read by: gate."""
    max_increase: Increase | None = None
    """0.01: at most 1 % more than the base. Read by: gate."""
    max: Positive | None = None
    """The largest count in a step. Read by: gate."""


class Memory(Settings, frozen=True, kw_only=True):
    """How the most memory in use may change."""

    max_increase: Increase | None = None
    """0.01: at most 1 % more than the base. Read by: gate."""
    max_mib: Positive | None = None
    """The most, in MiB. Read by: gate."""


class Same(Settings, frozen=True, kw_only=True):
    """Whether something must stay what it is."""

    equal: bool = True
    """As in the base. Read by: gate."""


class Limits(Settings, frozen=True, kw_only=True):
    """What a gate allows; what is not named is not limited."""

    kernels: Count | None = None
    """Kernels, copies and communication of a step. Read by: gate."""
    launches: Count | None = None
    """Calls of the driver that start something, in a step. Read by: gate."""
    operators: Count | None = None
    """Operators of a step. Read by: gate."""
    collective_bytes: Count | None = None
    """Bytes that a rank puts into collectives, in a step. Read by: gate."""
    peak_memory: Memory | None = None
    """The most memory in use on a device. Read by: gate."""
    shapes: Same | None = None
    """Shapes of the arguments of operators and kernels. Read by: gate."""
    dtypes: Same | None = None
    """Their data types. Read by: gate."""
    step_time: StepTime | None = None
    """The time of a step. Read by: gate."""


DEFAULT: Final = Limits(
    kernels=Count(equal=True),
    launches=Count(equal=True),
    operators=Count(equal=True),
    collective_bytes=Count(equal=True),
    peak_memory=Memory(max_increase=0.01),
    shapes=Same(),
    dtypes=Same(),
    step_time=StepTime(max_increase=0.03),
)
"""Without a file: counts and shapes equal, 1 % more memory, 3 % more time."""


_EXAMPLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(Limits.__struct_fields__, "equal: true"),
    **dict.fromkeys(("peak_memory", "step_time"), "max_increase: 0.03"),
}


class _Loader(yaml.SafeLoader):
    """Plain values alone; a key that stands twice is an error."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    built = loader.construct_mapping(node, deep=True)
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        raise yaml.constructor.ConstructorError(
            None, None, f"the key {twice[0]} stands twice", node.start_mark
        )
    return built


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_limits(path: Path) -> Limits:
    """Read a file of limits.

    Raises:
        RefusedError: It cannot be read, is no YAML, or has a key or a value that is not allowed;
            with every such key.
    """
    data = _load(path)
    refuse(list(_no_limits(path, data)))
    found = list(schema_problems(data, msgspec.inspect.type_info(Limits), ""))
    refuse([_of_file(path, problem) for problem in found])
    limits = msgspec.convert(data, Limits)
    refuse(list(_empty(path, limits)))
    return limits


def _load(path: Path) -> Any:
    reason = ""
    data: Any = None
    try:
        with files.regular(path, follow=True) as file:
            content = file.read(_LARGEST + 1)
        text = content.decode()
        if len(content) > _LARGEST:
            reason = f"it is larger than {_LARGEST:,} bytes"
        elif not (reason := _out_of_place(text)):
            data = yaml.load(text, Loader=_Loader)  # noqa: S506 - it derives from SafeLoader
            if not isinstance(data, dict) or not data:
                reason = "it must have limits by their names, as kernels: {equal: true}"
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = "it is no UTF-8"
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = f"it is no YAML of limits: {error}"
    if reason:
        refuse([Problem(setting="--limits", given=str(path), reason=reason, fix=_FIX)])
    return data


def _out_of_place(text: str) -> str:
    """Return what has no place in limits, as soon as it is seen; "" for nothing.

    What is left is built in a time that grows with its length, and needs no code but ours.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text)):
        if isinstance(event, yaml.AliasEvent):
            return "an alias (*name) has no place in limits"
        if getattr(event, "tag", None) is not None:
            return "a tag (!name) has no place in limits"
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST:
            return f"a name or value of more than {_LONGEST} characters has no place in limits"
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if count > _MOST:
            return f"it has more than {_MOST:,} names and values"
        if depth > _DEEPEST:
            return f"it has more than {_DEEPEST} levels, and limits take two"
    return ""


def _no_limits(path: Path, data: Mapping[Any, Any]) -> Iterator[Problem]:
    """Yield limits that have no rules of their own."""
    for name, value in data.items():
        if name in Limits.__struct_fields__ and not isinstance(value, dict):
            why = "a limit is a name with its rules"
            fix = f"{name}: {{{_EXAMPLES[name]}}}"
            yield Problem(setting=f"{path}: {name}", given=show(value), reason=why, fix=fix)


def _of_file(path: Path, problem: Problem) -> Problem:
    return Problem(
        setting=f"{path}: {problem.setting}",
        given=problem.given,
        reason=problem.reason,
        fix=problem.fix,
    )


def _empty(path: Path, limits: Limits) -> Iterator[Problem]:
    """Yield limits that allow everything: their writer meant something else."""
    for name in limits.__struct_fields__:
        limit = getattr(limits, name)
        if limit is not None and not named(limit):
            choices = " or ".join(
                field for field in limit.__struct_fields__ if field.startswith(("max", "equal"))
            )
            why = f"this limit allows everything; it needs {choices}"
            yield Problem(setting=f"{path}: {name}", given="", reason=why, fix=_FIX)


def named(limit: Settings) -> list[str]:
    """Return the rules of a limit that are set."""
    rules = [name for name in limit.__struct_fields__ if name.startswith(("max", "equal"))]
    return [name for name in rules if getattr(limit, name) not in {None, False}]


def need_a_base(limits: Limits) -> list[str]:
    """Return the rules, by their dotted names, that compare with a base."""
    return [
        f"{name}.{rule}"
        for name in limits.__struct_fields__
        if (limit := getattr(limits, name)) is not None
        for rule in named(limit)
        if rule in {"equal", "max_increase"}
    ]
