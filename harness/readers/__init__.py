"""The readers of captures. A new reader is a file here and a line in the table."""

from __future__ import annotations

from typing import Final

from harness.readers.ascend.database import AscendDb
from harness.readers.ascend.text import AscendText
from harness.readers.base import Reader
from harness.readers.chrome.reader import Chrome

READERS: Final[tuple[Reader, ...]] = (AscendText(), AscendDb(), Chrome())
"""The formats in order: if a capture has several, the first is read."""
