"""What several unit tests need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Capture whole graphs as torch.compile does, but run them as they are: that is quick."""
    requests: list[object] = []
    compile_ = torch.compile

    def capture(model: Any) -> Any:
        requests.append(model)
        return compile_(model, backend="eager", fullgraph=True)

    monkeypatch.setattr(torch, "compile", capture)
    torch.compiler.reset()
    yield requests
    torch.compiler.reset()
