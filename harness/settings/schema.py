"""Check plain data against typed settings, and report every mistake at once.

msgspec stops at the first error, and OmegaConf's typed nodes convert silently (7 becomes true,
[1, true] becomes texts), so the settings' types are walked here, strictly.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard

from msgspec import NODEFAULT, inspect

from harness.errors import Problem
from harness.settings.nearest import nearest
from harness.text import assignment


class _Unset:
    """Stands where a value is missing and that has already been reported."""

    def __repr__(self) -> str:
        return "???"


UNSET: Final = _Unset()


_NO_TEXT: Final = re.compile(
    r"(?i)true|false|null|[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?|nan|[-+]?inf"
)


_LARGE: Final = 10**40


def show(value: object) -> str:
    """Return a value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # In quotes, what would be read as something else.
        return value if value and not _NO_TEXT.fullmatch(value) else f"'{value}'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(show, value)) + "]"
    if isinstance(value, int) and abs(value) >= _LARGE:
        # Python refuses to write very large numbers.
        return f"{'-' if value < 0 else ''}about 1e{round(value.bit_length() * math.log10(2))}"
    return str(value)


def problems(
    data: object, type_: inspect.Type, path: str, default: object = NODEFAULT
) -> Iterator[Problem]:
    """Yield a problem for each value below `path` that is not what `type_` says.

    The fix is the `default` where no other value is likely to be meant.
    """
    if data is UNSET:
        return
    limited, type_ = type_, _bare(type_)
    match type_:
        case inspect.UnionType(types):
            yield from _union(data, types, path, default)
        case inspect.StructType():
            yield from _struct(data, type_, path)
        case inspect.DictType(value_type=value_type):
            if not isinstance(data, Mapping):
                yield _wrong(data, type_, path, default)
                return
            for key, value in data.items():
                yield from problems(value, value_type, f"{path}.{key}")
        case _ if not _fits(data, type_):
            yield _wrong(data, limited, path, default)
        case _:
            pass


def _union(
    data: object, types: Sequence[inspect.Type], path: str, default: object
) -> Iterator[Problem]:
    structs = [type_ for type_ in types if isinstance(type_, inspect.StructType)]
    if not structs:
        if not any(_fits(data, type_) for type_ in types):
            yield _wrong(data, inspect.UnionType(tuple(types)), path, default)
        return
    if not isinstance(data, Mapping):
        yield _not_a_group(data, path)
        return
    tag_field = str(structs[0].tag_field)
    tag = data.get(tag_field)
    if tag is UNSET:
        return
    chosen = next((struct for struct in structs if struct.tag == tag), None)
    if chosen is None:
        names = tuple(sorted(str(struct.tag) for struct in structs))
        yield _wrong(tag, inspect.LiteralType(names), f"{path}.{tag_field}")
        return
    yield from _struct({key: data[key] for key in data if key != tag_field}, chosen, path)


def _struct(data: object, type_: inspect.StructType, path: str) -> Iterator[Problem]:
    if not isinstance(data, Mapping):
        yield _not_a_group(data, path)
        return
    fields = {field.encode_name: field for field in type_.fields}
    prefix = f"{path}." if path else ""
    for key, value in data.items():
        if key in fields:
            field = fields[key]
            yield from problems(value, field.type, f"{prefix}{key}", field.default)
        else:
            yield _unknown(str(key), value, type_, path)
    for name, field in fields.items():
        if field.required and name not in data:
            yield Problem(
                setting=f"{prefix}{name}",
                given="",
                reason=f"this setting is missing; it is {describe(field.type)}",
                fix=f"{prefix}{name}={example(field.type)}",
            )


def _bare(type_: inspect.Type) -> inspect.Type:
    """Return a type without the reason for its limit."""
    return type_.type if isinstance(type_, inspect.Metadata) else type_


def _fits(data: object, type_: inspect.Type) -> bool:
    type_ = _bare(type_)
    match type_:
        case inspect.AnyType():
            return _is_plain(data)
        case inspect.NoneType():
            return data is None
        case inspect.BoolType():
            return isinstance(data, bool)
        case inspect.LiteralType(values):
            return isinstance(data, str) and data in values
        case inspect.StrType(pattern=pattern):
            return _is_text(data) and (pattern is None or bool(re.search(pattern, str(data))))
        case inspect.IntType() | inspect.FloatType():
            return _number_fits(data, type_)
        case inspect.VarTupleType() | inspect.ListType() | inspect.TupleType():
            return _is_list(data) and _items_fit(data, type_)
        case inspect.UnionType(types):
            return any(_fits(data, branch) for branch in types)
        case inspect.DictType(value_type=value_type):
            return isinstance(data, Mapping) and all(
                _fits(value, value_type) for value in data.values()
            )
        case _:
            raise TypeError(f"no rule for settings of type {type_}")


