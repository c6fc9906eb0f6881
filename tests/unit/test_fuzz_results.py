"""Whatever is done to a run folder: report, compare, gate, list and view end as they say.

Damages of records, tables and the trace of a run, each through three of the commands as they are
typed, in this process. They are the same in every run; ``HARNESS_FUZZ=N`` makes N, others in every
run.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.capture.run_record import RunRecord, Timing
from harness.cli.main import main
from tests.support.chrome_traces import event, kernel, launch
from tests.support.damages import Damage, bytes_of, columns_of, plausible_of, values_of
from tests.support.pages import Document
from tests.support.run_folders import Columns, run_folder

LONG: Final = int(os.environ.get("HARNESS_FUZZ", "0"))
_EXAMPLES: Final = LONG or 40
_TRIED: Final = 3
"""Commands after each damage."""
_STEP: Final = Timing(steps=5, median_ns=20_000, min_ns=19_000, max_ns=30_000)
_SHAPES: Final[list[object]] = [[[4, 8]], [[8, 8], []], None]
_ROWS: Final[dict[str, Columns]] = {
    "operators": {
        "id": [0, 1, 2],
        "step": [0, 0, 1],
        "rank": [0, 0, 0],
        "thread": [1, 1, 1],
        "name": ["aten::linear", "aten::mm", "aten::mm"],
        "input_shapes": _SHAPES,
        "input_dtypes": [["float"], ["float", None], None],
        "start_ns": [10, 20, 1_010],
        "duration_ns": [500, 300, 300],
        "self_ns": [200, 300, 300],
        "device_ns": [None, 100, 100],
        "stack_id": [7, 7, None],
        "Sequence number": [1, 1, 2],
        "Fwd thread id": [0, 0, 1],
    },
    "kernels": {
        "step": [0, 1, None],
        "rank": [0, 0, 0],
        "device": [0, 0, 0],
        "stream": [1, 1, 2],
        "name": ["gemm", "gemm", "nccl"],
        "type": ["kernel", "kernel", "gpu_memcpy"],
        "core": ["AI_CORE", "AI_CORE", "HCCL"],
        "start_ns": [30, 1_020, 1_060],
        "duration_ns": [100, 100, 10],
        "input_shapes": _SHAPES,
        "operator": [1, 2, None],
        "correlation": [1, 2, None],
        "aic_mac_ratio": [0.5, 0.25, None],
    },
    "steps": {
        "step": [None, 0, 1],
        "rank": [0, 0, 0],
        "phase": ["baseline", "active", "active"],
        "start_ns": [0, 5, 1_005],
        "duration_ns": [900, 990, 900],
    },
    "memory": {
        "rank": [0, 0],
        "time_ns": [25, 1_015],
        "device": ["cpu", "cpu"],
        "kind": ["alloc", "free"],
        "bytes": [512, -512],
        "total_allocated": [512, 0],
        "total_reserved": [1_024, 1_024],
        "operator": [1, 2],
    },
    "communication": {
        "step": [1],
        "rank": [0],
        "name": ["allreduce"],
        "type": ["allreduce"],
        "start_ns": [1_060],
        "duration_ns": [10],
        "bytes": [64],
    },
    "stacks": {"stack_id": [7], "frames": [["train.py(3): f", "nn.Module: Net_0"]]},
    "lines": {
        "rank": [0],
        "start_ns": [10],
        "duration_ns": [500],
        "file": ["train.py"],
        "line": [3],
        "function": ["f"],
        "text": ["y = f(x)"],
    },
}
_RECORD: Final = RunRecord(
    status="ok",
    verdict="delivered",
    exit_code=0,
    versions={"harness": "0.1.0", "torch": "2.13.0"},
    host="here",
    device="cuda",
    device_name="A GPU",
    overrides=("device=cuda",),
    requested={
        "workload.name": "mlp",
        "workload.batch": 8,
        "execution.kind": "isolated",
        "rehearsal.emulate": False,
        "profiler.with_stack": True,
        "profiler.profile_memory": True,
        "profiler.activities": ["host", "device"],
    },
    timing={"baseline": _STEP, "active": _STEP},
)
_TRACE: Final[dict[str, Any]] = {
    "traceEvents": [
        {"ph": "M", "name": "process_name", "pid": 7, "tid": 0, "args": {"name": "python"}},
        event("user_annotation", "ProfilerStep#3", 0, 100),
        event("cpu_op", "aten::mm", 10.5, 20, args={"External id": 1}),
        launch(5, 15, **{"External id": 1}),
        kernel(5, 40, grid=[1, 1, 1]),
        {"ph": "s", "id": 6, "cat": "ac2g", "name": "ac2g", "pid": 7, "tid": 1, "ts": 18},
        {"ph": "f", "id": 6, "cat": "ac2g", "name": "ac2g", "pid": 3, "tid": 20, "ts": 60},
    ],
    "baseTimeNanoseconds": 1_790_857_026_000_000_000,
}
_COMMANDS: Final[dict[str, tuple[set[int], tuple[str, ...]]]] = {
    "report": ({0, 2}, ("report", "a", "--out", "page.html")),
    "redacted": ({0, 2}, ("report", "a", "--redact", "--out", "page.html")),
    "compare": ({0, 2}, ("compare", "a", "--against", "b", "--out", "compared")),
    "gate": ({0, 2, 5}, ("gate", "a", "--against", "b", "--markdown", "m.md", "--junit", "j.xml")),
    "list": ({0}, ("list", ".")),
    "list as JSON": ({0}, ("list", ".", "--json")),
    "view": ({0, 2}, ("view", "a", "--trace-only", "--out", "viewed.json.gz")),
}
"""The exit codes that are right, and the words."""


def _packed(damage: Damage) -> Damage:
    return lambda data, content: gzip.compress(damage(data, gzip.decompress(content)), 1)


_JSON: Final = (bytes_of, values_of, plausible_of, plausible_of)
_DAMAGES: Final[dict[str, tuple[Damage, ...]]] = {
    "run.json": _JSON,
    "capture.json": _JSON,
    "outcome.json": _JSON,
    "raw/trace.json.gz": (bytes_of, _packed(bytes_of), _packed(values_of), _packed(plausible_of)),
    **{f"tables/{name}.parquet": (bytes_of, *[columns_of] * 5) for name in _ROWS},
}
"""What is done to each file."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a run twice into a folder; the commands are typed there."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("a", "b"):
        run = run_folder(folder / name, _RECORD, **_ROWS)
        run.raw.mkdir()
        trace = gzip.compress(json.dumps(_TRACE).encode())
        (run.raw / "trace.json.gz").write_bytes(trace)
    return folder


