"""The engines' own calls of torch_npu, from their wheels, over the emulator: which settings arrive.

No engine is imported: its profiler needs all of it. The expressions that make its profiler are
taken out of its source, and run with the values that its server would have.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from harness.capture import external
from harness.engines.base import bare
from harness.engines.sglang import NPU_FIXED
from harness.engines.vllm import ASCEND_FIXED
from tests.npu.conftest import OnNpu, emulator, on_npu  # noqa: F401 - fixtures
from tests.wheels.test_tables import ASCEND, SGLANG_PROFILER, Wheels

PROGRAM = """
import types
from contextlib import suppress
from typing import Any
import torch, torch_npu
_is_npu = True
torch.profiler.profile = torch_npu.profiler.profile
with_stack, record_shapes = True, True
torchprof_activities = [
    torch_npu.profiler.ProfilerActivity.CPU, torch_npu.profiler.ProfilerActivity.NPU
]
self = types.SimpleNamespace(
    torch_profiler_output_dir="captures", output_dir="captures",
    with_stack=True, record_shapes=True,
)
{definitions}
matrix = torch.randn(4, 4).to("npu:0")
profiler = {expression}
profiler.start()
for step in range(3):
    matrix @ matrix
torch.npu.synchronize()
profiler.stop()
"""


def arrived(on_npu: OnNpu, folder: Path, expression: str, definitions: str = "") -> dict[str, Any]:  # noqa: F811
    printed = on_npu(PROGRAM.format(expression=expression, definitions=definitions))
    captures = list((folder / "captures").glob("*_ascend_pt"))
    assert len(captures) == 1, printed
    return dict(external.read(captures[0]).info.settings)


def test_sglang_s_first_path(wheel: Wheels, on_npu: OnNpu, tmp_path: Path) -> None:  # noqa: F811
    calls = wheel("sglang", "0.5.23").calls(SGLANG_PROFILER, "profile")
    (call,) = (call for call in calls if call.keywords)
    told = arrived(on_npu, tmp_path, ast.unparse(call))
    assert {name: told[name] for name in NPU_FIXED if name in told} == {
        name: value for name, value in NPU_FIXED.items() if name in told
    }
    assert told["profiler.experimental.profiler_level"] == "Level1"
    assert (told["profiler.record_shapes"], told["profiler.with_stack"]) == (True, True)


def test_sglang_s_second_path(wheel: Wheels, on_npu: OnNpu, tmp_path: Path) -> None:  # noqa: F811
    calls = wheel("sglang", "0.5.23").calls("sglang/srt/utils/profile_utils.py", "profile")
    (call,) = (call for call in calls if call.keywords)
    handler = 'torch_npu.profiler.tensorboard_trace_handler("captures")'
    words = [word for word in call.keywords if word.arg != "on_trace_ready"]
    call.keywords = [*words, ast.keyword("on_trace_ready", ast.parse(handler, mode="eval").body)]
    told = arrived(on_npu, tmp_path, ast.unparse(call))
    assert told["profiler.experimental.profiler_level"] == "Level0"
    untold = bare("npu")
    for name in NPU_FIXED:
        if name in told:
            assert told[name] == untold[name], name


def test_vllm_ascend(wheel: Wheels, on_npu: OnNpu, tmp_path: Path) -> None:  # noqa: F811
    tree = wheel("vllm-ascend", "0.23.0").tree(ASCEND)
    (function,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "_create_profiler"
    )
    function.decorator_list = []
    definitions = "\n".join(
        (
            "ProfilerConfig = Any",
            "envs_ascend = types.SimpleNamespace(MSMONITOR_USE_DAEMON=0)",
            "def get_ascend_config(): raise RuntimeError",
            ast.unparse(function),
            (
                "given = types.SimpleNamespace(profiler='torch', torch_profiler_dir='captures',"
                " torch_profiler_record_shapes=True, torch_profiler_with_stack=True,"
                " torch_profiler_with_memory=True)"
            ),
        )
    )
    told = arrived(on_npu, tmp_path, '_create_profiler(given, "rank0")', definitions)
    assert json.loads(json.dumps(told["profiler.record_shapes"])) is False
    assert told["profiler.with_modules"] is True
    assert told["profiler.with_stack"] is False
    assert told["profiler.profile_memory"] is True
    for name, value in ASCEND_FIXED.items():
        if name in told and name != "profiler.activities":
            assert told[name] == value, name
