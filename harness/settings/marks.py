"""Look up what a setting changes, by its dotted name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from msgspec import Struct

from harness.settings.changes import Changes
from harness.settings.request import Request


class _Field(NamedTuple):
    """What a field's annotation says of it."""

    mark: Changes | None
    """Its own; None for that of its group."""
    structs: tuple[type[Struct], ...]
    """The groups of settings that it may hold: one, or those of a union."""


def mark_of(path: str) -> Changes:
    """Return what a setting changes, or a group of settings.

    What is inside a setting's value, as ``device.environment.OMP_NUM_THREADS``, has the setting's
    mark. A name that is no setting counts as measured: it may change anything.

    Raises:
        TypeError: The field has two marks, or neither it nor its group has one.
    """
    mark: Changes | None = None
    structs: tuple[type[Struct], ...] = (Request,)
    for name in path.split("."):
        field = _field(structs, name)
        if field is None:
            break
        mark = field.mark or mark
        if mark is None:
            raise TypeError(f"{path} has no mark for what it changes")
        structs = field.structs
    return mark or Changes.EXECUTED


def measured(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings without those that change no measurement, and without empty groups."""
    return dict(_measured(settings, (Request,), Changes.EXECUTED))


def _measured(
    settings: Mapping[str, Any], structs: tuple[type[Struct], ...], group: Changes
) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        field = _field(structs, name) or _Field(None, ())
        mark = field.mark or group
        if field.structs and isinstance(value, Mapping):
            if inner := dict(_measured(value, field.structs, mark)):
                yield name, inner
        elif mark.measured:
            yield name, value


def _field(structs: tuple[type[Struct], ...], name: str) -> _Field | None:
    fields = (_fields(struct).get(name) for struct in structs)
    return next((field for field in fields if field is not None), None)


@cache
def _fields(struct: type[Struct]) -> dict[str, _Field]:
    hints = get_type_hints(struct, include_extras=True)
    return {
        name: _Field(_own_mark(annotation, f"{struct.__name__}.{name}"), _structs(annotation))
        for name, annotation in hints.items()
    }


def _own_mark(annotation: object, field: str) -> Changes | None:
    if get_origin(annotation) is not Annotated:
        return None
    marks = [word for word in get_args(annotation)[1:] if isinstance(word, Changes)]
    if len(marks) > 1:
        raise TypeError(f"{field} has two marks for what it changes")
    return marks[0] if marks else None


def _structs(annotation: Any) -> tuple[type[Struct], ...]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    branches = (annotation, *get_args(annotation))
    return tuple(
        branch for branch in branches if isinstance(branch, type) and issubclass(branch, Struct)
    )
