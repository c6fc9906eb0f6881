"""One plain script, recorded by the command, by its own profile, and by the bare profiler."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl

from harness.api.results import load
from tests.conftest import ROOT, Harness, environment

SETTINGS = (
    "device=cpu",
    "profiler=level1",
    "workload.warmup_steps=1",
    "profiler.baseline.steps=1",
    "profiler.schedule={wait: 1, warmup: 1, active: 2, repeat: 1}",
)
TRAIN = """
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

def train_step():
    optimizer.zero_grad()
    inputs = torch.cat([torch.ones(4, 3), torch.zeros(4, 3)], dim=1)
    model(inputs).sum().backward()
    optimizer.step()

def train(after_step):
    for _ in range(10):
        train_step()
        after_step()
"""
BY_COMMAND = """
import harness
from train import train

train(harness.step)
"""
BY_PROFILE = f"""
import harness
from train import train

with harness.profile(*{SETTINGS!r}, out="own", on_missing="raise") as p:
    train(p.step)
print(p.result.verdict)
"""
BARE = f"""
import harness
from train import train, train_step

planned = harness.plan(harness.compose(*{SETTINGS!r}))

for _ in range(2):
    train_step()
ready = lambda profiler: profiler.export_chrome_trace("bare.json")
with harness.build_profiler(planned, ready) as profiler:
    train(profiler.step)
"""


def script(folder: Path, name: str, source: str) -> str:
    (folder / name).write_text(source)
    return name


def run(folder: Path, name: str) -> str:
    done = subprocess.run(
        [sys.executable, name],
        cwd=folder,
        env=environment() | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def operators(frame: pl.DataFrame) -> Counter[tuple[str, str]]:
    rows = frame.select("name", "input_shapes").iter_rows()
    return Counter((name, json.dumps(flat(shapes))) for name, shapes in rows if "aten" in name)


def flat(shapes: list[list[object]]) -> list[object]:
    """Return the shapes of all tensors: a trace puts those of a list into a list of their own."""
    found: list[object] = []
    for shape in filter(None, shapes or []):
        found += shape if isinstance(shape[0], list) else [shape]
    return found


def test_a_script_has_the_same_operators_shapes_and_counts_three_ways(
    harness: Harness, tmp_path: Path
) -> None:
    script(tmp_path, "train.py", TRAIN)
    ran = harness(*SETTINGS, "--", script(tmp_path, "command.py", BY_COMMAND))
    assert ran.code == 0, ran.out + ran.err
    said = run(tmp_path, script(tmp_path, "own_profile.py", BY_PROFILE))
    assert said.splitlines()[-1] == "delivered"
    run(tmp_path, script(tmp_path, "bare.py", BARE))
    events = json.loads((tmp_path / "bare.json").read_text())["traceEvents"]
    bare = [(event["name"], event["args"].get("Input Dims")) for event in events if "dur" in event]
    of_command = operators(ran.table("operators"))
    of_profile = operators(load(tmp_path / "own").tables["operators"])
    assert of_profile == of_command
    assert of_command.total() > 100
    of_bare = Counter((name, json.dumps(flat(shapes))) for name, shapes in bare if "aten" in name)
    assert of_bare == of_profile
