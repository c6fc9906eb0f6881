"""``harness import``: an engine's or a framework's settings in our words, for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.cli.arguments import Command
from harness.cli.console import ERR
from harness.cli.streams import refuse_full_output
from harness.engines import SOURCES, TARGETS
from harness.engines.importing import Imported, imported, read_file, reading
from harness.engines.versions import named, release_of
from harness.errors import ExitCode, Problem, RefusedError, refuse
from harness.settings.nearest import nearest
from harness.settings.schema import show
from harness.text import command as shell
from harness.text import one_line, shortened


def import_settings(command: Command) -> ExitCode:
    """Print settings for the command line to stdout, and what has no counterpart to stderr."""
    refuse([*_problems(command.paths, command.overrides), *target_problems(command)])
    path = Path(command.paths[0])
    device = next((text.partition("=")[2] for text in command.overrides), "")
    text = read_file(path)
    found = reading(text, str(path), command.flags.get("--target", ""), device)
    done = imported(found)
    _tell(done)
    if done.problems:
        _say(f"  it asks for: {shell(done.words)}")
        raise RefusedError(done.problems)
    print(shell(done.words))
    refuse_full_output()
    return ExitCode.NOT_DELIVERED if done.meaning.unmatched else ExitCode.OK


def _tell(done: Imported) -> None:
    form, release = done.reading.form, done.reading.release
    _say(f"read as {done.reading.target.name} {release.version}: {form.title}")
    for note in done.meaning.notes:
        _say(f"  {note}")
    if done.meaning.unmatched:
        _say("without a counterpart:", style="bold red")
        for name, value, why in done.meaning.unmatched:
            _say(f"  {name}={shortened(show(value))}: {why}")


def _say(text: str, style: str = "") -> None:
    ERR.print(one_line(text), style=style, markup=False, highlight=False, soft_wrap=True)


def _problems(paths: Sequence[str], overrides: Sequence[str]) -> Iterator[Problem]:
    if len(paths) != 1:
        why = "import takes one file"
        given, fix = " ".join(paths), "python -m harness import FILE"
        yield Problem(setting="import", given=given, reason=why, fix=fix)
    devices = ("cpu", "cuda", "npu")
    for text in overrides:
        setting, _, given = text.partition("=")
        if setting != "device" or given not in devices:
            why = f"import takes device alone, one of {', '.join(devices)}; the file has the rest"
            yield Problem(setting=setting, given=given, reason=why, fix="leave it out")


def target_problems(command: Command) -> Iterator[Problem]:
    """Yield what is wrong with ``--target``.

    Raises:
        RefusedError: It is its version.
    """
    known = {**TARGETS, **SOURCES}
    given = command.flags.get("--target")
    if given is None:
        return
    name, version = named(given)
    if name in known:
        release_of(known[name], version, "--target")
    else:
        near = nearest(name, known)
        why = f"it must be one of {', '.join(known)}"
        fix = f"--target {near or next(iter(known))}"
        yield Problem(setting="--target", given=given, reason=why, fix=fix)
