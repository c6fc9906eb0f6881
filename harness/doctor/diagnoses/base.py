"""What all checks share: their answers, and calls of Python child processes."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from harness.doctor.machine import CommandResult, Probe

INSTALL_TORCH = "pip install 'torch>=2.13'"
TOOL_LIMIT_S = 20
_IMPORT_LIMIT_S = 120  # From a network disk, the first import of torch can take a minute.


class Answer(Struct, frozen=True, kw_only=True):
    """The result of a check."""

    good: bool | None
    """Null: worth knowing, but no problem by itself."""
    says: str
    do: str = ""


def good(says: str) -> Answer:
    """Report that a check passed."""
    return Answer(good=True, says=says)


def bad(says: str, do: str) -> Answer:
    """Report a problem, and what to do about it."""
    return Answer(good=False, says=says, do=do)


def note(says: str, do: str = "") -> Answer:
    """Report something worth knowing."""
    return Answer(good=None, says=says, do=do)


_T = TypeVar("_T")


def child(probe: Probe, code: str, answer: type[_T]) -> _T | str:
    """Return the answer of a Python child process, or in one phrase why there is none."""
    result = probe.run((probe.executable, "-P", "-c", code), _IMPORT_LIMIT_S)
    if result.code != 0:
        return why(result)
    for line in reversed(result.out.splitlines()):  # libraries print, too
        try:
            return msgspec.json.decode(line, type=answer)
        except msgspec.MsgspecError:
            continue
    return "its answer cannot be read"


def why(result: CommandResult) -> str:
    """Say in one phrase why a command failed."""
    if result.code is not None and result.code < 0:
        return f"it died of signal {-result.code} ({signal.strsignal(-result.code)})"
    return last_line(result.err) or f"it ended with exit code {result.code}"


def last_line(text: str) -> str:
    """Return the last line that is not blank, without unprintable characters."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(letter for letter in last if letter.isprintable())


def release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: 2.13.0+cpu is (2, 13, 0)."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, numbers.group().split("."))) if numbers else ()


def field(text: str | None, name: str) -> str:
    """Return the value of a line ``name=value`` or ``name: value``; "" if there is none."""
    line = re.search(rf"^{name}[ \t]*[=:][ \t]*(\S.*?)[ \t]*$", text or "", flags=re.MULTILINE)
    return line.group(1) if line else ""


def _set(_name: str, value: str) -> bool:
    return value != ""


def variables(
    probe: Probe, meanings: dict[str, str], counts: Callable[[str, str], bool] = _set
) -> Answer:
    """Report environment variables that should not be set; `counts` judges a name and its value."""
    wrong = [name for name in meanings if counts(name, probe.environment.get(name, ""))]
    if not wrong:
        return good(f"none of {', '.join(meanings)} is set")
    says = (f"{name}={probe.environment[name]} {meanings[name]}" for name in wrong)
    return bad("; ".join(says), f"unset {' '.join(wrong)}")
