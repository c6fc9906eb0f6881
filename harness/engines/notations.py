"""How fields are written down, and read back: JSON, YAML, TOML, words. Nothing is run."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

import yaml

from harness.settings.schema import show

DEEPEST: Final = 50
"""Levels of a file; settings take five or so."""
_BRACKETS: Final = re.compile(r"[\[\](){}]")


class UnreadableError(ValueError):
    """A text that is not in the notation; the message says why."""


class UnknownValueError(UnreadableError):
    """A text in the notation, of which something is not known unless it is run."""


class Notation(Protocol):
    """A way to write fields down."""

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the fields as text that ends with a line feed."""
        ...

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of a text, by dotted names; raises `UnreadableError`."""
        ...


class Json:
    """A JSON object; `nested` where dots in names are levels of it."""

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the fields as a JSON object."""
        return json.dumps(nested(values), indent=2, ensure_ascii=False) + "\n"

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of a JSON object."""
        return _flat(_mapping(_json(text), "a JSON object"))


class Yaml:
    """A YAML mapping."""

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the fields as YAML."""
        return yaml.safe_dump(
            nested(values), sort_keys=False, allow_unicode=True, default_flow_style=None
        )

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of a YAML mapping."""
        data, error = _yaml(text)
        if error:
            raise UnreadableError(f"it is no YAML: {error}")
        return _flat(_mapping(data, "a YAML mapping"))


class Toml:
    """A TOML document."""

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the fields as TOML, one to a line; TOML has no null."""
        given = {name: value for name, value in values.items() if value is not None}
        # Texts, numbers, truths and lists are written as in JSON (TOML 1.0).
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items())

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of a TOML document."""
        try:
            return _flat(tomllib.loads(text))
        # A number of very many digits is a plain ValueError.
        except (ValueError, RecursionError) as error:
            raise UnreadableError(f"it is no TOML: {_line(error)}") from error


class Words:
    """A command line: variables, the command's own words, then ``--name value`` or ``--name``.

    A field in capitals is a variable; one whose value is true is a flag without a value.
    """

    def __init__(self, command: str, *, negated: bool = False, several: bool = False) -> None:
        """Make the notation of one command.

        Args:
            command: Its own words.
            negated: False is written ``--no-name``; else a flag that is false is left out.
            several: Whether an option may have several values, one after the other.
        """
        self.command = command
        self.negated = negated
        self.several = several

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the variables, which are the server's, and then the command line."""
        variables = {name: value for name, value in values.items() if name.isupper()}
        lines = [f"export {name}={_word(value)}" for name, value in variables.items()]
        if lines:
            lines = ["# in the environment of the server, before it starts", *lines, "# then"]
        words = [self.command]
        for name, value in values.items():
            if name in variables or value is None or value == []:
                continue
            if value is False:
                words += [f"--no-{name}"] if self.negated else []
            else:
                words += [f"--{name}"] if value is True else [f"--{name}", _word(value)]
        return "\n".join([*lines, " ".join(words)]) + "\n"

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of a command line, texts where they have a value."""
        rest = _split(text)
        values: dict[str, Any] = {}
        while rest:
            word = rest.pop(0)
            name, equals, value = word.removeprefix("--").partition("=")
            if not word.startswith("--"):
                if name.isupper() and equals:
                    values[name] = value
                elif word not in ("export", *self.command.split()):
                    raise UnreadableError(f"{word} belongs to no option")
            elif self.negated and name.startswith("no-") and not equals:
                values[name.removeprefix("no-")] = False
            elif equals:
                values[name] = value
            else:
                values[name] = self._value(rest)
        return values

    def _value(self, rest: list[str]) -> Any:
        """Take the value of an option off the words after it; true if it has none."""
        most = len(rest) if self.several else 1
        found: list[str] = []
        while rest and len(found) < most and self._is_value(rest[0]):
            found.append(rest.pop(0))
        return (found if found[1:] else found[0]) if found else True

    def _is_value(self, word: str) -> bool:
        return not word.startswith("--") and word not in self.command.split()


class OptionValue:
    """The value of one option of a command, a JSON object; read alone, or in the command line."""

    def __init__(self, option: str) -> None:
        """`option`: its name, with the hyphens before it."""
        self.option = option

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the value alone."""
        return JSON.text(values)

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of the value, and of ``--option.field VALUE``, which comes later."""
        if self.option not in text.replace("_", "-"):
            return JSON.values(text)
        values: dict[str, Any] = {}
        rest = iter(_split(text))
        for word in rest:
            name, equals, value = word.partition("=")
            option, dot, field = name.partition(".")
            if option.replace("_", "-") != self.option:
                continue
            if not equals:
                value = next(rest, "")
            try:
                values |= {field: _scalar(value)} if dot else JSON.values(value)
            except UnreadableError as error:
                raise UnknownValueError(f"{self.option}: {error}") from error
        return values


class Overrides:
    """Hydra's words, ``name=value``."""

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the fields one to a line, each quoted as xargs and shells read it."""
        words = (shlex.quote(f"{name}={show(value)}") for name, value in values.items())
        return "\n".join(words) + "\n"

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of words; a value is read as YAML."""
        values: dict[str, Any] = {}
        for word in _split(text):
            name, equals, value = word.lstrip("+").partition("=")
            if not equals:
                raise UnreadableError(f"{word} is not name=value")
            for inner, item in Yaml().values(f"value: {value}").items():
                if inner.partition(".")[0] != "value":
                    raise UnreadableError(f"the value of {name} is several lines")
                values[name + inner.removeprefix("value")] = item
        return values


