"""A callback for the Trainer of transformers; the extra ``transformers`` installs that package.

::

    from harness.integrations.transformers import HarnessCallback

    callback = HarnessCallback("profiler=level1", "profiler.schedule.skip_first=10", out="tune")
    with callback:
        Trainer(…, callbacks=[callback]).train()
    print(callback.result.verdict)
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        "harness.integrations.transformers needs transformers: pip install transformers accelerate"
    ) from error

from harness.integrations.trainings import ProfilesTrainings


class HarnessCallback(ProfilesTrainings, TrainerCallback):
    """Profiles the steps of a Trainer: one is all that leads to one step of the optimizer.

    The batches of a step are loaded before it; logging, evaluation and saving come after it: all
    this belongs to no step. Each call of ``train()`` is a run, in a numbered folder below `out`.

    A Trainer does not tell its callbacks of an exception. ``with callback:`` around ``train()``
    ends the run with it; else it ends with the next training, or with the process.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        raised: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._trainings.end(raised)

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
