"""An export says all that is asked, or what it does not say: for each target, and each profile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from harness.configuration.validate import problems
from harness.engines import TARGETS
from harness.engines.base import Form, Release, Target, meaning
from harness.engines.exporting import Export, asked, export, is_judged, same
from harness.settings.npu import NpuExperimental
from harness.settings.request import Request, Schedule
from tests.support.composing import composed

CHOICES = [
    pytest.param(target, release, form, id=f"{target.name}-{form.device}-{form.name}")
    for target in TARGETS.values()
    for release in target.releases
    for form in release.forms
]


def exported(name: str, form_name: str, *settings: str) -> Export:
    request = composed(*settings)
    target = TARGETS[name]
    release = target.releases[0]
    form = next(
        form
        for form in release.forms
        if form.name == form_name and form.device == request.device.name
    )
    return export(request, target, release, form, "captures")


def lost(done: Export) -> dict[str, str]:
    return {problem.setting: problem.given for problem in done.lost}


def test_the_story_of_sglang_is_one_export() -> None:
    settings = ("device=npu", "profiler=sglang", "profiler.schedule.warmup=0")
    done = exported("sglang", "body", *settings)
    assert not done.lost
    assert json.loads(done.text) == {
        "activities": ["CPU", "GPU"],
        "with_stack": True,
        "record_shapes": True,
        "num_steps": 3,
        "output_dir": "captures",
    }


def test_what_sglang_hard_codes_is_named_with_what_it_does() -> None:
    done = exported("sglang", "body", "device=npu", "profiler=level2")
    assert lost(done) == {
        "profiler.profile_memory": "true",
        "profiler.schedule.warmup": "1",
        "profiler.experimental.profiler_level": "Level2",
        "profiler.experimental.l2_cache": "true",
        "profiler.experimental.data_simplification": "true",
    }
    level = next(item for item in done.lost if item.setting.endswith("profiler_level"))
    assert str(level) == (
        "profiler.experimental.profiler_level=Level2: sglang 0.5.23 has Level1 in any case"
        " (sglang hard-codes its experimental_config).\n"
        "    fix: profiler.experimental.profiler_level=Level1, or --partial exports the rest"
    )


def test_what_vllm_ascend_ignores_is_written_and_named() -> None:
    done = exported("vllm-ascend", "config", "device=npu", "profiler.schedule.warmup=0")
    assert lost(done) == {"profiler.record_shapes": "true"}
    assert "does not forward it to torch_npu; it does false" in done.lost[0].reason
    assert json.loads(done.text)["torch_profiler_record_shapes"] is True


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ((), {"warmup_iterations": 1, "active_iterations": 3, "wait_iterations": 0}),
        (("profiler.schedule.warmup=0",), {"max_iterations": 3}),
        (
            ("profiler.schedule.skip_first=7", "profiler.schedule.wait=2"),
            {
                "delay_iterations": 7,
                "wait_iterations": 2,
                "warmup_iterations": 1,
                "active_iterations": 3,
            },
        ),
    ],
)
def test_vllm_has_two_ways_to_end_a_window(
    settings: tuple[str, ...], fields: dict[str, int]
) -> None:
    done = exported("vllm", "config", "device=cuda", *settings)
    assert not done.lost
    iterations = {name: value for name, value in done.values.items() if "iterations" in name}
    assert iterations == {"delay_iterations": 0, **fields}


def test_verl_counts_training_steps_from_one() -> None:
    schedule = ("profiler.schedule.warmup=0", "profiler.schedule.skip_first=4")
    done = exported("verl", "critic", "device=npu", *schedule)
    assert done.values["global_profiler.steps"] == [5, 6, 7]
    assert done.values["critic.profiler.all_ranks"] is True
    assert "profiler.schedule.skip_first" not in lost(done)
    ranks = exported("verl", "critic", "device=npu", "profiler.ranks=[1,3]")
    assert ranks.values["critic.profiler.ranks"] == [1, 3]
    assert "profiler.ranks" not in lost(ranks)


def test_dyno_takes_words() -> None:
    settings = ("device=npu", "profiler=level1", "profiler.schedule.warmup=0", "profiler.ranks=[0]")
    done = exported("dynamic_profile", "dyno", *settings)
    assert not done.lost
    assert done.text == (
        "dyno --certs-dir NO_CERTS nputrace --start-step -1 --iterations 3 --record-shapes"
        " --analyse --activities CPU,NPU --profiler-level Level1 --aic-metrics PipeUtilization"
        " --data-simplification true --export-type Text --rank-list 0 --log-file captures\n"
    )


def test_python_says_everything_but_what_is_the_harness_s_own() -> None:
    for device in ("cpu", "cuda", "npu"):
        for profile in ("level0", "level1", "level2", "memory"):
            done = exported("python", "snippet", f"device={device}", f"profiler={profile}")
            assert not done.lost, (device, profile)
    stacks = exported("python", "snippet", "profiler=stacks")
    assert lost(stacks) == {"profiler.with_lines": "true"}


SWITCH = st.booleans()
FEW = st.integers(0, 3)
SCHEDULES = st.builds(
    Schedule,
    skip_first=FEW,
    wait=FEW,
    warmup=FEW,
    active=st.integers(1, 4),
    repeat=st.integers(1, 2),
)
EXPERIMENTAL = st.builds(
    NpuExperimental,
    profiler_level=st.sampled_from(["Level0", "Level1", "Level2"]),
    aic_metrics=st.sampled_from([None, "PipeUtilization", "L2Cache", "AiCoreNone"]),
    l2_cache=SWITCH,
    mstx=SWITCH,
    op_attr=SWITCH,
    data_simplification=SWITCH,
    record_op_args=SWITCH,
    gc_detect_threshold=st.sampled_from([None, 0.0, 1.5]),
    export_type=st.sampled_from([("Text",), ("Db",), ("Text", "Db")]),
    host_sys=st.sampled_from([(), ("CPU",), ("CPU", "MEM")]),
    mstx_domain_exclude=st.sampled_from([(), ("communication",)]),
)


@st.composite
def requests(draw: st.DrawFn, device: str) -> Request:
    """A request of any settings that the device takes, whether or not they go together."""
    request = composed(f"device={device}")
    profiler = request.profiler
    changes: dict[str, Any] = {
        name: draw(SWITCH)
        for name in ("record_shapes", "with_stack", "profile_memory", "with_flops", "with_modules")
    }
    changes["schedule"] = draw(SCHEDULES)
    changes["ranks"] = draw(st.sampled_from([None, (0,), (0, 3)]))
    changes["activities"] = draw(st.sampled_from([("host",), profiler.activities]))
    changes["analyse"] = draw(st.sampled_from(["now", "later"]))
    if device == "npu":
        changes["experimental"] = draw(EXPERIMENTAL)
    return replace(request, profiler=replace(profiler, **changes), name=draw(st.sampled_from("ab")))


@pytest.mark.parametrize(("target", "release", "form"), CHOICES)
@given(data=st.data())
def test_nothing_is_lost_in_silence(
    target: Target, release: Release, form: Form, data: st.DataObject
) -> None:
    request = data.draw(requests(form.device))
    done = export(request, target, release, form, "captures")
    wanted, named = asked(request), lost(done)
    # What is written down reads back as what was exported, and means it.
    back = meaning(form, form.notation.values(done.text))
    assert back.done == meaning(form, done.values).done
    assert back.unmatched == ()
    for setting, value in wanted.items():
        if is_judged(setting):
            kept = same(back.done[setting], value)
            assert kept != (setting in named), setting
    assert set(named) <= set(wanted)


def test_a_fix_is_the_value_that_the_target_has() -> None:
    settings = ("device=npu", "profiler=level2")
    done = exported("sglang", "body", *settings)
    fixes = tuple(problem.fix.split(",")[0] for problem in done.lost)
    assert problems(composed(*settings, *fixes)) == []
    assert not exported("sglang", "body", *settings, *fixes).lost
