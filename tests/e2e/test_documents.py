"""The programs in the documents, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from tests.conftest import ROOT

PROGRAMS = {"api.md": "mine", "sessions.md": "server/000", "trainers.md": "accelerated"}
"""By the document, the run that its first program leaves."""
# accelerate imports torch_npu where it is installed; without CANN, that fails.
HIDDEN = "import sys; sys.modules['torch_npu'] = None\n"


@pytest.mark.parametrize("document", PROGRAMS)
def test_a_program_in_a_document_delivers(document: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    found = re.search(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    program = tmp_path / "program.py"
    program.write_text(HIDDEN + found[1], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs" / PROGRAMS[document]
    assert f"delivered {folder}" in done.stdout
    assert harness.load(folder).verdict == "delivered"
