"""A command that could not write its record leaves nothing else behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.capture.run_folder import remove
from harness.files import remove_empty


@contextmanager
def nothing_left_without(record: Path, made: list[Path]) -> Iterator[None]:
    """Remove what a block adds to the folder of a record if it cannot write the record.

    `made` are the folders that were made for it.
    """
    before = set(record.parent.iterdir())
    try:
        yield
    finally:
        if not record.exists():
            for path in set(record.parent.iterdir()) - before:
                with suppress(OSError):
                    remove(path)
            remove_empty(made)
