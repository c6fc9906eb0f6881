"""The trainings that a callback sees, each a run: what the callbacks of all trainers do."""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from typing import Final

from harness.api.profiles import OnError, OnMissing, TrainerProfile
from harness.api.results import Run
from harness.errors import RecorderError

NOT_ENDED: Final = "the training did not say that it has ended"


class NotEndedError(RecorderError):
    """A training was left without an end: it raised, or the process ended in its midst."""


class Trainings:
    """Records one training after the other; each is a run in a numbered folder."""

    def __init__(
        self,
        overrides: tuple[str, ...],
        config_dir: str | os.PathLike[str] | None,
        out: str | os.PathLike[str] | None,
        on_missing: OnMissing,
        on_error: OnError,
    ) -> None:
        """Compose and check the settings.

        Raises:
            RefusedError: Something is wrong with the settings; it has all that is.
        """
        self._profile = TrainerProfile(
            *overrides, config_dir=config_dir, out=out, on_missing=on_missing, on_error=on_error
        )
        self._training: TrainerProfile | None = None
        self._stage = ExitStack()
        self._is_open = False

    @property
    def result(self) -> Run:
        """The run of the last training.

        Raises:
            RecorderError: None has ended.
        """
        if self._training is None:
            raise RecorderError("no training has begun")
        return self._training.result

    def begin(self) -> None:
        """Begin a training.

        Raises:
            RecorderError: Another profile or profiler is open in this process.
            RefusedError: The folder does not fit.
            WriteError: The folder cannot be written into.
        """
        self.end(NotEndedError(NOT_ENDED))
        training = self._profile.of_next_training()
        training.start()
        self._training, self._is_open = training, True
        atexit.register(self._end_with_process)

    def end(self, raised: BaseException | None = None) -> None:
        """End the training, if one goes on; `raised` is what has ended it, if anything has."""
        if self._training is None or not self._is_open:
            return
        self._is_open = False
        atexit.unregister(self._end_with_process)
        self._stage.close()
        self._training.end(raised)

    def begin_step(self) -> None:
        """Begin a step."""
        if self._training is not None and self._is_open:
            self._training.begin_step()

    def end_step(self) -> None:
        """End the open step, if there is one."""
        self._stage.close()
        if self._training is not None and self._is_open:
            self._training.end_step()

    def enter_stage(self, name: str) -> None:
        """Let a stage of the step begin, and the one before end."""
        self._stage.close()
        if self._training is not None and self._is_open:
            self._stage.enter_context(self._training.stage(name))

    def leave_stage(self) -> None:
        """Let the stage end."""
        self._stage.close()

    def _end_with_process(self) -> None:
        self.end(NotEndedError(NOT_ENDED))


class ProfilesTrainings:
    """What the callbacks for all trainers have in common: how they are made, and their result."""

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

    @property
    def result(self) -> Run:
        """The run of the last training that has ended.

        Raises:
            RecorderError: None has.
        """
        return self._trainings.result
