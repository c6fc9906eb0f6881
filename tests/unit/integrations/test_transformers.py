"""The Trainer of transformers, with the callback: the steps that were asked for, and no others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

import harness
from harness.integrations.transformers import HarnessCallback

WORDS = 32
LAYERS = 2
SCHEDULE = (
    "profiler=level1",
    "workload.warmup_steps=2",
    "profiler.baseline.steps=2",
    "profiler.schedule.skip_first=3",
    "profiler.schedule.active=2",
)
NEEDED = 2 + 2 + 3 + 1 + 2
FIRST = 2 + 2 + 3 + 1
"""The first recorded step."""


class Texts(Dataset[dict[str, torch.Tensor]]):
    """Texts whose lengths tell which step they are for: of `length` + their number, at `batch`."""

    def __init__(self, count: int, length: int, batch: int = 1) -> None:
        self.count, self.length, self.batch = count, length, batch

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        words = torch.arange(self.length + number // self.batch) % WORDS
        return {"input_ids": words, "labels": words}


class Seen(TrainerCallback):
    """Counts the evaluations, and can end the training by an exception."""

    def __init__(self, raises_at: int | None = None) -> None:
        self.evaluations = 0
        self.raises_at = raises_at

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self.evaluations += 1

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        del args, control
        if state.global_step == self.raises_at:
            raise ZeroDivisionError("in training")


def trainer(folder: Path, *callbacks: Any, steps: int = 16, **arguments: Any) -> Trainer:
    config = GPT2Config(
        vocab_size=WORDS, n_positions=128, n_embd=16, n_layer=LAYERS, n_head=2, use_cache=False
    )
    chosen: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": 1,
        "per_device_eval_batch_size": 1,
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "train_sampling_strategy": "sequential",
    }
    return Trainer(
        model=GPT2LMHeadModel(config),
        args=TrainingArguments(**chosen | arguments),
        train_dataset=Texts(64, 8, arguments.get("gradient_accumulation_steps", 1)),
        eval_dataset=Texts(2, 90),
        callbacks=list(callbacks),
    )


def lengths(run: harness.Run) -> dict[int | None, set[int]]:
    """Return the lengths of the texts in each step, as the embedding of words has seen them."""
    frame = run.tables["operators"].filter(pl.col("name") == "aten::embedding")
    found: dict[int | None, set[int]] = {}
    for step, shapes in frame.select("step", "input_shapes").rows():
        if shapes[0][0] == WORDS:
            found.setdefault(step, set()).add(shapes[1][1])
    return found


def test_the_steps_asked_for_are_recorded_and_evaluation_is_not(tmp_path: Path) -> None:
    callback, seen = HarnessCallback(*SCHEDULE, out=tmp_path / "runs"), Seen()
    trainer(
        tmp_path / "model", callback, seen, eval_strategy="steps", eval_steps=3, logging_steps=1
    ).train()
    run = callback.result
    assert (run.status, run.verdict, run.missing) == ("ok", "delivered", ())
    assert run.folder == tmp_path / "runs" / "0"
    # After every third step, so between the recorded ones, too, and at the end; on texts of 90.
    assert seen.evaluations == 16 // 3 + 1
    assert lengths(run) == {4: {8 + FIRST}, 5: {8 + FIRST + 1}, None: {90, 91}}
    in_steps = run.tables["operators"].filter(pl.col("step").is_not_null())
    counts = in_steps.group_by("step", "name").len()
    for name, count in (("aten::addmm", 4 * LAYERS), ("Optimizer.step#AdamW.step", 1)):
        assert counts.filter(pl.col("name") == name)["len"].to_list() == [count] * 2
    assert run.tables["steps"]["phase"].value_counts().sort("phase").rows() == [
        *(("active", 2), ("baseline", 2), ("profiler_warmup", 1), ("wait", 3), ("warmup", 2))
    ]
    assert run.record.program is not None
    assert (run.record.program.steps, run.exit_code) == (NEEDED, 0)
    assert run.analyses["stages"]["stage"].to_list().count("optimizer") == 1


def test_accumulated_gradients_are_one_step(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    trainer(tmp_path / "model", callback, gradient_accumulation_steps=3).train()
    run = callback.result
    assert run.verdict == "delivered"
    assert lengths(run) == {4: {8 + FIRST}, 5: {8 + FIRST + 1}}
    products = run.tables["operators"].filter(pl.col("name") == "aten::addmm")
    assert products.group_by("step").len().sort("step").rows() == [
        (4, 3 * 4 * LAYERS),
        (5, 3 * 4 * LAYERS),
    ]


def test_each_training_is_a_run(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    training = trainer(tmp_path / "model", callback)
    training.train()
    training.train()
    assert callback.result.folder == tmp_path / "runs" / "1"
    for number in ("0", "1"):
        assert harness.load(tmp_path / "runs" / number).verdict == "delivered"


def test_an_exception_keeps_what_was_recorded(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    training = trainer(tmp_path / "model", callback, Seen(raises_at=NEEDED + 1))
    with pytest.raises(ZeroDivisionError), callback:
        training.train()
    run = callback.result
    assert (run.status, run.reason) == (
        "failed",
        "the program raised ZeroDivisionError: in training",
    )
    assert lengths(run) == {4: {8 + FIRST}, 5: {8 + FIRST + 1}}


def test_a_training_without_an_end_ends_with_the_next_one(tmp_path: Path) -> None:
    callback, seen = HarnessCallback(*SCHEDULE, out=tmp_path / "runs"), Seen(raises_at=5)
    training = trainer(tmp_path / "model", callback, seen)
    with pytest.raises(ZeroDivisionError):
        training.train()
    seen.raises_at = None
    training.train()
    first = harness.load(tmp_path / "runs" / "0")
    assert (first.status, first.reason) == (
        "failed",
        "the training did not say that it has ended",
    )
    assert callback.result.verdict == "delivered"


def test_a_training_that_is_too_short_says_so(tmp_path: Path) -> None:
    callback = HarnessCallback(*SCHEDULE, out=tmp_path / "runs")
    with pytest.warns(harness.HarnessWarning, match="made 7 whole steps .steps of the trainer."):
        trainer(tmp_path / "model", callback, steps=7).train()
    assert callback.result.exit_code == 3
    assert "train for more" in "\n".join(callback.result.missing)


def test_settings_are_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(harness.RefusedError, match=r"profiler\.nothing"):
        HarnessCallback("profiler.nothing=1", out=tmp_path)
    with pytest.raises(harness.RecorderError, match="no training has begun"):
        _ = HarnessCallback(out=tmp_path).result
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, words in (("transformers", "transformers accelerate"), ("lightning", "lightning")):
        module = f"harness.integrations.{package}"
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
        with pytest.raises(ImportError, match=f"needs {package}: pip install {words}$"):
            __import__(module)
