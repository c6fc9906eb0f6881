"""What an engine's own words mean in ours, and what the engine does with them: the types.

A `Target` is an engine, a framework or a tool with a vocabulary of its own. It takes settings in
one `Form` or several: the body of a request, a file, a command line. A form is data: its fields,
what each is in our words, and what the target does whatever is asked. So one table serves export,
import and the check of a capture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from harness.devices import TARGETS as DEVICES
from harness.engines.notations import Notation
from harness.settings.schema import flatten

Values = Mapping[str, Any]
"""The fields of a form that have a value, by their dotted names."""
Settings = Mapping[str, Any]
"""Our settings by their dotted names, as plain values, as the profiler gets them."""

PROFILER: Final = "profiler."
EXPERIMENTAL: Final = "profiler.experimental."
SCHEDULE: Final = "profiler.schedule."


class NoCounterpartError(ValueError):
    """A value that none of ours means; the message says what it is."""


class Codec(Struct, frozen=True):
    """How a value of ours is written in a field, and read back."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    """Raises `NoCounterpartError` for a value that the target takes and we do not have."""


def _same(value: Any) -> Any:
    return value


def _named(value: Any) -> Any:
    return UNNAMED if value is None else value


SAME: Final = Codec(_same, _same)
UNNAMED: Final = "harness"
"""The default of ``name``."""
NAME: Final = Codec(_same, _named)
"""Of a field that names files, and is null without one."""


class Field(Struct, frozen=True, kw_only=True):
    """A field of a form: its name, and its counterpart in our words."""

    name: str
    """As the target spells it; dotted where it is nested."""
    setting: str = ""
    """Ours, by its dotted name; empty if there is none."""
    default: Any = None
    """What the target takes where the field is missing."""
    codec: Codec | None = SAME
    """None: the form's `Special` reads and writes it."""
    about: str = ""
    """What a field without counterpart is, and why there is none; one phrase."""
    placed: bool = False
    """Whether it says only where results go or what they are called: an import leaves it out."""
    ignored: str = ""
    """What the target does instead, where it takes the field and does not do what it says."""


class Special(Struct, frozen=True):
    """What a table cannot say, as fields that depend on each other."""

    lower: Callable[[Settings], Values]
    """Returns the fields for settings of ours."""
    means: Callable[[Values], Settings]
    """Returns the settings that fields mean; raises `NoCounterpartError`."""


class Form(Struct, frozen=True, kw_only=True):
    """One way to give a target its settings, on one kind of device."""

    name: str
    """One word, as ``--form`` takes it."""
    title: str
    """What it is, and where it goes; one phrase."""
    device: str
    notation: Notation
    fields: tuple[Field, ...]
    fixed: Settings = {}
    """What the target does whatever is asked."""
    why_fixed: str = ""
    """How it does so, where there is more to say than that it does; one phrase."""
    always: Values = {}
    """Fields that are written whatever is asked, since without them nothing is recorded."""
    folder: str = ""
    """The field that says where the target writes; empty if none does."""
    special: Special | None = None
    notes: tuple[str, ...] = ()
    """What a user must do beside it."""
    subject: str = ""
    """What the name of a field that is the profiler's holds, as a regular expression, where the
    fields of the whole program stand beside each other; empty: all are the profiler's."""

    def field(self, name: str) -> Field | None:
        """Return a field by its name."""
        return next((field for field in self.fields if field.name == name), None)


class Release(Struct, frozen=True, kw_only=True):
    """The forms of a target, for a range of its versions."""

    version: str
    """The version that was looked at."""
    since: str
    """The oldest version for which the forms hold, as far as it was looked at."""
    source: str
    """What was looked at; one phrase."""
    forms: tuple[Form, ...]


class Target(Struct, frozen=True, kw_only=True):
    """An engine, a framework or a tool that takes settings of a profiler."""

    name: str
    title: str
    """What it is, in a phrase."""
    package: str = ""
    """The package whose wheel the tables are checked against; empty if there is none."""
    releases: tuple[Release, ...]
    """The newest first."""
    exports: bool = True
    """Whether settings can be exported to it, or only imported."""

    def devices(self) -> tuple[str, ...]:
        """Return the devices that it profiles."""
        forms = [form for release in self.releases for form in release.forms]
        return tuple(dict.fromkeys(form.device for form in forms))


def without(form: Form, *names: str) -> Form:
    """Return the form of an older release, which does not have some fields yet."""
    fields = tuple(field for field in form.fields if field.name not in names)
    return replace(form, fields=fields)