def _is_text(data: object) -> bool:
    """Tell whether this is a text that can be written into a file."""
    return isinstance(data, str) and not re.search("[\0\ud800-\udfff]", data)


def _is_plain(data: object) -> bool:
    """Tell whether a value comes out of JSON as it went in."""
    if isinstance(data, Mapping):
        return all(map(_is_text, data)) and all(map(_is_plain, data.values()))
    if _is_list(data):
        return all(map(_is_plain, data))
    if isinstance(data, float):
        return math.isfinite(data)
    if isinstance(data, int):
        return -(2**63) <= data < 2**64
    return data is None or _is_text(data)


def _number_fits(data: object, type_: inspect.IntType | inspect.FloatType) -> bool:
    kind = int if isinstance(type_, inspect.IntType) else int | float
    if isinstance(data, float) and not math.isfinite(data):
        return False
    return isinstance(data, kind) and not isinstance(data, bool) and _within(data, type_)


def _is_list(data: object) -> TypeGuard[Sequence[object]]:
    return isinstance(data, Sequence) and not isinstance(data, str | bytes)


def _items_fit(
    data: Sequence[object], type_: inspect.VarTupleType | inspect.ListType | inspect.TupleType
) -> bool:
    if isinstance(type_, inspect.TupleType):
        return len(data) == len(type_.item_types) and all(map(_fits, data, type_.item_types))
    return len(data) >= (type_.min_length or 0) and all(
        _fits(item, type_.item_type) for item in data
    )


def _within(number: float, type_: inspect.IntType | inspect.FloatType) -> bool:
    return not (
        (type_.ge is not None and number < type_.ge)
        or (type_.gt is not None and number <= type_.gt)
        or (type_.le is not None and number > type_.le)
    )


def describe(type_: inspect.Type) -> str:
    """Return what values a type allows, as a phrase: "an integer of at least 1"."""
    type_ = _bare(type_)
    match type_:
        case inspect.AnyType():
            return "a text, a number, true, false, null, or lists and groups of them"
        case inspect.NoneType():
            return "null"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values):
            return "one of " + ", ".join(map(str, values)) if len(values) > 1 else str(values[0])
        case inspect.StrType(pattern=pattern):
            return "a text" if pattern is None else f"a text that matches {pattern}"
        case inspect.IntType() | inspect.FloatType():
            kind = "an integer" if isinstance(type_, inspect.IntType) else "a number"
            return kind + _range(type_)
        case inspect.VarTupleType() | inspect.ListType() | inspect.TupleType():
            return _list_of(type_)
        case inspect.DictType(value_type=value):
            return f"a group of names, each {describe(value)}"
        case inspect.UnionType(types):
            return " or ".join(map(describe, types))
        case _:
            return "a group of settings"


def _list_of(type_: inspect.VarTupleType | inspect.ListType | inspect.TupleType) -> str:
    if isinstance(type_, inspect.TupleType):
        return f"a list of {len(type_.item_types)}, each {describe(type_.item_types[0])}"
    least = f" with at least {type_.min_length} item" if type_.min_length else ""
    return f"a list{least}, each {describe(type_.item_type)}"


def _range(type_: inspect.IntType | inspect.FloatType) -> str:
    if type_.gt is not None:
        return f" above {type_.gt}" + (f", at most {type_.le:,}" if type_.le is not None else "")
    if type_.ge is not None and type_.le is not None:
        return f" from {type_.ge:,} to {type_.le:,}"
    return "" if type_.ge is None else f" of at least {type_.ge}"


def example(type_: inspect.Type) -> str:
    """Return one allowed value, as it is typed."""
    type_ = _bare(type_)
    match type_:
        case inspect.BoolType():
            return "true"
        case inspect.LiteralType(values):
            return show(values[0])
        case inspect.IntType():
            return str(type_.ge or 1)
        case inspect.FloatType():
            return str(type_.ge if type_.ge is not None else (type_.gt or 0) + 1)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return f"[{example(item)}]"
        case inspect.TupleType(item_types=items):
            return "[" + ",".join(map(example, items)) + "]"
        case inspect.UnionType(types):
            return example(types[0])
        case inspect.NoneType():
            return "null"
        case _:
            return "…"


