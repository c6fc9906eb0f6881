"""A callback for the Trainer of lightning; the extra ``lightning`` installs that package.

::

    from harness.integrations.lightning import HarnessCallback

    callback = HarnessCallback("profiler=level1", "profiler.schedule.skip_first=10", out="fit")
    Trainer(…, callbacks=[callback]).fit(module)
    print(callback.result.verdict)
"""

from __future__ import annotations

from typing import Any

try:
    from lightning.pytorch import Callback, Trainer
except ImportError as error:
    raise ImportError(
        "harness.integrations.lightning needs lightning: pip install lightning"
    ) from error

from harness.integrations.trainings import ProfilesTrainings


class HarnessCallback(ProfilesTrainings, Callback):
    """Profiles the steps of a fit: one is all that leads to the next step of an optimizer.

    With accumulated gradients, a step has several batches, and the loading of the later ones.
    Validation, the sanity check included, belongs to no step: one that comes between the batches of
    a step ends it. Each ``fit()`` is a run, in a numbered folder below `out`.
    """

    _begun_at: int | None = None
    """The optimizer's steps when the open step began; None between steps."""

    def on_train_start(self, *_: Any) -> None:
        """Begin a run; the sanity check has been."""
        self._begun_at = None
        self._trainings.begin()

    def on_train_end(self, *_: Any) -> None:
        """End the run, and read it."""
        self._trainings.end()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """End the run with what has ended the fit."""
        del trainer, pl_module
        self._trainings.end(exception)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Begin a step, unless one waits for more batches."""
        if self._begun_at is None:
            self._begun_at = trainer.global_step
            self._trainings.begin_step()
        self._trainings.enter_stage("forward")

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End the step, if an optimizer has stepped."""
        self._trainings.leave_stage()
        if trainer.global_step != self._begun_at:
            self._end_step()

    def on_validation_start(self, *_: Any) -> None:
        """End a step that waits for more batches."""
        if self._begun_at is not None:
            self._end_step()

    def on_before_backward(self, *_: Any) -> None:
        """Let the stage of the backward begin."""
        self._trainings.enter_stage("backward")

    def on_after_backward(self, *_: Any) -> None:
        """Let it end."""
        self._trainings.leave_stage()

    def on_before_optimizer_step(self, *_: Any) -> None:
        """Let the stage of the optimizer begin: it lasts until its parameters have changed."""
        self._trainings.enter_stage("optimizer")

    def on_before_zero_grad(self, *_: Any) -> None:
        """Let the stage before it end."""
        self._trainings.leave_stage()

    def _end_step(self) -> None:
        self._begun_at = None
        self._trainings.end_step()
