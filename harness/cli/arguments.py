"""The words of a command line become a command: its subcommand, settings, flags and paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from harness.cli.flags import Words, is_bare, is_path, split
from harness.cli.program_words import settings_of_program, split_program
from harness.errors import ExitCode, Problem, refuse


class Command(Struct, frozen=True):
    """A command line, taken apart."""

    flags: Mapping[str, str]
    """The value of each flag that is there, by its long name; "" for a flag without a value."""
    overrides: tuple[str, ...]
    """The settings, as they are typed."""
    paths: tuple[str, ...] = ()
    """The other bare words of a subcommand that takes them: files and folders."""
    several: Mapping[str, tuple[str, ...]] = {}
    """The values of each flag that takes several, by its long name."""

    @property
    def multirun(self) -> bool:
        """Whether ``-m`` asks for a sweep."""
        return "--multirun" in self.flags

    @property
    def out(self) -> str | None:
        """The folder for the results, if one is named."""
        return self.flags.get("--out")

    @property
    def config_dir(self) -> str | None:
        """The user's own folder of configuration, if one is named."""
        return self.flags.get("--config-dir")

    @property
    def config_name(self) -> str:
        """The primary configuration file."""
        return self.flags.get("--config-name", "config")


class Subcommand(Struct, frozen=True, kw_only=True):
    """What a bare word does, what may stand beside it, and its page of help."""

    run: Callable[[Command], ExitCode]
    summary: str
    """One line for the list of subcommands."""
    usage: tuple[str, ...]
    """What may follow ``python -m harness``, one line a form."""
    about: str
    """What it does, a paragraph or two."""
    examples: tuple[str, ...]
    """What may follow ``python -m harness``."""
    flags: tuple[str, ...] = ()
    """The flags that it takes, by their long names."""
    paths: bool = False
    """Whether it takes other bare words: files and folders."""
    programs: bool = False
    """Whether it takes a program after ``--``."""


ANYWHERE = ("--help", "--version")
"""The flags that every subcommand takes."""


def parse(
    words: Sequence[str], run: Subcommand, subcommands: Mapping[str, Subcommand]
) -> tuple[Command, str]:
    """Tell flags, settings, paths and the subcommand apart, wherever they stand.

    `run` is what a command line without a subcommand does.

    Returns:
        The command, and the name of its subcommand; empty without one.

    Raises:
        RefusedError: A word or a flag has no place here; carries all of them.
    """
    before, program = split_program(words)
    line = split(before)
    bare = [word for word in line.positional if is_bare(word)]
    name = next((word for word in bare if word in subcommands), "")
    subcommand = subcommands.get(name, run)
    paths = [
        word for word in line.positional if word != name and subcommand.paths and is_path(word)
    ]
    extra = [] if subcommand.paths else [word for word in bare if word != name]
    command = Command(
        flags=line.flags,
        overrides=tuple(
            word for word in line.positional if word not in paths and not is_bare(word)
        ),
        paths=tuple(paths),
        several=line.several,
    )
    if program is not None:
        settings = settings_of_program(program, command.overrides, name, subcommand.programs)
        command = replace(command, overrides=(*settings, *command.overrides))
    problems = [*line.problems, *_misplaced(line, name, subcommand, {"a run": run, **subcommands})]
    if line.unknown or extra:
        # What they mean is looked up in the configuration: only where it is needed.
        from harness.cli.suggestions import bare_word, known_groups, unknown_flag

        flags = (*subcommand.flags, *ANYWHERE)
        groups = known_groups(command.config_dir, command.config_name)
        problems += [unknown_flag(flag, value, flags, groups) for flag, value in line.unknown]
        problems += [bare_word(word, name, subcommands, groups) for word in extra]
    refuse(problems)
    return command, name


def _misplaced(
    line: Words, name: str, subcommand: Subcommand, takers: Mapping[str, Subcommand]
) -> Iterator[Problem]:
    """Yield the flags that this subcommand does not take."""
    for flag, value in line.flags.items():
        if flag not in (*subcommand.flags, *ANYWHERE):
            with_it = [taker for taker, other in takers.items() if flag in other.flags]
            yield Problem(
                setting=flag,
                given=value,
                reason=f"{name or 'a run'} does not take this flag; it belongs to"
                f" {', '.join(with_it)}",
                fix=f"leave it out; python -m harness help {name}".rstrip()
                + " shows what it takes",
            )
