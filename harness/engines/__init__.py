"""Settings to and from the words of engines and frameworks: what each means, and what is lost."""

from __future__ import annotations

from typing import Final

from harness.engines.base import Target
from harness.engines.dynamic_profile import DYNAMIC_PROFILE
from harness.engines.frameworks import (
    ACCELERATE,
    LIGHTNING,
    MEGATRON,
    TORCHTITAN,
    TORCHTUNE,
)
from harness.engines.mindspore import MINDFORMERS, MS_SERVICE_PROFILER
from harness.engines.python import PYTHON
from harness.engines.sglang import SGLANG
from harness.engines.verl import VERL
from harness.engines.vllm import VLLM, VLLM_ASCEND

TARGETS: Final[dict[str, Target]] = {
    target.name: target for target in (SGLANG, VLLM, VLLM_ASCEND, VERL, DYNAMIC_PROFILE, PYTHON)
}
"""What settings are exported to and imported from; a new one is a file and a word here."""

SOURCES: Final[dict[str, Target]] = {
    target.name: target
    for target in (
        TORCHTITAN,
        MEGATRON,
        ACCELERATE,
        LIGHTNING,
        TORCHTUNE,
        MINDFORMERS,
        MS_SERVICE_PROFILER,
    )
}
"""What settings are only imported from."""
