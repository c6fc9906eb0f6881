"""The flags of the command line, and how they are told apart from settings and subcommands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from harness.errors import Problem


class Flag(Struct, frozen=True, kw_only=True):
    """A flag: its names, its value, and its line in the help."""

    name: str
    """The long name, ``--config-dir``."""
    short: str
    """The short name, ``-cd``; empty for none."""
    value: str = ""
    """What the help calls the value; empty for a flag without one."""
    choices: tuple[str, ...] = ()
    """The values that are allowed; empty: any."""
    bare: str = ""
    """The value that a flag without its value has; empty: it must be given."""
    several: bool = False
    """Whether all words up to the next flag or setting are its values: files and folders."""
    help: str


FLAGS = (
    Flag(
        name="--multirun",
        short="-m",
        help="run a sweep, every combination of a=1,2 b=3,4; +sweep=NAME needs no -m",
    ),
    Flag(
        name="--out",
        short="-o",
        value="PATH",
        help="put the results there: a folder; of report and view, a file",
    ),
    Flag(
        name="--merged-trace",
        short="",
        help="write one trace of all ranks, for a viewer",
    ),
    Flag(
        name="--against",
        short="",
        value="BASE ...",
        several=True,
        help="the runs to compare with: run folders, or folders with runs",
    ),
    Flag(
        name="--repeat",
        short="",
        value="N",
        help="run both requests N times more, in turn, and compare those runs",
    ),
    Flag(
        name="--limits",
        short="",
        value="FILE",
        help="a YAML file of limits; without it, those of docs/comparing.md",
    ),
    Flag(name="--junit", short="", value="FILE", help="write the limits as a JUnit XML file"),
    Flag(name="--markdown", short="", value="FILE", help="write what is printed as Markdown"),
    Flag(name="--json-file", short="", value="FILE", help="write the same as JSON into a file"),
    Flag(
        name="--redact",
        short="",
        help="leave out host, user, paths, source lines and the command",
    ),
    Flag(
        name="--form",
        short="",
        value="NAME",
        help="which of the target's forms: a body of a request, a file, a command",
    ),
    Flag(
        name="--partial",
        short="",
        help="export what the target can do, and name what is left out",
    ),
    Flag(
        name="--target",
        short="",
        value="NAME[@VERSION]",
        help="whose settings the file has, where that is not plain",
    ),
    Flag(
        name="--requested",
        short="",
        value="WHAT",
        help="judge the capture by a file with an engine's settings, or by settings",
    ),
    Flag(
        name="--engine",
        short="",
        value="NAME",
        choices=("sglang", "vllm"),
        help="what serves at the URL: sglang or vllm",
    ),
    Flag(
        name="--captures",
        short="",
        value="DIR",
        help="where the server writes captures, as this machine sees it",
    ),
    Flag(
        name="--limit",
        short="",
        value="SECONDS",
        help="how long to wait for the window to end; without it, 300",
    ),
    Flag(
        name="--api-key-env",
        short="",
        value="NAME",
        help="the environment variable that has the server's key",
    ),
    Flag(
        name="--steps",
        short="",
        value="FIRST-LAST",
        help="show these steps alone: 3, or 2-4",
    ),
    Flag(
        name="--port",
        short="",
        value="NUMBER",
        help="serve at this port; without it, at any free one",
    ),
    Flag(name="--no-browser", short="", help="open no browser, print the address alone"),
    Flag(name="--trace-only", short="", help="write the trace, and serve nothing"),
    Flag(name="--json", short="", help="print JSON"),
    Flag(
        name="--config-dir",
        short="-cd",
        value="DIR",
        help="add a folder with your own profiles, workloads and sweeps",
    ),
    Flag(
        name="--config-name",
        short="-cn",
        value="NAME",
        help="start from another primary configuration file",
    ),
    Flag(
        name="--cfg",
        short="-c",
        value="WHAT",
        choices=("job", "hydra", "all"),
        help="print the composed configuration and run nothing; WHAT is job, hydra or all",
    ),
    Flag(
        name="--resolve",
        short="",
        help="with --cfg: replace references by their values",
    ),
    Flag(
        name="--package",
        short="-p",
        value="PACKAGE",
        help="with --cfg: print this part only, as in -p profiler",
    ),
    Flag(
        name="--info",
        short="-i",
        value="WHAT",
        choices=("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
        bare="all",
        help="print where the configuration comes from; WHAT is defaults, defaults-tree, config,"
        " searchpath, plugins or all",
    ),
    Flag(
        name="--shell-completion",
        short="-sc",
        help="with install=bash: complete settings of the command `harness` in your shell",
    ),
    Flag(name="--hydra-help", short="", help="print the help of Hydra"),
    Flag(name="--version", short="", help="print the version"),
    Flag(name="--help", short="-h", help="print this page"),
)
"""Every flag, in the order of the help."""

_REFUSED = {
    "--config-path": "--config-path",
    "-cp": "--config-path",
    "--experimental-rerun": "--experimental-rerun",
}
"""Flags of Hydra that cannot work here."""

_ALONE = ("--multirun", "--cfg", "--info", "--shell-completion", "--hydra-help")
"""Flags that each say what to do: one at a time."""

_BY_NAME = {name: flag for flag in FLAGS for name in (flag.name, flag.short) if name}


class Words(Struct, frozen=True, kw_only=True):
    """The words of a command line, sorted."""

    flags: Mapping[str, str]
    """The value of each flag that is there, by its long name; "" for a flag without a value."""
    positional: tuple[str, ...]
    """Settings, subcommands, paths."""
    unknown: tuple[tuple[str, str], ...]
    """Flags that do not exist, each with its value, or with "" if none follows."""
    problems: tuple[Problem, ...]
    several: Mapping[str, tuple[str, ...]] = {}
    """The values of each flag that takes several."""


def split(words: Sequence[str]) -> Words:
    """Sort the words of a command line; flags may stand anywhere."""
    flags: dict[str, str] = {}
    several: dict[str, tuple[str, ...]] = {}
    positional, unknown, problems = [], [], []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if len(word) < len("-x") or not word.startswith("-"):
            positional.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = _BY_NAME.get(name)
        if not equals and rest and _takes(flag, rest[0]):
            value = rest.pop(0)
        if flag is not None and flag.several and value:
            several[name] = (*several.get(name, ()), value, *_more(rest))
        if name in _REFUSED:
            problems.append(_refused(name, value))
        elif flag is None:
            unknown.append((name, value))
        else:
            flags[flag.name] = value or flag.bare
            problems += _value_problems(flag, value, equals)
    return Words(
        flags=flags,
        positional=tuple(positional),
        unknown=tuple(unknown),
        problems=(*problems, *_together(flags)),
        several=several,
    )


def _more(rest: list[str]) -> list[str]:
    """Take the further values of a flag off the words that are left."""
    taken = []
    while rest and is_path(rest[0]):
        taken.append(rest.pop(0))
    return taken


def is_path(word: str) -> bool:
    """Return whether a word may be a path; that of a sweep's job has "=" in its name."""
    return is_bare(word) or "/" in word.partition("=")[0] or _exists(word)