def _meant(data: object, type_: inspect.Type) -> str | None:
    """Return the allowed value that was most probably meant; None if there is no hint."""
    type_ = _bare(type_)
    match type_:
        case inspect.UnionType(types):
            plain = [item for item in types if not isinstance(item, inspect.NoneType)]
            return _meant(data, plain[0])
        case inspect.LiteralType(values=values):
            return nearest(str(data), [str(value) for value in values])
        case inspect.BoolType():
            return "false" if str(data).lower() in {"0", "0.0", "no", "off", "none"} else "true"
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            items = data if _is_list(data) else [data] if isinstance(data, str) and data else []
            other = None if _of_words(item) else example(item)
            mended = [
                show(value) if _fits(value, item) else _meant(value, item) or other
                for value in items
            ]
            allowed = [text for text in mended if text is not None]
            return "[" + ",".join(dict.fromkeys(allowed)) + "]" if allowed else None
        case inspect.IntType(le=most) | inspect.FloatType(le=most) if _exceeds(data, most):
            return str(most)
        case inspect.StrType(pattern=None) if isinstance(data, int | float):
            return f"'{show(data)}'"
        case inspect.IntType() if isinstance(data, float) and math.isfinite(data):
            return str(int(data)) if _within(int(data), type_) else None
        case _:
            return None


def _of_words(type_: inspect.Type) -> bool:
    match type_:
        case inspect.UnionType(types):
            return any(map(_of_words, types))
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return _of_words(item)
        case _:
            return isinstance(type_, inspect.LiteralType)


def _wrong(data: object, type_: inspect.Type, path: str, default: object = NODEFAULT) -> Problem:
    fix = _meant(data, type_)
    if fix is None:
        # Among words, the default is a better example than the first one.
        of_words = default is not NODEFAULT and _of_words(type_)
        fix = show(default) if of_words else example(type_)
    return Problem(
        setting=path,
        given=show(data),
        reason=f"must be {describe(type_)}{_why_no_more(data, type_)}",
        fix=assignment(path, fix),
    )


def _why_no_more(data: object, type_: inspect.Type) -> str:
    """Return the reason for the limit that a number exceeds; "" if it exceeds none."""
    for branch in type_.types if isinstance(type_, inspect.UnionType) else (type_,):
        match branch:
            case inspect.Metadata(
                type=inspect.IntType(le=most) | inspect.FloatType(le=most), extra={"limit": why}
            ) if _exceeds(data, most):
                return f": {why}"
            case _:
                pass
    return ""


def _exceeds(data: object, most: float | None) -> bool:
    if not isinstance(data, int | float) or isinstance(data, bool):
        return False
    return most is not None and most < data < math.inf


def _not_a_group(data: object, path: str) -> Problem:
    return Problem(
        setting=path,
        given=show(data),
        reason="this is a group of settings, not a single value",
        fix=f"choose one of its files with a slash, e.g. {path.replace('.', '/')}=NAME, "
        f"or set one of its settings, e.g. {path}.NAME=VALUE",
    )


def _unknown(key: str, value: object, type_: inspect.StructType, path: str) -> Problem:
    names = [field.encode_name for field in type_.fields]
    prefix = f"{path}." if path else ""
    close = nearest(key, names)
    meant = _deeper(key, type_, path) or (f"{prefix}{close}" if close else None)
    return Problem(
        setting=f"{prefix}{key}",
        given="" if isinstance(value, Mapping) else show(value),
        reason="there is no such setting"
        + (f"; did you mean {meant}?" if meant else f" in {path}" if path else ""),
        fix=assignment(meant, show(value))
        if meant and not isinstance(value, Mapping)
        else f"use one of {', '.join(names)}",
    )


def _deeper(key: str, type_: inspect.StructType, path: str) -> str | None:
    """Return the one setting below `path` that is called `key`, as profiler.schedule.active."""
    below = {inner for inner in paths(type_, path) if inner.rpartition(".")[2] == key}
    return below.pop() if len(below) == 1 else None


def paths(type_: inspect.Type, path: str = "") -> Iterator[str]:
    """Yield the dotted path of every setting below a type; unions yield those of all branches."""
    match type_:
        case inspect.UnionType(types):
            for branch in types:
                yield from paths(branch, path)
        case inspect.StructType(fields=fields):
            for field in fields:
                inner = f"{path}.{field.encode_name}" if path else field.encode_name
                yield inner
                yield from paths(field.type, inner)
        case _:
            pass


def flatten(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) for every leaf of nested mappings; an empty one is a leaf."""
    for key, value in data.items():
        inner = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from flatten(value, inner)
        else:
            yield inner, value
