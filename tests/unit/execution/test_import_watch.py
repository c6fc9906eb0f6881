"""A watched module is acted on once, right after it is executed, and keeps its own loader."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from harness.execution.import_watch import ImportWatch


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportWatch]:
    (tmp_path / "watched_one.py").write_text("VALUE = 1\n")
    (tmp_path / "watched_bad.py").write_text("raise ValueError('bad')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    watch = ImportWatch()
    yield watch
    watch.stop()
    for name in ("watched_one", "watched_bad"):
        sys.modules.pop(name, None)


def test_a_module_is_acted_on_once_it_is_executed(watch: ImportWatch) -> None:
    values: list[int] = []
    watch.watch("watched_one", lambda module: values.append(module.VALUE))
    assert values == []
    # To look for it is not to import it.
    assert importlib.util.find_spec("watched_one") is not None
    assert "watched_one" in watch.waiting
    module = importlib.import_module("watched_one")
    assert values == [1]
    assert module.__spec__ is not None
    assert type(module.__spec__.loader) is type(module.__loader__) is SourceFileLoader
    importlib.reload(module)
    assert values == [1]


def test_a_module_that_is_there_is_acted_on_now(watch: ImportWatch) -> None:
    importlib.import_module("watched_one")
    values: list[int] = []
    watch.watch("watched_one", lambda module: values.append(module.VALUE))
    assert values == [1]
    assert watch not in sys.meta_path


def test_a_module_that_fails_is_not_acted_on(watch: ImportWatch) -> None:
    values: list[str] = []
    watch.watch("watched_bad", lambda module: values.append(module.__name__))
    with pytest.raises(ValueError, match="bad"):
        importlib.import_module("watched_bad")
    assert values == []


def test_nothing_is_watched_after_the_end(watch: ImportWatch) -> None:
    values: list[str] = []
    watch.watch("watched_one", lambda module: values.append(module.__name__))
    watch.stop()
    importlib.import_module("watched_one")
    assert values == []
    assert watch not in sys.meta_path