def is_bare(word: str) -> bool:
    """Return whether a word is neither a flag nor a setting."""
    return "=" not in word and word[:1] not in "-+~"


def _exists(word: str) -> bool:
    try:
        return not word.startswith("-") and Path(word).exists()
    except OSError:
        # Longer than a file's name may be.
        return False


def _takes(flag: Flag | None, word: str) -> bool:
    """Return whether the word after a flag is its value; after an unknown flag, it may be."""
    if flag is None:
        return not word.startswith(("-", "+", "~")) and "=" not in word
    return bool(flag.value) and (not flag.bare or word in flag.choices)


def _value_problems(flag: Flag, value: str, equals: str) -> list[Problem]:
    if flag.value and not value and not flag.bare:
        why, fix = "a value must follow", f"{flag.name} {flag.value}"
    elif value and flag.choices and value not in flag.choices:
        why = f"it must be one of {', '.join(flag.choices)}"
        fix = f"{flag.name} {flag.choices[0]}"
    elif equals and not flag.value:
        why, fix = "this flag takes no value", flag.name
    else:
        return []
    return [Problem(setting=flag.name, given=value, reason=why, fix=fix)]


def _together(flags: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong between flags that are each right by themselves."""
    several = [name for name in _ALONE if name in flags]
    problems = [
        Problem(
            setting=name,
            given=flags[name],
            reason="it belongs to --cfg, which is missing",
            fix=f"add --cfg job, or leave {name} out",
        )
        for name in ("--resolve", "--package")
        if name in flags and "--cfg" not in flags
    ]
    if len(several) > 1:
        problems.append(
            Problem(
                setting=" ".join(several),
                given="",
                reason="each of them says what to do, so only one can be given",
                fix=f"keep {' or '.join(several)}",
            )
        )
    return problems


def _refused(name: str, value: str) -> Problem:
    return Problem(
        setting=_REFUSED[name],
        given=value,
        reason="the harness needs its own configuration below yours",
        fix="--config-dir DIR adds your folder; settings are repeated as overrides",
    )
