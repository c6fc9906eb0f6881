"""What a file asks for becomes settings that compose, or is named; no file breaks anything."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines import SOURCES, TARGETS
from harness.engines.exporting import asked, export, is_judged
from harness.engines.importing import Imported, imported, read_file, reading
from harness.engines.notations import OVERRIDES, TOML, YAML, UnreadableError
from harness.errors import RefusedError
from tests.support.composing import composed


def taken(text: str, target: str = "", device: str = "") -> Imported:
    return imported(reading(text, "file", target, device))


def words(text: str, target: str = "", device: str = "") -> str:
    return " ".join(taken(text, target, device).words)


ROUND_TRIPS = [
    ("sglang", "body", "device=npu profiler=sglang profiler.schedule.warmup=0"),
    (
        "sglang",
        "command",
        (
            "device=cuda profiler=level2 profiler.profile_memory=false"
            " profiler.experimental.enable_cuda_sync_events=false profiler.schedule.warmup=0"
        ),
    ),
    ("vllm", "config", "device=cuda profiler=level1 profiler.schedule.skip_first=3"),
    ("vllm", "body", "device=cpu profiler=memory profiler.schedule.warmup=0 name=probe"),
    ("dynamic_profile", "file", "device=npu profiler=level2 profiler.ranks=[0,2]"),
    ("dynamic_profile", "file", "device=npu profiler=markers"),
    ("dynamic_profile", "dyno", "device=npu profiler=level1 profiler.schedule.warmup=0"),
    ("python", "snippet", "device=npu profiler=level2 profiler.schedule.skip_first_wait=0"),
    ("python", "snippet", "device=cuda profiler=level2 profiler.schedule.repeat=2"),
    ("python", "snippet", "device=cpu profiler=memory profiler.experimental.trace_only=false"),
    ("verl", "ref", "device=cuda profiler=memory"),
    (
        "verl",
        "actor",
        (
            "device=npu profiler=level1 profiler.schedule.warmup=0"
            " profiler.experimental.msprof_tx=true profiler.experimental.export_type=[Db]"
            " profiler.experimental.mstx_domain_exclude=[communication]"
        ),
    ),
]


@pytest.mark.parametrize(("name", "form_name", "settings"), ROUND_TRIPS)
def test_an_export_is_imported_as_what_it_was(name: str, form_name: str, settings: str) -> None:
    request = composed(*settings.split())
    target = TARGETS[name]
    form = next(
        form
        for form in target.releases[0].forms
        if form.name == form_name and form.device == request.device.name
    )
    done = export(request, target, target.releases[0], form, "captures")
    assert not done.lost
    back = taken(done.text, device=request.device.name)
    assert back.reading.target.name == name
    assert (back.meaning.unmatched, back.problems) == ((), ())
    assert back.request is not None
    wanted, has = asked(request), asked(back.request)
    assert {name: has[name] for name in wanted if is_judged(name)} == {
        name: value for name, value in wanted.items() if is_judged(name)
    }


TITAN = """
[model]
name = "llama3"
[profiler]
enable_profiling = true
profile_freq = 100
profiler_active = 2
enable_memory_snapshot = true
"""
MEGATRON = """
python pretrain_gpt.py --profile --profile-step-start 5 --profile-step-end 8 \\
    --use-pytorch-profiler --pytorch-profiler-collect-shapes --profile-ranks 0,7
"""
LIGHTNING = """
trainer:
  profiler:
    class_path: lightning.pytorch.profilers.PyTorchProfiler
    init_args: {dirpath: traces, row_limit: 50}
    dict_kwargs: {record_shapes: true, with_stack: true}
"""
PROGRAM = """
import torch
activities = [torch.profiler.ProfilerActivity.CPU]
cycle = torch.profiler.schedule(wait=2, warmup=1, active=4, repeat=1)
with torch.profiler.profile(activities=activities, schedule=cycle, with_stack=True) as profiler:
    pass
