"""What ran: the program, the digest of its file, and the commit that it belongs to."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from msgspec import Struct

from harness import files
from harness.workloads.program import Program

_GIT_S: Final = 10.0
_CHUNK: Final = 1 << 20


class RanProgram(Struct, frozen=True, kw_only=True):
    """A program of the user's, as it was when the run began, and how it ended."""

    source: str
    """A script, as it was typed, or ``-m`` and a module."""
    args: tuple[str, ...]
    """Its own words."""
    folder: str
    """The working directory."""
    file: str = ""
    """The absolute path of its file; empty if it is not below the working directory."""
    sha256: str = ""
    """Of that file."""
    commit: str = ""
    """Of the repository that the file, or the working directory, is in; empty without one."""
    is_changed: bool | None = None
    """Whether files of that repository differ from the commit; null without one."""
    exit_code: int | None = None
    """How the program ended; null if it could not tell."""
    steps: int | None = None
    """The whole steps that it made, as ``workload.step`` counts them."""


def ran_program(program: Program, folder: Path | None = None) -> RanProgram:
    """Look at a program that is about to run in a folder, or here; runs none of its code."""
    folder = folder or Path.cwd()
    file = _file_of(program, folder)
    commit, is_changed = _commit_of(file.parent if file else folder)
    return RanProgram(
        source=program.source,
        args=program.args,
        folder=str(folder),
        file=str(file or ""),
        sha256=_digest(file) if file else "",
        commit=commit,
        is_changed=is_changed,
    )


def this_program() -> RanProgram:
    """Look at the program that runs in this process."""
    folder = Path.cwd()
    # A notebook or a prompt has no file.
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    file = Path(name).resolve() if name else None
    commit, is_changed = _commit_of(file.parent if file else folder)
    return RanProgram(
        source=sys.argv[0] or "(a prompt)",
        args=tuple(sys.argv[1:]),
        folder=str(folder),
        file=str(file or ""),
        sha256=_digest(file) if file else "",
        commit=commit,
        is_changed=is_changed,
    )


def _file_of(program: Program, folder: Path) -> Path | None:
    if program.script:
        return (folder / program.script).resolve()
    path = folder / (program.module or "").replace(".", "/")
    # Python would import the packages above to find the others.
    candidates = path.with_suffix(".py"), path / "__main__.py"
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with files.regular(file, follow=True) as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def _commit_of(folder: Path) -> tuple[str, bool | None]:
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return "", None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git(folder: Path, *words: str) -> str | None:
    """Return what git prints; None if it is not installed, or there is no repository."""
    # No hook or helper of the repository's is to run, and no lock to be taken.
    command = ("git", "-C", str(folder), "-c", "core.fsmonitor=false", *words)
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - our words; git from the user's path
            command, capture_output=True, check=False, timeout=_GIT_S, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
