"""A finished job leaves no configuration behind in the process of its sweep."""

from __future__ import annotations

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from harness.cli.hydra_callback import ForgetConfigs


def test_what_hydra_keeps_of_a_job_has_no_configuration() -> None:
    config = OmegaConf.create({"seed": 0})
    kept = JobReturn(cfg=config, hydra_cfg=config, status=JobStatus.COMPLETED, _return_value=3)
    ForgetConfigs().on_job_end(config, kept)
    assert (kept.cfg, kept.hydra_cfg, kept.return_value) == (None, None, 3)
