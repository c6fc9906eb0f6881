"""The pages of help: the main one, and one for each subcommand; at most 80 columns wide."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from harness.cli.arguments import ANYWHERE, Command, Subcommand
from harness.cli.flags import FLAGS
from harness.errors import ExitCode, Problem, RefusedError
from harness.settings.nearest import nearest
from harness.text import visible

_WIDTH = 80
_COMMAND = "python -m harness"

_EXIT_CODES = (
    ("0", "done, and everything requested was delivered"),
    ("1", "the workload failed"),
    ("2", "the request was refused; nothing ran"),
    ("3", "something requested was not delivered"),
    ("4", "this machine cannot do it"),
    ("5", "gate: a limit is broken"),
    ("130", "interrupted"),
)


def help_for(
    command: Command, run: Subcommand, subcommands: Mapping[str, Subcommand], name: str = ""
) -> ExitCode:
    """Print the page of the subcommand `name`, or of the one that ``harness help`` is given.

    Raises:
        RefusedError: ``harness help`` is given something else than one subcommand.
    """
    name = name or _subcommand_of(command.paths, subcommands)
    if name:
        page = _page(name, subcommands[name])
    else:
        page = _main_page(run, subcommands, _groups(command))
    print(visible("\n".join(page)))
    return ExitCode.OK


def _subcommand_of(words: tuple[str, ...], subcommands: Mapping[str, Subcommand]) -> str:
    """Return the subcommand that ``harness help`` is asked for; empty without one."""
    if not words:
        return ""
    (word, *more) = words
    if word in subcommands and not more:
        return word
    close = nearest(word, subcommands)
    raise RefusedError(
        [
            Problem(
                setting="help",
                given=" ".join(words),
                reason="help takes one subcommand",
                fix=f"{_COMMAND} help {close}" if close else f"one of {', '.join(subcommands)}",
            )
        ]
    )


def _main_page(
    run: Subcommand, subcommands: Mapping[str, Subcommand], groups: Mapping[str, list[str]]
) -> Iterator[str]:
    yield "Profile a PyTorch workload, and check that what you requested has arrived."
    yield from (
        "",
        "Usage:",
        f"  {_COMMAND} [settings] [flags]           profile a workload",
        f"  {_COMMAND} -m [settings] [flags]        profile every combination",
        f"  {_COMMAND} [settings] -- train.py ARGS  profile your own program",
        f"  {_COMMAND} SUBCOMMAND ...               one of these:",
        "",
    )
    yield from _rows((name, item.summary) for name, item in subcommands.items())
    yield from ("", f"  {_COMMAND} help SUBCOMMAND shows the page of a subcommand.")
    yield from _examples(run)
    yield from ("", "Settings: group=name chooses a file, setting=value sets one value.", "")
    yield from _rows(_choices(groups))
    yield from _flags(run)
    yield from ("", "Exit codes:", *_rows(_EXIT_CODES))
    yield from (
        "",
        "docs/settings.md explains every setting; --cfg job prints every value.",
    )


def _page(name: str, subcommand: Subcommand) -> Iterator[str]:
    yield f"{name}: {subcommand.summary}"
    yield from ("", "Usage:", *(f"  {_COMMAND} {form}" for form in subcommand.usage))
    for paragraph in subcommand.about.split("\n\n"):
        yield from ("", *textwrap.wrap(paragraph, _WIDTH))
    yield from _examples(subcommand)
    yield from _flags(subcommand)


def _examples(subcommand: Subcommand) -> Iterator[str]:
    yield from ("", "Examples:", *(f"  {_COMMAND} {words}" for words in subcommand.examples))


def _flags(subcommand: Subcommand) -> Iterator[str]:
    rows = []
    for flag in FLAGS:
        if flag.name in (*subcommand.flags, *ANYWHERE):
            names = ", ".join(name for name in (flag.short, flag.name) if name)
            rows.append((f"{names} {flag.value}".rstrip(), flag.help))
    yield from ("", "Flags:", *_rows(rows))


def _choices(groups: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield each group with its choices; the profiles that each device has, one line a device."""
    for group, options in groups.items():
        if group == "profiler/experimental":
            continue
        if group != "profiler":
            yield group, " ".join(options)
            continue
        pairs = [pair.rpartition("/") for pair in groups.get("profiler/experimental", ())]
        for device, names in itertools.groupby(pairs, lambda pair: pair[0]):
            yield f"profiler, {device}", " ".join(name for _, _, name in names)


def _rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield two columns, the second one wrapped."""
    pairs = list(rows)
    left = max(len(name) for name, _ in pairs) + len("  ")
    for name, text in pairs:
        yield from textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"  {name:<{left}}",
            subsequent_indent=" " * (left + len("  ")),
            break_on_hyphens=False,
        )


def _groups(command: Command) -> dict[str, list[str]]:
    from harness.configuration.composition import choices

    return choices(command.config_dir, command.config_name)