def bare(device: str) -> dict[str, Any]:
    """Return our settings as a profiler has them that is told nothing, by their dotted names.

    torch's own defaults, and torch_npu's.
    """
    experimental = DEVICES[device].experimental.untold()
    return {
        "profiler.activities": ["host", "device"] if DEVICES[device].has_kernels else ["host"],
        "profiler.record_shapes": False,
        "profiler.with_stack": False,
        "profiler.with_lines": False,
        "profiler.profile_memory": False,
        "profiler.with_modules": False,
        "profiler.with_flops": False,
        "profiler.memory_timeline": False,
        "profiler.schedule.skip_first": 0,
        "profiler.schedule.skip_first_wait": 0,
        "profiler.schedule.wait": 0,
        "profiler.schedule.warmup": 0,
        "profiler.schedule.repeat": 1,
        "profiler.ranks": None,
        **{f"{EXPERIMENTAL}{name}": value for name, value in experimental.lowered().items()},
    }


def lower(form: Form, settings: Settings) -> dict[str, Any]:
    """Return the fields of a form for settings of ours, as far as it has fields for them."""
    values = dict(form.always)
    for field in form.fields:
        if field.setting in settings and field.codec is not None:
            values[field.name] = field.codec.encode(settings[field.setting])
    if form.special is not None:
        values |= form.special.lower(settings)
    return values


class Meaning(Struct, frozen=True, kw_only=True):
    """What the fields of a form mean in our words."""

    asked: dict[str, Any]
    """Our settings, as the fields ask for them."""
    done: dict[str, Any]
    """Our settings, as the target will have them."""
    unmatched: tuple[tuple[str, Any, str], ...]
    """Fields that nothing of ours means: name, value, and why."""
    notes: tuple[str, ...] = ()
    """What else is to be said of the fields."""


def meaning(form: Form, values: Values) -> Meaning:
    """Return what fields mean, and what the target does with them."""
    asked: dict[str, Any] = {}
    unmatched: list[tuple[str, Any, str]] = []
    notes: list[str] = []
    ignored: set[str] = set()
    start = bare(form.device)
    for field in form.fields:
        value = values.get(field.name, field.default)
        is_given = field.name in values and values[field.name] != field.default
        if field.setting and field.codec is not None:
            try:
                asked[field.setting] = _of_type(field.codec.decode(value), start.get(field.setting))
            except NoCounterpartError as error:
                unmatched.append((field.name, value, str(error)))
            if field.ignored:
                ignored.add(field.setting)
                notes += [f"{field.name}: {field.ignored}"] if is_given else []
        elif is_given and field.about and str(value) != str(form.always.get(field.name)):
            unmatched.append((field.name, value, field.about))
    if form.special is not None:
        try:
            asked |= form.special.means(values)
        except NoCounterpartError as error:
            name, _, why = str(error).partition(": ")
            unmatched.append((name, values.get(name), why))
    known = {field.name for field in form.fields}
    unmatched += [
        (name, value, "it has no such field")
        for name, value in values.items()
        if name not in known and name not in form.always and re.search(form.subject, name)
    ]
    taken = {name: value for name, value in asked.items() if name not in ignored}
    return Meaning(
        asked={**start, **form.fixed, **asked},
        done={**start, **taken, **form.fixed},
        unmatched=tuple(unmatched),
        notes=tuple(notes),
    )


def _of_type(value: Any, untold: Any) -> Any:
    """Return a value; that of a switch must be true or false, or its meaning is not known."""
    if isinstance(untold, bool) and not isinstance(value, bool):
        raise NoCounterpartError("it must be true or false")
    return value


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with lists in place of tuples, dotted."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in flatten(settings)
    }


def activities(names: Mapping[str, str]) -> Codec:
    """Return the codec of a list of activities; `names` has the target's word for each of ours."""
    ours = {word: name for name, word in names.items()}

    def decode(value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise NoCounterpartError("it must be a list of names")
        unknown = [word for word in value if word not in ours]
        if unknown or not value:
            what = (
                f"profiler.activities has no counterpart of {', '.join(unknown) or 'none at all'}"
            )
            raise NoCounterpartError(what)
        return sorted((ours[word] for word in value), key=["host", "device"].index)

    return Codec(lambda value: [names[name] for name in value if name in names], decode)


def unless_missing(default: Any) -> Codec:
    """Return the codec of a field whose null means `default`."""
    return Codec(_same, lambda value: default if value is None else value)
