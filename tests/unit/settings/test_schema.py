"""Settings are checked strictly, all at once, with the fix beside each mistake."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, inspect

from harness.errors import Problem
from harness.settings.schema import (
    UNSET,
    describe,
    example,
    flatten,
    paths,
    problems,
    show,
)


class Inner(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1)] = 1
    ratio: Annotated[float, Meta(gt=0)] = 0.5


class Cat(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name", tag="cat"
):
    lives: int = 9


class Dog(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name", tag="dog"
):
    tricks: tuple[str, ...] = ()


class Everything(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    switch: bool = False
    number: int = 0
    steps: Annotated[int, Meta(ge=0)] = 0
    share: Annotated[int, Meta(ge=0, le=1)] = 0
    limit: Annotated[float, Meta(gt=0)] | None = None
    text: str = ""
    name: Annotated[str, Meta(pattern="^[a-z]{1,4}$")] = "abc"
    colour: Literal["red", "green"] = "red"
    colours: tuple[Literal["red", "green"], ...] = ()
    some: Annotated[tuple[int, ...], Meta(min_length=1)] = (1,)
    shape: tuple[int, int, int] = (1, 1, 1)
    variables: dict[str, str | int] = {}
    anything: Any = None
    inner: Inner = Inner()
    pet: Cat | Dog = Cat()


EVERYTHING = inspect.type_info(Everything)


def found(data: object) -> list[Problem]:
    return list(problems(data, EVERYTHING, ""))


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"switch": True},
        {"number": -3},
        {"steps": 0},
        {"share": 1},
        {"limit": 0.1},
        {"limit": 3},
        {"limit": None},
        {"text": ""},
        {"name": "abcd"},
        {"colour": "green"},
        {"colours": []},
        {"colours": ["red", "red"]},
        {"some": [1, 2]},
        {"shape": [1, 2, 3]},
        {"shape": (1, 2, 3)},
        {"variables": {"A": "x", "B": 1}},
        {"anything": {"a": [1, None, {}]}},
        {"inner": {"count": 2, "ratio": 1}},
        {"pet": {"name": "dog", "tricks": ["sit"]}},
        {"pet": {"name": UNSET, "whatever": 1}},
        {"inner": UNSET, "number": UNSET},
    ],
    ids=str,
)
def test_what_fits_has_no_problems(data: object) -> None:
    assert found(data) == []


NOT_A_GROUP = (
    "choose one of its files with a slash, e.g. {0}=NAME, or set one of its settings,"
    " e.g. {0}.NAME=VALUE"
)

# Data, the setting, the value, what is allowed, the fix.
WRONG: list[tuple[object, str, str, str, str]] = [
    ({"switch": 7}, "switch", "7", "must be true or false", "switch=true"),
    ({"switch": 0}, "switch", "0", "must be true or false", "switch=false"),
    ({"switch": "no"}, "switch", "no", "must be true or false", "switch=false"),
    ({"switch": None}, "switch", "null", "must be true or false", "switch=false"),
    ({"number": True}, "number", "true", "must be an integer", "number=1"),
    ({"number": 2.0}, "number", "2.0", "must be an integer", "number=2"),
    ({"number": "3"}, "number", "'3'", "must be an integer", "number=1"),
    ({"number": math.nan}, "number", "nan", "must be an integer", "number=1"),
    ({"steps": -1}, "steps", "-1", "must be an integer of at least 0", "steps=1"),
    ({"steps": -1.5}, "steps", "-1.5", "must be an integer of at least 0", "steps=1"),
    ({"share": 2}, "share", "2", "must be an integer from 0 to 1", "share=1"),
    ({"limit": 0}, "limit", "0", "must be a number above 0 or null", "limit=1"),
    ({"limit": math.nan}, "limit", "nan", "must be a number above 0 or null", "limit=1"),
    ({"limit": math.inf}, "limit", "inf", "must be a number above 0 or null", "limit=1"),
    ({"limit": True}, "limit", "true", "must be a number above 0 or null", "limit=1"),
    ({"limit": "soon"}, "limit", "soon", "must be a number above 0 or null", "limit=1"),
    ({"text": 3}, "text", "3", "must be a text", "text=\"'3'\""),
    ({"text": True}, "text", "true", "must be a text", "text=\"'true'\""),
    ({"text": None}, "text", "null", "must be a text", "text=…"),
    ({"name": "a b"}, "name", "a b", "must be a text that matches ^[a-z]{1,4}$", "name=…"),
    ({"colour": "Green"}, "colour", "Green", "must be one of green, red", "colour=green"),
    ({"colour": 1}, "colour", "1", "must be one of green, red", "colour=red"),
    (
        {"colours": [1, True]},
        "colours",
        "[1,true]",
        "must be a list, each one of green, red",
        "colours=[]",
    ),
    (
        {"colours": ["reed", "green"]},
        "colours",
        "[reed,green]",
        "must be a list, each one of green, red",
        "colours=[red,green]",
    ),
    (
        {"colours": "red"},
        "colours",
        "red",
        "must be a list, each one of green, red",
        "colours=[red]",
    ),
    ({"colours": {}}, "colours", "{}", "must be a list, each one of green, red", "colours=[]"),
    (
        {"some": []},
        "some",
        "[]",
        "must be a list with at least 1 item, each an integer",
        "some=[1]",
    ),
    (
        {"some": [True, 2]},
        "some",
        "[true,2]",
        "must be a list with at least 1 item, each an integer",
        "some=[1,2]",
    ),
    ({"shape": [1, 2]}, "shape", "[1,2]", "must be a list of 3, each an integer", "shape=[1,1,1]"),
    (
        {"variables": {"A": [1]}},
        "variables.A",
        "[1]",
        "must be a text or an integer",
        "variables.A=…",
    ),
    (
        {"variables": 1},
        "variables",
        "1",
        "must be a group of names, each a text or an integer",
        "variables=…",
    ),
    (
        {"inner": {"count": 0}},
        "inner.count",
        "0",
        "must be an integer of at least 1",
        "inner.count=1",
    ),
    (
        {"inner": 3},
        "inner",
        "3",
        "this is a group of settings, not a single value",
        NOT_A_GROUP.format("inner"),
    ),
    (
        {"pet": {"name": "cow"}},
        "pet.name",
        "cow",
        "must be one of cat, dog",
        "pet.name=cat",
    ),
    (
        {"pet": {"name": "dog", "lives": 9}},
        "pet.lives",
        "9",
        "there is no such setting in pet",
        "use one of tricks",
    ),
    (
        {"pet": {"name": "dog", "tricks": [1]}},
        "pet.tricks",
        "[1]",
        "must be a list, each a text",
        "pet.tricks=\"['1']\"",
    ),
    (
        {"pet": "cat"},
        "pet",
        "cat",
        "this is a group of settings, not a single value",
        NOT_A_GROUP.format("pet"),
    ),
    (
        {"numbr": 3},
        "numbr",
        "3",
        "there is no such setting; did you mean number?",
        "number=3",
    ),
    (
        {"inner": {"Ratio": 3}},
        "inner.Ratio",
        "3",
        "there is no such setting; did you mean inner.ratio?",
        "inner.ratio=3",
    ),
    (
        {"count": 3},
        "count",
        "3",
        "there is no such setting; did you mean inner.count?",
        "inner.count=3",
    ),
    (
        {"iner": {"count": 3}},
        "iner",
        "",
        "there is no such setting; did you mean inner?",
        f"use one of {', '.join(Everything.__struct_fields__)}",
    ),
]


@pytest.mark.parametrize(
    ("data", "setting", "value", "reason", "fix"), WRONG, ids=[str(row[0]) for row in WRONG]
)
def test_what_does_not_fit_is_said_with_what_is_allowed_and_a_fix(
    data: object, setting: str, value: str, reason: str, fix: str
) -> None:
    assert found(data) == [Problem(setting=setting, given=value, reason=reason, fix=fix)]


class Needed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=2)]
    group: Inner


def test_a_setting_without_a_default_is_missed() -> None:
    number, group = problems({}, inspect.type_info(Needed), "top")
    assert (number.setting, number.fix) == ("top.count", "top.count=2")
    assert number.reason == "this setting is missing; it is an integer of at least 2"
    assert group.reason == "this setting is missing; it is a group of settings"


def test_every_mistake_is_reported_in_one_go() -> None:
    data = {"switch": 7, "nokey": 1, "inner": {"count": 0, "ratio": -1}, "pet": {"name": "cow"}}
    assert [problem.setting for problem in found(data)] == [
        "switch",
        "nokey",
        "inner.count",
        "inner.ratio",
        "pet.name",
    ]


def test_a_type_without_a_rule_is_an_error_of_the_program() -> None:
    with pytest.raises(TypeError, match="no rule"):
        list(problems(b"", inspect.type_info(bytes), "x"))


TYPES: list[Any] = [
    bool,
    int,
    Annotated[int, Meta(ge=0)],
    Annotated[int, Meta(ge=-1, le=1)],
    float,
    Annotated[float, Meta(gt=0)],
    Annotated[float, Meta(ge=0, le=1)] | None,
    str,
    Annotated[str, Meta(pattern="^[ab]+$")],
    Literal["a", "b"],
    Literal["a", "b"] | None,
    str | int,
    tuple[int, ...],
    list[Literal["a", "b"]],
    Annotated[tuple[int, ...], Meta(min_length=1)],
    Annotated[tuple[tuple[int, int], ...], Meta(min_length=1)],
    tuple[str, ...] | None,
    dict[str, str | int],
    dict[str, Any],
    None,
    Any,
    Inner,
    Cat | Dog,
    Everything,
]
NAMES = st.sampled_from(
    ["a", "b", "count", "ratio", "name", "cat", "dog", "lives", "tricks", "switch", "pet"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    # msgspec accepts nan and inf, the harness no settings that are neither.
    | st.floats(-2, 2, allow_nan=False)
    | NAMES
    # Nor texts that no file can have.
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def accepted(value: object, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_, strict=True)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_no_problems_means_that_the_value_converts_and_the_reverse(type_: Any) -> None:
    info = inspect.type_info(type_)

    @given(VALUES)
    def agree(value: object) -> None:
        assert (list(problems(value, info, "x")) == []) == accepted(value, type_)

    agree()


@pytest.mark.parametrize(
    ("type_", "described", "typed"),
    [
        (bool, "true or false", "true"),
        (int, "an integer", "1"),
        (Annotated[int, Meta(ge=2)], "an integer of at least 2", "2"),
        (Annotated[float, Meta(ge=0.5)], "a number of at least 0.5", "0.5"),
        (Annotated[float, Meta(gt=2)], "a number above 2", "3"),
        (Literal["one"], "one", "one"),
        (tuple[int, int], "a list of 2, each an integer", "[1,1]"),
        (list[Literal["b", "a"]], "a list, each one of a, b", "[a]"),
        (None, "null", "null"),
        (int | None, "an integer or null", "1"),
        (Any, "a text, a number, true, false, null, or lists and groups of them", "…"),
        (Inner, "a group of settings", "…"),
    ],
    ids=str,
)
def test_a_type_is_described_and_has_an_example(type_: Any, described: str, typed: str) -> None:
    info = inspect.type_info(type_)
    assert (describe(info), example(info)) == (described, typed)
    if typed != "…":
        given = OverridesParser.create().parse_override(f"x={typed}").value()
        assert list(problems(given, info, "x")) == []


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ("", "''"),
        ("a", "a"),
        (1.5, "1.5"),
        ([1, "a", None], "[1,a,null]"),
        ((), "[]"),
        ({"a": [True]}, "{a:[true]}"),
    ],
)
def test_a_value_is_shown_as_it_is_typed(value: object, typed: str) -> None:
    assert show(value) == typed


def test_paths_and_leaves_of_nested_settings() -> None:
    assert list(paths(inspect.type_info(Needed))) == [
        "count",
        "group",
        "group.count",
        "group.ratio",
    ]
    assert list(flatten({"a": 1, "b": {"c": [2], "d": {}}})) == [
        ("a", 1),
        ("b.c", [2]),
        ("b.d", {}),
    ]
