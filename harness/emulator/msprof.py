"""The stand-in for CANN's ``msprof``: a program that turns a recorded capture into CANN's files.

torch_npu runs it in place of CANN's own (``torch_npu/profiler/analysis/prof_view/cann_parse``); its
output is invented, and labelled ``emulated`` wherever the format allows.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from harness.emulator.export import main

    sys.exit(main(sys.argv[1:]))
