"""References between settings: how much one stands for, before anything is resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from harness.errors import Problem

_MOST: Final = 2_000
_AS_TYPED: Final = ("hydra.overrides.", "hydra.job.override_dirname")
"""Where Hydra keeps what was typed; nothing resolves that."""
_REFERENCE: Final = re.compile(r"\$\{\s*(\.*)([\w.\[\]-]+)\s*\}|oc\.select:\s*(\.*)([\w.\[\]-]+)")


def endless(config: DictConfig) -> Problem | None:
    """Return the problem of a setting whose references stand for very many others.

    OmegaConf looks each of them up anew: twenty settings, each of which names the one before it
    twice, take minutes. A circle is no problem here: resolving finds it at once.
    """
    texts = dict(_texts(OmegaConf.to_container(config, resolve=False), ""))
    counts: dict[str, int] = {}
    for path, text in texts.items():
        if not path.startswith(_AS_TYPED) and _count(path, texts, counts) > _MOST:
            return Problem(
                setting=path,
                given=text,
                reason=f"its references stand for more than {_MOST:,} others",
                fix=f"{path}=… with a value, or with fewer references",
            )
    return None


def _texts(data: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the texts that have references, by their paths."""
    if isinstance(data, Mapping):
        items = [(f"{path}.{key}" if path else str(key), value) for key, value in data.items()]
    elif isinstance(data, list):
        items = [(f"{path}.{place}", value) for place, value in enumerate(data)]
    else:
        if isinstance(data, str) and "${" in data:
            yield path, data
        return
    for inner, value in items:
        yield from _texts(value, inner)


def _count(path: str, texts: Mapping[str, str], counts: dict[str, int]) -> int:
    """Count what is looked up to resolve the texts at a path, or below it."""
    if path not in counts:
        counts[path] = 0  # Until it is known, and for a circle.
        counts[path] = sum(
            1 + sum(_count(other, texts, counts) for other in _references(place, text))
            for place, text in texts.items()
            if place == path or place.startswith(f"{path}.")
        )
    return counts[path]


def _references(path: str, text: str) -> Iterator[str]:
    for match in _REFERENCE.finditer(text):
        dots, name = match[1] or match[3] or "", match[2] or match[4]
        name = re.sub(r"\[(\w+)\]", r".\1", name).strip(".")
        base = path.split(".")[: -len(dots)] if dots else []
        yield ".".join([*base, name])