"""


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (
            TITAN,
            "torchtitan",
            (
                "device=cuda profiler=default profiler.schedule.wait=95 profiler.schedule.warmup=3"
                " profiler.schedule.repeat=0 profiler.schedule.active=2"
            ),
        ),
        (
            MEGATRON,
            "megatron",
            "device=cuda profiler=default profiler.schedule.wait=4 profiler.ranks=[0,7]",
        ),
        (
            LIGHTNING,
            "lightning",
            (
                "device=cuda profiler=default profiler.with_stack=true profiler.schedule.wait=1"
                " profiler.schedule.repeat=0"
            ),
        ),
        (
            json.dumps({"schedule_option": {"wait": 1, "active": 2}, "profile_memory": True}),
            "accelerate",
            (
                "device=cuda profiler=level0 profiler.profile_memory=true profiler.schedule.wait=1"
                " profiler.schedule.warmup=0 profiler.schedule.repeat=0 profiler.schedule.active=2"
            ),
        ),
        (
            PROGRAM,
            "python",
            (
                "device=cpu profiler=level0 profiler.with_stack=true profiler.schedule.wait=2"
                " profiler.schedule.active=4"
            ),
        ),
    ],
)
def test_frameworks_are_told_by_their_fields(text: str, target: str, expected: str) -> None:
    found = reading(text, "file", target if target in ("lightning", "accelerate") else "")
    assert found.target.name == target
    assert " ".join(imported(found).words) == expected


def test_what_is_written_as_toml_reads_back() -> None:
    fields = {"profiler.folder": 'a "b"', "profiler.freq": 10, "profiler.on": True, "steps": [1, 2]}
    assert TOML.values(TOML.text({**fields, "profiler.none": None})) == fields


def test_what_has_no_counterpart_is_named() -> None:
    done = taken(json.dumps({"num_steps": 4, "profile_by_stage": True, "start_step": 9, "x": 1}))
    assert [(name, value) for name, value, _ in done.meaning.unmatched] == [
        ("start_step", 9),
        ("profile_by_stage", True),
        ("x", 1),
    ]
    done = taken(json.dumps({"activities": ["CPU", "RPD"], "num_steps": None}))
    assert [why for *_, why in done.meaning.unmatched] == [
        "profiler.activities has no counterpart of RPD",
        "without it, sglang records until /stop_profile",
    ]


def test_a_body_without_a_prefix_leaves_the_name_alone() -> None:
    done = taken('{"num_steps": 4, "with_stack": false}')
    assert done.problems == ()
    assert not any(word.startswith("name=") for word in done.words)
    assert "name=probe" in taken('{"num_steps": 4, "profile_prefix": "probe"}').words


def test_what_torch_npu_would_reset_is_refused() -> None:
    config = {
        "activities": ["CPU", "NPU"],
        "active": 2,
        "start_step": -1,
        "experimental_config": {"profiler_level": "Level0", "aic_metrics": "PipeUtilization"},
    }
    done = taken(json.dumps(config))
    assert [problem.setting for problem in done.problems] == ["profiler.experimental.aic_metrics"]
    assert done.request is None


def unmatched(done: Imported) -> list[tuple[str, Any]]:
    return [(name, value) for name, value, _ in done.meaning.unmatched]


def test_a_switch_is_true_or_false() -> None:
    # torch_npu takes each of these for false, and data_simplification for true.
    config = {"l2_cache": "true", "data_simplification": "false"}
    text = json.dumps({"record_shapes": 1, "active": 2, "experimental_config": config})
    done = taken(text, "dynamic_profile")
    assert [name for name, _ in unmatched(done)] == [
        "activities",
        "record_shapes",
        "experimental_config.l2_cache",
        "experimental_config.data_simplification",
    ]
    assert done.meaning.asked["profiler.record_shapes"] is False
    assert done.meaning.asked["profiler.experimental.l2_cache"] is False
    assert done.meaning.asked["profiler.experimental.data_simplification"] is True


def test_a_name_with_a_dot_is_no_path() -> None:
    text = '{"activities": ["CPU"], "active": 3, "experimental_config.profiler_level": "Level2"}'
    done = taken(text, "dynamic_profile")
    assert unmatched(done) == [('"experimental_config.profiler_level"', "Level2")]
    assert done.meaning.asked["profiler.experimental.profiler_level"] == "Level0"


def test_another_role_of_verl_that_is_profiled_is_named() -> None:
    text = (
        "global_profiler.tool=npu global_profiler.steps=[1,2] critic.profiler.enable=true"
        " actor_rollout_ref.actor.profiler.enable=true actor_rollout_ref.ref.profiler.enable=false"
        " actor_rollout_ref.actor.profiler.tool_config.npu.contents=[npu,cpu]"
    )
    assert unmatched(taken(text)) == [("critic.profiler.enable", True)]


def test_an_option_of_megatron_may_have_several_values() -> None:
    text = (
        "torchrun pretrain_gpt.py --profile --use-pytorch-profiler --profile-ranks 0 2"
        " --profile-step-start 4"
    )
    assert "profiler.ranks=[0,2]" in taken(text, "megatron").words


@pytest.mark.parametrize(
    "text",
    [
        (
            "python pretrain_gpt.py --num-layers 12 --train-iters 100 --use-pytorch-profiler"
            " --pytorch-profiler-collect-shape --no-record-shapes"
        ),
        (
            "{num_layers: 12, train_iters: 100, use_pytorch_profiler: true,"
            " pytorch_profiler_collect_shape: true, no_record_shapes: true}"
        ),
    ],
)
def test_of_a_whole_program_only_what_looks_like_the_profiler_s_is_named(text: str) -> None:
    names = ["pytorch_profiler_collect_shape", "no_record_shapes"]
    assert [name for name, _ in unmatched(taken(text, "megatron"))] == names


@pytest.mark.parametrize(
    "text",
    [
        '{"profiler": "torch", "torch_profiler_dir": "/tmp/x", "max_iterations": 5}',
        (
            "vllm serve m --tensor-parallel-size 2 --max-model-len 4096 --profiler-config"
            ' \'{"profiler": "torch", "torch_profiler_dir": "/tmp/x", "max_iterations": 5}\''
        ),
        'vllm serve m --profiler_config=\'{"profiler": "torch", "max_iterations": 5}\' --port 1',
        (
            "export HF_HOME=/data\nvllm serve m --profiler-config.profiler torch \\\n"
            "    --profiler-config.torch_profiler_dir=/tmp/x --profiler-config.max_iterations 5\n"
        ),
        (
            'vllm serve m --profiler-config \'{"profiler": "torch", "max_iterations": 4}\''
            " --profiler-config.max_iterations=5"
        ),
    ],
)
def test_the_profiler_of_vllm_is_read_in_the_command_that_starts_it(text: str) -> None:
    done = taken(text, "vllm")
    assert done.request is not None
    assert done.request.profiler.schedule.active == 5
    assert unmatched(done) == []


@pytest.mark.parametrize(
    "text",
    ["vllm serve m --profiler-config", "vllm serve m --profiler-config torch", "vllm serve m"],
)
def test_a_command_without_a_profiler_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as raised:
        reading(text, "run.sh", "vllm")
    (problem,) = raised.value.problems
    assert ("vllm cannot read it: --profiler-config: it is no JSON" in problem.reason) == (
        "--profiler-config" in text
    )


def test_a_value_among_hydra_s_words_is_one() -> None:
    assert OVERRIDES.values("steps={a: 1}".replace(" ", "\\ ")) == {"steps.a": 1}
    with pytest.raises(UnreadableError, match="the value of steps is several lines"):
        OVERRIDES.values("steps='1\nb: 2'")


PROFILE = "profile(schedule=schedule(active=active), with_stack=stack)"


@pytest.mark.parametrize(
    "more",
    [
        "active += 1",
        "for active in range(3): pass",
        "def f(active): pass",
        "import active",
        "from x import y as active",
        "(active, b) = (1, 2)",
        "print(active := 5)",
    ],
)
def test_a_name_that_is_bound_twice_is_no_constant(more: str) -> None:
    text = f"from torch.profiler import profile, schedule\nactive = 3\nstack = False\n{PROFILE}\n"
    assert taken(text).meaning.asked["profiler.schedule.active"] == 3
    with pytest.raises(
        RefusedError, match=r"python cannot read it: line \d: schedule.active is no"
    ):
        taken(f"{more}\n{text}")


@pytest.mark.parametrize("more", ["acts.append(ProfilerActivity.CUDA)", "acts[0] = 1", "del acts"])
def test_a_list_that_is_changed_is_no_constant(more: str) -> None:
    text = (
        "acts = [ProfilerActivity.CPU]\n{}\nprofile(activities=acts, schedule=schedule(active=2))"
    )
    assert taken(text.format("")).words[0] == "device=cpu"
    with pytest.raises(RefusedError, match="activities is no constant"):
        taken(text.format(more))


def test_an_attribute_is_no_value_of_a_switch() -> None:
    with pytest.raises(RefusedError, match="with_stack is no constant"):
        taken("profile(with_stack=args.stack, schedule=schedule(active=2))")


def test_arguments_of_torch_that_change_what_is_recorded_are_named() -> None:
    text = (
        "profile(use_cuda=False, execution_trace_observer=ExecutionTraceObserver(),"
        " custom_trace_id_callback=None, on_trace_ready=f(), schedule=schedule(active=2, repeat=1))"
    )
    assert unmatched(taken(text)) == [
        ("use_cuda", "False"),
        ("execution_trace_observer", "ExecutionTraceObserver()"),
    ]


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        (f"profiler_active = {'9' * 5000}", "torchtitan", "cannot read it"),
        ("steps={a:1}", "verl", "no field in it is one of verl"),
        ("{}", "", "no field in it is one of sglang, vllm"),
        ("not: [a", "sglang", "sglang cannot read it: it is no YAML"),
        ('{"a": 1, "a": 2}', "vllm", "vllm cannot read it"),
        ("a: &x [1]\nb: *x", "verl", "verl cannot read it: it is no YAML: aliases are not read"),
        ("- 1", "vllm", "vllm cannot read it: it must be a YAML mapping of named fields"),
        ("print(1)", "python", "python cannot read it: it calls no profile() of torch"),
        ("profile(a=f())", "python", "a is no constant, and nothing is run"),
        ("profile(a=1); profile(a=2)", "python", "it makes several profilers, in lines 1, 1"),
        ("x = x\nprofile(with_stack=x)", "python", "a name stands for itself"),
        ("(" * 5000, "python", "it is no Python"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, target: str, reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        reading(text, "settings.txt", target)
    (problem,) = caught.value.problems
    assert problem.setting == "settings.txt"
    assert problem.reason.startswith(reason) or reason in problem.reason


def test_two_targets_with_the_same_fields_are_both_named() -> None:
    with pytest.raises(RefusedError) as caught:
        reading('{"profiler": "torch", "torch_profiler_dir": "x"}', "file")
    assert caught.value.problems[0].fix == "--target vllm, or --target vllm-ascend"


def test_no_file_of_this_name(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b" " * ((1 << 20) + 1))
    for path in (tmp_path / "none", tmp_path, tmp_path / "bytes", tmp_path / "large"):
        with pytest.raises(RefusedError, match="it cannot be read"):
            read_file(path)


@pytest.mark.parametrize("text", ['{"a": ' + "[" * 60 + "]" * 60 + "}", "(" * 51])
def test_a_file_of_too_many_brackets_is_not_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.json").write_text(text)
    with pytest.raises(RefusedError, match="its brackets are nested more than 50 deep"):
        read_file(tmp_path / "deep.json")


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("num_steps: " + "[" * 49 + "]" * 49, True),
        ("num_steps:\n " + "- " * 50 + "1", False),
        ("\n".join(" " * level + "num_steps:" for level in range(60)) + " 1", False),
    ],
)
def test_yaml_that_is_nested_without_brackets_is_bounded_too(text: str, is_read: bool) -> None:
    with nullcontext() if is_read else pytest.raises(UnreadableError, match="more than 50 deep"):
        YAML.values(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)
NAMES = sorted(
    {field.name for target in [*TARGETS.values(), *SOURCES.values()]
     for release in target.releases for form in release.forms for field in form.fields}
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), VALUES, max_size=4),
    st.sampled_from([*TARGETS, *SOURCES]),
)
def test_any_values_are_imported_or_refused(fields: dict[str, Any], target: str) -> None:
    try:
        found = reading(json.dumps(fields), "file", target)
    except RefusedError:
        return
    done = imported(found)
    assert (done.request is None) == bool(done.problems)


@given(st.text(max_size=60))
def test_any_text_is_imported_or_refused(text: str) -> None:
    for target in [*TARGETS, *SOURCES]:
        with suppress(RefusedError):
            assert reading(text, "file", target).target.name == target