def _typed(
    words: tuple[str, ...], patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Type a command; return its exit code, and what it printed."""
    patch.setattr(sys, "argv", ["harness", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, "".join(capsys.readouterr())


def test_all_commands_end_well_on_the_whole_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    for _, words in _COMMANDS.values():
        assert _typed(words, monkeypatch, capsys)[0] == 0


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not LONG,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**64 - 1))
def test_no_damage_ends_in_an_error_that_is_not_ours(
    place: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    data = Random(seed)
    name = data.choice(sorted(_DAMAGES))
    path = place / "a" / name
    whole = path.read_bytes()
    path.write_bytes(data.choice(_DAMAGES[name])(data, whole))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        try:
            for command in data.sample(sorted(_COMMANDS), _TRIED):
                codes, words = _COMMANDS[command]
                _held(command, codes, _typed(words, patch, capsys))
        finally:
            path.write_bytes(whole)


def _held(command: str, codes: set[int], ended: tuple[int, str]) -> None:
    code, printed = ended
    assert code in codes, (command, printed)
    assert not {"\x1b", "\0", "\u202e"} & set(printed), command
    if code == 2:
        assert printed.startswith("refused, nothing was run"), (command, printed)
        assert "\n    fix: " in printed, (command, printed)
    elif "page.html" in printed:
        Document(Path("page.html").read_bytes())
