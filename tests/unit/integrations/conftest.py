"""transformers and accelerate import torch_npu where it is installed; without CANN, that fails.

They remember whether it is there, so it is hidden while they are loaded, and from no other test.
"""

from __future__ import annotations

import sys

sys.modules["torch_npu"] = None  # type: ignore[assignment]

# ruff: noqa: E402, F401
import accelerate.utils.imports  # type: ignore[import-untyped]
import transformers.utils.import_utils
from transformers import GPT2LMHeadModel, Trainer

assert not transformers.utils.import_utils.is_torch_npu_available()
assert not accelerate.utils.imports.is_npu_available()
del sys.modules["torch_npu"]
