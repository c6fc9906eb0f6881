"""Every field of an engine's settings, or a framework's, is mapped or named as unmatched."""

from __future__ import annotations

import pytest

from harness.engines import SOURCES, TARGETS
from harness.engines.base import Form, bare
from harness.execution.plan import requested
from harness.settings.schema import flatten
from tests.support.composing import composed

KNOWN = {**TARGETS, **SOURCES}
FORMS = [
    pytest.param(form, id=f"{target.name}-{release.version}-{form.device}-{form.name}-{number}")
    for target in KNOWN.values()
    for release in target.releases
    for number, form in enumerate(release.forms)
]
OURS = frozenset(requested(composed("device=npu"))) | frozenset(requested(composed()))

# The names that each target's own documentation or source has, by target and form.
FIELDS = {
    ("sglang", "body"): (
        "req_type output_dir start_step num_steps activities profile_by_stage profile_stages"
        " with_stack record_shapes profile_id merge_profiles profile_prefix detailed_annotations"
    ),
    ("sglang", "command"): (
        "url output-dir num-steps profile-by-stage profile-prefix cpu gpu mem rpd merge-profiles"
        " SGLANG_PROFILE_WITH_STACK SGLANG_PROFILE_RECORD_SHAPES SGLANG_PROFILE_V2"
        " SGLANG_TORCH_PROFILER_DIR"
    ),
    ("vllm", "config"): (
        "profiler torch_profiler_dir torch_profiler_activities torch_profiler_with_stack"
        " torch_profiler_with_flops torch_profiler_use_gzip torch_profiler_dump_cuda_time_total"
        " torch_profiler_record_shapes torch_profiler_with_memory capture_torch_profiler"
        " detailed_trace_annotation ignore_frontend delay_iterations max_iterations"
        " warmup_iterations active_iterations wait_iterations proton_profiler_dir proton_context"
        " proton_data proton_backend proton_mode proton_hook proton_output_format"
        " proton_graph_attribution"
    ),
    ("vllm", "body"): (
        "profile_prefix delay_iterations max_iterations profiler_kwargs.record_shapes"
        " profiler_kwargs.with_stack profiler_kwargs.profile_memory profiler_kwargs.with_flops"
        " profiler_kwargs.with_modules"
    ),
    ("verl", "actor"): (
        "global_profiler.tool global_profiler.steps global_profiler.profile_continuous_steps"
        " global_profiler.save_path global_profiler.relocate_results"
        " global_profiler.finish_hook_cmd global_profiler.finish_hook_all_ranks"
        " global_profiler.finish_hook_ranks actor_rollout_ref.actor.profiler.enable"
        " actor_rollout_ref.actor.profiler.all_ranks actor_rollout_ref.actor.profiler.ranks"
        " actor_rollout_ref.actor.profiler.tool_config.torch_memory.trace_alloc_max_entries"
        " actor_rollout_ref.actor.profiler.tool_config.torch_memory.stack_depth"
        " actor_rollout_ref.actor.profiler.tool_config.torch_memory.memory_snapshot_num_steps"
        " actor_rollout_ref.actor.profiler.tool_config.nsys.discrete"
        " global_profiler.global_tool_config.nsys.controller_nsight_options"
        " global_profiler.global_tool_config.nsys.worker_nsight_options"
    ),
    ("dynamic_profile", "file"): (
        "activities prof_dir analyse async_mode record_shapes profile_memory with_stack with_flops"
        " with_modules active warmup start_step is_rank rank_list metadata"
        " experimental_config.profiler_level experimental_config.aic_metrics"
        " experimental_config.l2_cache experimental_config.op_attr"
        " experimental_config.record_op_args experimental_config.msprof_tx"
        " experimental_config.mstx experimental_config.sys_io"
        " experimental_config.sys_interconnection experimental_config.data_simplification"
        " experimental_config.gc_detect_threshold experimental_config.export_type"
        " experimental_config.host_sys experimental_config.mstx_domain_include"
        " experimental_config.mstx_domain_exclude"
    ),
    ("dynamic_profile", "dyno"): (
        "iterations start-step log-file record-shapes profile-memory with-stack with-flops"
        " with-modules analyse async-mode l2-cache op-attr msprof-tx mstx-domain-include"
        " mstx-domain-exclude rank-list data-simplification activities profiler-level aic-metrics"
        " export-type gc-detect-threshold host-sys sys-io sys-interconnection profile-start-time"
        " certs-dir job-id pids process-limit duration-ms"
    ),
    ("torchtitan", "file"): (
        "enable_profiling save_traces_folder profile_freq profiler_active profiler_warmup"
        " profiler_repeat profiler_skip_first profiler_skip_first_wait enable_memory_snapshot"
        " memory_snapshot_freq save_memory_snapshot_folder memory_snapshot_max_entries"
        " trace_post_processor"
    ),
    ("megatron", "file"): (
        "use_nsys_profiler profile_step_start profile_step_end use_pytorch_profiler"
        " pytorch_profiler_collect_shapes pytorch_profiler_collect_callstack"
        " pytorch_profiler_collect_chakra profile_ranks record_memory_history"
        " memory_snapshot_path record_shapes nvtx_ranges"
    ),
    ("accelerate", "file"): (
        "activities schedule_option.wait schedule_option.warmup schedule_option.active"
        " schedule_option.repeat schedule_option.skip_first on_trace_ready record_shapes"
        " profile_memory with_stack with_flops with_modules output_trace_dir"
    ),
    ("lightning", "file"): (
        "dirpath filename group_by_input_shapes emit_nvtx export_to_chrome row_limit sort_by_key"
        " record_module_names table_kwargs"
    ),
    ("torchtune", "file"): (
        "enabled cpu cuda xpu hpu profile_memory with_stack record_shapes with_flops wait_steps"
        " warmup_steps active_steps num_cycles"
    ),
    ("mindformers", "file"): (
        "start_step stop_step profile_rank_ids profiler_level with_stack data_simplification mstx"
    ),
    ("ms_service_profiler", "file"): (
        "enable prof_dir profiler_level acl_task_time acl_prof_task_time_level timelimit domain"
        " torch_prof_stack torch_prof_step_num profiler_step_num"
    ),
}