JSON: Final = Json()
YAML: Final = Yaml()
TOML: Final = Toml()
OVERRIDES: Final = Overrides()


class _Plain(yaml.SafeLoader):
    """YAML without aliases: a small file cannot grow, and no key comes twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT002 - PyYAML's own signature
    ) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(map(str, keys))):
            raise yaml.YAMLError("a key comes twice")
        return super().construct_mapping(node, deep)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields by dotted names as nested mappings."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def deepest(text: str) -> int:
    """Return how deep the brackets of a text are nested, those within quotes too."""
    depth = most = 0
    for match in _BRACKETS.finditer(text):
        depth += 1 if match[0] in "[{(" else -1
        most = max(most, depth)
    return most


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested fields by dotted names; a name with a dot of its own is quoted."""
    return dict(_leaves(data, ""))


def _leaves(data: Mapping[str, Any], path: str, level: int = 1) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = f'"{key}"' if "." in str(key) else str(key)
        if isinstance(value, Mapping) and value and level < DEEPEST:
            yield from _leaves(value, f"{path}{name}.", level + 1)
        else:
            _refuse_deep(value, level)
            yield f"{path}{name}", value


def _refuse_deep(value: Any, level: int) -> None:
    if level > DEEPEST:
        raise UnreadableError(f"it is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping | list | tuple | set):
        for item in value.values() if isinstance(value, Mapping) else value:
            _refuse_deep(item, level + 1)


@lru_cache(maxsize=1)  # Many forms of many targets try the same text, and YAML is slow.
def _yaml(text: str) -> tuple[Any, str]:
    """Return what a YAML document has, and why it is none."""
    try:
        return yaml.load(text, Loader=_Plain), ""  # noqa: S506 - a safe loader of our own
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return None, _line(error)


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is no JSON: {_line(error)}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise UnreadableError("a name comes twice in one object")
    return dict(pairs)


def _mapping(data: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise UnreadableError(f"it must be {what} of named fields")
    return data


def _scalar(text: str) -> Any:
    data, error = _yaml(text)
    return text if error or isinstance(data, Mapping) else data


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError as error:
        raise UnreadableError(f"it is no command line: {error}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _word(value: Any) -> str:
    if isinstance(value, list):
        return shlex.quote(",".join(map(str, value)))
    if isinstance(value, bool):
        return "true" if value else "false"
    return shlex.quote(str(value))


class Part:
    """A part of a larger file: the fields below some names, which are those of one subject."""

    def __init__(self, notation: Notation, *below: str, strip: bool = False) -> None:
        """`below`: prefixes of dotted names; `strip`: whether fields are named without them."""
        self.notation = notation
        self.below = below
        self.strip = strip

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the fields as the larger file has them."""
        first = self.below[0] if self.strip else ""
        return self.notation.text({f"{first}{name}": value for name, value in values.items()})

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of the part, or all fields where nothing has one of the prefixes."""
        found = self.notation.values(text)
        part = {
            name.removeprefix(prefix) if self.strip else name: value
            for prefix in self.below
            for name, value in found.items()
            if name.startswith(prefix)
        }
        return part or found
