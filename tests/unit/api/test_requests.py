"""Compose, plan and build a profiler in a program."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from torch.profiler import ProfilerActivity, profile

import harness
from harness.configuration.hydra_loader import CONF
from harness.workloads.loop import Loop


def settings_refused(*overrides: str) -> list[str]:
    with pytest.raises(harness.RefusedError) as refused:
        harness.compose(*overrides)
    return [problem.setting for problem in refused.value.problems]


def test_a_request_is_of_the_calling_programs_loop() -> None:
    request = harness.compose("device=cpu", "profiler=level1")
    assert isinstance(request.workload, Loop)
    assert (request.workload.step, request.execution.kind) == ("marked", "inline")
    assert request.profiler.record_shapes


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert settings_refused(
        "device=cpu", "profiler.record_shape=true", "seed=-1", "workload.step=often"
    ) == ["profiler.record_shape", "workload.step", "seed"]
    assert settings_refused(
        "device=cpu",
        "profiler.schedule.skip_first_wait=1",
        "seed=3",
        "execution.timeout_s=5",
        "device.environment={OMP_NUM_THREADS: 3, PATH: nowhere}",
    ) == [
        "profiler.schedule.skip_first_wait",
        "seed",
        "execution.timeout_s",
        "device.environment.OMP_NUM_THREADS",
        "device.environment.PATH",
    ]


def test_a_variable_that_is_set_already_is_none_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    harness.compose("device=cpu", "device.environment={OMP_NUM_THREADS: 3}")


@pytest.mark.parametrize(
    ("override", "setting"),
    [
        ("hydra.run.dir=x", "hydra.run.dir"),
        ("hydra/launcher=joblib", "hydra/launcher"),
        ("hydra.mode=MULTIRUN", "hydra.mode"),
        ("seed=1,2", "seed"),
        ("execution=isolated", "execution"),
        ("rehearsal.emulate=true", "execution"),
    ],
)
def test_what_only_a_command_can_do_is_refused(override: str, setting: str) -> None:
    device = "npu" if override.startswith("rehearsal") else "cpu"
    assert setting in settings_refused(f"device={device}", override)


def test_another_workload_can_be_planned_and_is_no_loop() -> None:
    request = harness.compose("device=cpu", "workload=mlp")
    assert harness.plan(request).loop.workload == request.workload
    with pytest.raises(harness.RefusedError, match="records the loop of the program"):
        harness.profile("device=cpu", "workload=mlp")


def test_a_users_own_configs_come_first(tmp_path: Path) -> None:
    own = tmp_path / "profiler" / "experimental" / "cpu"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("defaults: [cpu/_base@_here_, _self_]\nverbose: true\n")
    (tmp_path / "profiler" / "mine.yaml").write_text(
        "defaults: [default, _self_]\nwith_stack: true\n"
    )
    request = harness.compose("device=cpu", "profiler=mine", config_dir=tmp_path)
    assert request.profiler.with_stack


def test_compose_leaves_a_hydra_program_and_a_thread_alone() -> None:
    requests = []
    with initialize_config_dir(str(CONF), version_base=None):
        before = hydra_compose("config", overrides=["device=cpu"])
        thread = threading.Thread(target=lambda: requests.append(harness.compose("device=cpu")))
        thread.start()
        thread.join()
        requests.append(harness.compose("device=cpu"))
        assert hydra_compose("config", overrides=["device=cpu"]) == before
    assert requests[0] == requests[1]


def test_a_plan_makes_nothing(tmp_path: Path) -> None:
    planned = harness.plan(harness.compose("device=cpu", "workload.step=whole"), tmp_path / "x")
    assert planned.folder == str(tmp_path / "x")
    assert planned.recording.recorded == (0,)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events")
def test_the_profiler_is_torchs_own_with_the_plans_settings() -> None:
    request = harness.compose(
        "device=cpu",
        *("profiler=stacks", "profiler.with_lines=false"),
        "profiler.schedule={skip_first: 1, wait: 1, warmup: 1, active: 2, repeat: 2}",
    )
    ready: list[profile] = []
    profiler = harness.build_profiler(harness.plan(request), ready.append)
    assert type(profiler) is profile
    assert profiler.activities == {ProfilerActivity.CPU}
    assert (profiler.with_stack, profiler.record_shapes) == (True, False)
    with profiler:
        for _ in range(10):
            torch.ones(2) + 1
            profiler.step()
    assert ready == [profiler, profiler]


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        (["profiler=stacks"], "profiler.with_lines"),
        (["profiler=memory", "profiler.memory_timeline=true"], "profiler.memory_timeline"),
    ],
)
def test_a_bare_profiler_does_not_do_what_the_harness_does(
    settings: list[str], refused: str
) -> None:
    planned = harness.plan(harness.compose("device=cpu", *settings))
    with pytest.raises(harness.RefusedError) as error:
        harness.build_profiler(planned)
    assert [problem.setting for problem in error.value.problems] == [refused]
