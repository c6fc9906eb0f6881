"""A fit of lightning, with the callback: the steps that were asked for, and no others."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, Dataset

import harness
from harness.integrations.lightning import HarnessCallback

SCHEDULE = (
    "profiler=level1",
    "workload.warmup_steps=2",
    "profiler.baseline.steps=2",
    "profiler.schedule.skip_first=1",
    "profiler.schedule.active=2",
)
FIRST = 2 + 2 + 1 + 1
"""The first recorded step."""
HELD_OUT = 90


class Module(LightningModule):
    """Two layers; a batch's length tells its number."""

    def __init__(self, *, manual: bool = False, raises_at: int | None = None) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 4))
        self.automatic_optimization = not manual
        self.raises_at = raises_at
        self.validated = 0

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        if number == self.raises_at:
            raise ZeroDivisionError("in training")
        harness.step()  # A mark of the model's own is none of the trainer's steps.
        loss: torch.Tensor = self.layers(batch).square().mean()
        if not self.automatic_optimization:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def validation_step(self, batch: torch.Tensor, _number: int) -> None:
        self.validated += 1
        self.layers(batch).tanh()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Batches(Dataset[torch.Tensor]):
    """Batches of growing length."""

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.ones(self.first + number, 4)


def batches(first: int, count: int) -> DataLoader[torch.Tensor]:
    return DataLoader(Batches(first, count), batch_size=None)


def fit(module: Module, folder: Path, callback: HarnessCallback, **arguments: Any) -> None:
    chosen: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(folder),
        "callbacks": [callback],
    }
    with warnings.catch_warnings():
        # About the few workers of its loaders, and private interfaces of torch.
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", harness.HarnessWarning)
        Trainer(**chosen | arguments).fit(module, batches(1, 24), batches(HELD_OUT, 2))


def lengths(run: harness.Run) -> dict[int | None, list[int]]:
    """Return the lengths of the batches in each step, as the first layer has seen them."""
    frame = run.tables["operators"].filter(pl.col("name") == "aten::addmm").sort("start_ns")
    found: dict[int | None, list[int]] = {}
    for step, shapes in frame.select("step", "input_shapes").rows():
        if shapes[2] == [4, 8]:
            found.setdefault(step, []).append(shapes[1][0])
    return found


def names(run: harness.Run) -> set[str]:
    frame = run.tables["operators"].filter(pl.col("step").is_not_null())
    return set(frame["name"].to_list())


@pytest.mark.parametrize("manual", [False, True])
def test_the_steps_asked_for_are_recorded(tmp_path: Path, *, manual: bool) -> None:
    callback, module = HarnessCallback(*SCHEDULE, out=tmp_path / "runs"), Module(manual=manual)
    fit(module, tmp_path, callback, val_check_interval=1)
    run = callback.result
    assert (run.status, run.verdict, run.missing) == ("ok", "delivered", ())
    assert run.folder == tmp_path / "runs" / "0"
    assert module.validated == 2 + 24 * 2
    # Batches are numbered by their lengths, from 1; validation ran between the two.
    found = lengths(run)
    assert {step: found[step] for step in (2, 3)} == {2: [FIRST + 1], 3: [FIRST + 2]}
    assert set(found[None]) == {HELD_OUT, HELD_OUT + 1}
    assert "aten::tanh" not in names(run)
    stages = dict(run.tables["operators"].group_by("stage").len().rows())
    assert {"forward", "backward", "optimizer"} <= set(stages)
    in_stage = run.tables["operators"].filter(pl.col("stage") == "backward")
    assert "autograd::engine::evaluate_function: AddmmBackward0" in in_stage["name"].to_list()


def test_accumulated_gradients_are_one_step(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    fit(Module(), tmp_path, callback, accumulate_grad_batches=3)
    run = callback.result
    assert run.verdict == "delivered"
    first = 3 * FIRST + 1
    assert lengths(run) == {
        2: [first, first + 1, first + 2],
        3: [first + 3, first + 4, first + 5],
    }


def test_validation_ends_a_step_that_waits_for_more_batches(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    fit(Module(), tmp_path, callback, accumulate_grad_batches=3, val_check_interval=4)
    run = callback.result
    assert run.verdict == "delivered"
    # 1-3, 4 |, 5-6, 7-8 |, 9, 10-12 |, 13-15, 16 |: validation is at the bars.
    found = lengths(run)
    assert {step: found[step] for step in (2, 3)} == {2: [13, 14, 15], 3: [16]}
    assert "aten::tanh" not in names(run)


def test_an_exception_keeps_what_was_recorded(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    with pytest.raises(ZeroDivisionError):
        fit(Module(raises_at=FIRST + 3), tmp_path, callback)
    run = callback.result
    assert (run.status, run.reason) == (
        "failed",
        "the program raised ZeroDivisionError: in training",
    )
    assert lengths(run) == {2: [FIRST + 1], 3: [FIRST + 2]}


def test_each_fit_is_a_run(tmp_path: Path) -> None:
    for _ in range(2):
        # As from a program that was started again.
        callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
        fit(Module(), tmp_path, callback)
    assert callback.result.folder == tmp_path / "runs" / "1"
    assert harness.load(tmp_path / "runs" / "0").verdict == "delivered"


def test_a_fit_that_is_too_short_says_so(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    with pytest.warns(harness.HarnessWarning, match="made 4 whole steps .steps of the trainer."):
        fit(Module(), tmp_path, callback, max_steps=4)
    assert callback.result.exit_code == 3
    # All that is missing has the same cause.
    why = "the program ended before the schedule was full (the block made 4 whole steps"
    assert [why in line for line in callback.result.missing] == [True, True]
