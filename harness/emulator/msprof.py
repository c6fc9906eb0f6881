"""The stand-in for CANN's ``msprof``: a program that turns a recorded capture into CANN's files.

torch_npu runs it as CANN's own (``torch_npu/profiler/analysis/prof_view/cann_parse``); what it
writes is invented and says ``emulated`` wherever a format has room for that.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from harness.emulator.export import main

    sys.exit(main(sys.argv[1:]))
