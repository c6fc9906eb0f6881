"""Ask torch_npu for what it does not do, and tell what it did: silent.py CASE... in the folder that
is to hold the captures; a JSON object a line, with what was printed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import torch_npu

from tests.npu.children import analysed, captured
from tests.npu.children.asking import heard

CASES = {**vars(captured), **vars(analysed)}


def main() -> None:
    torch_npu.npu.set_device(0)
    for name in sys.argv[1:]:
        folder = Path.cwd() / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        os.chdir(folder)
        said: list[str] = []
        with heard(said):
            found = CASES[name](folder)
        os.chdir(folder.parent)
        print("RESULT " + json.dumps({"case": name, "found": found, "said": said[0]}))


if __name__ == "__main__":
    main()