@pytest.mark.parametrize(("target", "form"), FIELDS)
def test_no_field_of_a_target_is_forgotten(target: str, form: str) -> None:
    names = set(FIELDS[target, form].split())
    forms = [known for known in KNOWN[target].releases[0].forms if known.name == form]
    assert forms
    for known in forms:
        assert not names - {field.name for field in known.fields}


def test_vllm_ascend_takes_the_fields_of_vllm() -> None:
    fields = {field.name for field in TARGETS["vllm-ascend"].releases[0].forms[0].fields}
    assert fields == set(FIELDS["vllm", "config"].split())


def test_verl_has_contents_level_and_windows_for_each_tool() -> None:
    for form in TARGETS["verl"].releases[0].forms:
        tool = "npu" if form.device == "npu" else "torch"
        role = {"actor": "actor_rollout_ref.actor", "ref": "actor_rollout_ref.ref"}
        options = f"{role.get(form.name, form.name)}.profiler.tool_config.{tool}."
        names = {field.name.removeprefix(options) for field in form.fields}
        assert {"contents", "discrete", "profile_token_start", "profile_token_end"} <= names
        assert names >= ({"level", "analysis"} if tool == "npu" else {"schedule.active"})


@pytest.mark.parametrize("form", FORMS)
def test_a_field_is_a_setting_of_ours_or_says_what_it_is(form: Form) -> None:
    names = [field.name for field in form.fields]
    assert len(names) == len(set(names))
    for field in form.fields:
        if field.setting:
            assert field.setting in OURS, field.name
            assert not field.about
        else:
            assert bool(field.about) != field.placed, field.name
    assert set(form.fixed) <= set(bare(form.device))
    assert not form.folder or form.field(form.folder) is not None


@pytest.mark.parametrize("device", ["cpu", "cuda", "npu"])
def test_a_profiler_that_is_told_nothing_has_every_recorded_setting(device: str) -> None:
    from harness.engines.exporting import asked, is_judged

    judged = {name for name in asked(composed(f"device={device}")) if is_judged(name)}
    assert judged - set(bare(device)) == {"profiler.schedule.active"}
    assert dict(flatten(bare(device))) == bare(device)
