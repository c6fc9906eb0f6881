"""torch's traces in a run folder, compressed once they have been read."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

from harness import files
from harness.paths import RunFolder
from harness.readers.gzip_stream import counted

_LEVEL: Final = 3
"""A tenth of the size; more takes several times as long for little."""


def compress(run: RunFolder) -> None:
    """Compress the traces that were written as they are, so that the program lost no time on it.

    Raises:
        WriteError: The disk is full, or the like; the trace stays as it is.
    """
    for path in run.traces():
        if path.suffix == ".json":
            _compress(run, path)


def _compress(run: RunFolder, path: Path) -> None:
    with (
        files.regular(path, follow=False) as source,
        files.replacing(run.path, path.with_name(f"{path.name}.gz")) as target,
        gzip.GzipFile("", "wb", _LEVEL, target, mtime=0) as compressed,
        counted(source, f"compressing {path.name}") as told,
    ):
        while block := told.read(1 << 20):
            compressed.write(block)
    path.unlink()
