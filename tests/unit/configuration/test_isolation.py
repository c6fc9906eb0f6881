"""Composing leaves the process as it was: within a Hydra program, twice, and in threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from omegaconf import OmegaConf

from harness.configuration.composition import Composition, compose_jobs
from tests.conftest import ROOT

PROGRAM = """
import json, logging, os, sys, warnings
from dataclasses import dataclass
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from harness.configuration.composition import compose_jobs

@dataclass
class Theirs:
    rate: float = 0.5
    where: str = "${hydra:job.name}"
    today: str = "${now:%Y}"
    mine: str = "${mine:x}"

# The same names as the harness's own: a primary config, and a file of a group.
ConfigStore.instance().store(name="config", node=Theirs)
ConfigStore.instance().store(group="workload", name="mlp", node=Theirs)
OmegaConf.register_new_resolver("mine", lambda text: f"mine {text}")

def state():
    return {
        "hydra": GlobalHydra.instance().hydra,
        "config": HydraConfig.instance().cfg,
        "settings": OmegaConf.to_container(HydraConfig.instance().cfg, resolve=False),
        "environment": dict(os.environ),
        "arguments": list(sys.argv),
        "resolvers": dict(BaseContainer._resolvers),
        "version": VersionBase.instance().getbase(),
        "job": JobRuntime.instance().get("name"),
        "store": sorted(ConfigStore.instance().repo),
        "filters": list(warnings.filters),
        "folder": os.getcwd(),
        "log": (logging.getLogger().level, list(logging.getLogger().handlers)),
    }

@hydra.main(version_base=VERSION, config_name="config")
def main(config):
    OmegaConf.register_new_resolver("now", lambda text: "their now", replace=True)
    before = state()
    run = compose_jobs(["workload=mlp", "seed=3"])
    sweep = compose_jobs(["profiler=level0,level1"], multirun=True)
    refused = compose_jobs(["name=${hydra:job.name}"])
    after = state()
    again = hydra.compose("config", overrides=["rate=0.25"])
    print(json.dumps({
        "changed": [name for name in before if before[name] != after[name]],
        "problems": [str(item) for whole in (run, sweep) for item in whole.problems]
        + [str(item) for whole in (run, sweep) for job in whole.jobs for item in job.problems],
        "seed": run.jobs[0].request.seed,
        "folder": run.folder,
        "profilers": [job.request.profiler.record_shapes for job in sweep.jobs],
        "refused": [item.setting for item in refused.jobs[0].problems],
        "config": OmegaConf.to_container(config, resolve=True),
        "again": again.rate,
        "name": HydraConfig.get().job.name,
    }))

main()
"""


@pytest.mark.parametrize("version_base", [None, "1.1"])
def test_a_hydra_program_that_composes_goes_on_with_its_own(
    tmp_path: Path, version_base: str | None
) -> None:
    program = tmp_path / "theirs.py"
    program.write_text(PROGRAM.replace("VERSION,", f"{version_base!r},"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), "rate=0.75"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "changed": [],
        "problems": [],
        "seed": 3,
        "folder": "outputs/their now/their now",
        "profilers": [False, True],
        "refused": ["name"],
        "config": {"rate": 0.75, "where": "theirs", "today": "their now", "mine": "mine x"},
        "again": 0.25,
        "name": "theirs",
    }


def process_state() -> tuple[object, ...]:
    return (
        GlobalHydra.instance().is_initialized(),
        HydraConfig.instance().cfg,
        VersionBase.instance().version_base,
        [OmegaConf.has_resolver(name) for name in ("now", "hydra", "python_version")],
        dict(os.environ),
        list(sys.argv),
    )


def test_composing_where_hydra_was_never_started_starts_nothing() -> None:
    before = process_state()
    (job,) = compose_jobs(["name=at${now:%Y}"]).jobs
    assert job.request is not None
    assert job.request.name.startswith("at2")
    assert process_state() == before


def test_composing_again_gives_the_same() -> None:
    words = ["profiler=level0,level1", "workload=mlp"]
    first, second = (compose_jobs(words, multirun=True) for _ in range(2))
    assert first == second


def test_threads_compose_at_the_same_time(tmp_path: Path) -> None:
    numbers = range(8)
    for number in numbers:
        folder = tmp_path / str(number) / "workload"
        folder.mkdir(parents=True)
        text = f"defaults: [mlp, _self_]\nbatch: {number + 1}\n"
        (folder / "mine.yaml").write_text(text, encoding="utf-8")

    def composed(number: int) -> Composition:
        words = ["workload=mine", f"seed={number}", "name=at${now:%Y}"]
        return compose_jobs(words, config_dir=str(tmp_path / str(number)))

    with ThreadPoolExecutor(8) as pool:
        compositions = list(pool.map(composed, numbers))
    for number, composition in zip(numbers, compositions, strict=True):
        (job,) = composition.jobs
        assert [*composition.problems, *job.problems] == []
        assert job.request is not None
        assert (job.request.seed, getattr(job.request.workload, "batch", 0)) == (number, number + 1)
