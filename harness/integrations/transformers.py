"""A callback for the Trainer of transformers; the extra ``transformers`` installs that package.

::

    from harness.integrations.transformers import HarnessCallback

    callback = HarnessCallback("profiler=level1", "profiler.schedule.skip_first=10", out="tune")
    with callback:
        Trainer(…, callbacks=[callback]).train()
    print(callback.result.verdict)
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        'harness.integrations.transformers needs transformers: pip install "harness[transformers]"'
    ) from error

from harness.api.profiles import OnError, OnMissing
from harness.api.results import Run
from harness.integrations.trainings import Trainings


class HarnessCallback(TrainerCallback):
    """Profiles the steps of a Trainer: one is all that leads to one step of the optimizer.

    The batches of a step are loaded before it; logging, evaluation and saving come after it: all
    this belongs to no step. Each call of ``train()`` is a run, in a numbered folder below `out`.

    A Trainer does not tell its callbacks of an exception. ``with callback:`` around ``train()``
    ends the run with it; else it ends with the next training, or with the process.
    """

    def __init__(
        self,
        *overrides: str,
        config_dir: str | os.PathLike[str] | None = None,
        out: str | os.PathLike[str] | None = None,
        on_missing: OnMissing = "warn",
        on_error: OnError = "warn",
    ) -> None:
        """Compose and check the settings; the arguments are those of `harness.profile`.

        Raises:
            RefusedError: Something is wrong with the settings; it has all that is.
        """
        self._trainings = Trainings(overrides, config_dir, out, on_missing, on_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        raised: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._trainings.end(raised)

    @property
    def result(self) -> Run:
        """The run of the last training that has ended.

        Raises:
            RecorderError: None has.
        """
        return self._trainings.result

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Begin a run."""
        self._trainings.begin()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """End the run, and read it."""
        self._trainings.end()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Begin a step, with its first batch."""
        self._trainings.begin_step()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """End the step."""
        self._trainings.end_step()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Let the stage of the optimizer begin; gradients are clipped already."""
        self._trainings.enter_stage("optimizer")

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Let it end."""
        self._trainings.leave_stage()
