"""What the diagnoses share: their answers, and questions to Python child processes."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from harness.doctor.machine import Probe, Ran

INSTALL_TORCH = "pip install 'torch>=2.13,<2.14'"
TOOL_LIMIT_S = 20
_IMPORT_LIMIT_S = 120  # From a network disk, the first import of torch can take a minute.


class Answer(Struct, frozen=True, kw_only=True):
    """What a diagnosis says."""

    good: bool | None
    """Null: worth knowing, and in the way of nothing by itself."""
    says: str
    do: str = ""


def good(says: str) -> Answer:
    """Say that something is as it should be."""
    return Answer(good=True, says=says)


def bad(says: str, do: str) -> Answer:
    """Say that something is in the way, and what to do."""
    return Answer(good=False, says=says, do=do)


def note(says: str, do: str = "") -> Answer:
    """Say what is worth knowing."""
    return Answer(good=None, says=says, do=do)


_T = TypeVar("_T")


def child(probe: Probe, code: str, answer: type[_T]) -> _T | str:
    """Return what a Python child process answers, or in one phrase why there is no answer."""
    ran = probe.run((probe.executable, "-P", "-c", code), _IMPORT_LIMIT_S)
    if ran.code != 0:
        return why(ran)
    for line in reversed(ran.out.splitlines()):  # libraries print, too
        try:
            return msgspec.json.decode(line, type=answer)
        except msgspec.MsgspecError:
            continue
    return "its answer cannot be read"


def why(ran: Ran) -> str:
    """Say in one phrase why a command failed."""
    if ran.code is not None and ran.code < 0:
        return f"it died of signal {-ran.code} ({signal.strsignal(-ran.code)})"
    return last_line(ran.err) or f"it ended with exit code {ran.code}"


def last_line(text: str) -> str:
    """Return the last line with something on it, fit to be printed."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(letter for letter in last if letter.isprintable())


def release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: 2.13.0+cpu is (2, 13, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found.group().split("."))) if found else ()


def field(text: str | None, name: str) -> str:
    """Return the value of a line ``name=value`` or ``name: value``; "" if there is none."""
    found = re.search(rf"^{name}[ \t]*[=:][ \t]*(\S.*?)[ \t]*$", text or "", flags=re.MULTILINE)
    return found.group(1) if found else ""


def _set(_name: str, value: str) -> bool:
    return value != ""


def variables(
    probe: Probe, meanings: dict[str, str], counts: Callable[[str, str], bool] = _set
) -> Answer:
    """Call environment variables bad that are set and should not be; `counts` takes name, value."""
    found = [name for name in meanings if counts(name, probe.environment.get(name, ""))]
    if not found:
        return good(f"none of {', '.join(meanings)} is set")
    says = (f"{name}={probe.environment[name]} {meanings[name]}" for name in found)
    return bad("; ".join(says), f"unset {' '.join(found)}")
