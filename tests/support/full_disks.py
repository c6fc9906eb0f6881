"""Small file systems that become full, for the tests of what happens then."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = 4096
"""A tmpfs gives its room in pages."""


@contextmanager
def small_disk(folder: Path, *, pages: int = 0, inodes: int = 0) -> Iterator[Path]:
    """Mount a file system of that size on a new folder; 0 stands for no limit.

    Where this is not allowed, the test fails, and says how to run it: a machine that cannot fill a
    disk has not tested what happens then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={pages * PAGE},nr_inodes={inodes}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{' '.join(mount)}: {done.stderr.strip()}; run the tests as root, or in a namespace of"
        " their own: unshare --user --map-root-user --mount make test"
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill the disk of a folder but for some pages; return the file that does it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(PAGE)):
                pass
        except OSError:
            file.truncate(file.tell() - leave * PAGE)
    return filler


def use_up_inodes(folder: Path, *, leave: int = 0) -> None:
    """Make empty files until the disk of a folder takes no further one; remove some again."""
    made: list[Path] = []
    try:
        while True:
            made.append(folder / f"empty{len(made)}")
            made[-1].touch()
    except OSError:
        made.pop()
    for path in made[len(made) - leave :] if leave else []:
        path.unlink()


def unfinished_files(folder: Path) -> list[str]:
    """Return what was left of files that were never finished, by any name that they had."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob(".*")
        if path.is_file() and path.name not in {".lock", ".interrupted"}
    ]
