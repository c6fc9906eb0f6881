"""What Hydra calls when a job of a sweep ends."""

from __future__ import annotations

from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class ForgetConfigs(Callback):
    """Lets go of each job's configuration: Hydra's sweeper keeps what all jobs return, to its end.

    That is 0.2 MiB a job.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:  # noqa: ARG002 - Hydra's signature
        """Forget what the job was composed of; its folder has it."""
        job_return.cfg = job_return.hydra_cfg = None
