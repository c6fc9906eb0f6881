"""The table of torch_npu's silent rules, continued: what shows in captures and their analysis."""

from __future__ import annotations

from tests.npu.silent_rules import (
    NO_DATABASE,
    SETTINGS,
    E,
    P,
    demanded,
    handed,
    refused,
    unreachable,
    words,
)

RECORDED = "a schedule that goes from WARMUP or RECORD to NONE"
BAD_NAMES = "a folder or worker whose name it does not take"
EXCEPTIONS = "something that raises in start, stop, step, export or analyse"
OTHER_PROFILER = "PROFILER_SAMPLECONFIG or PROFILING_MODE in the environment"
REJECTED = "host_sys or sys_io that CANN rejects"
TIMELINE = "a memory timeline without shapes, memory or stacks"
DYNAMIC = "the dynamic profiler with a bad configuration"
ONCE = "the harness builds one profiler in a process of its own, and steps it itself"

CAPTURES = [
    refused(
        NO_DATABASE,
        "default_database",
        {"without": False, "with": True},
        f"{E}.op_attr",
        typed=words(op_attr=True, export_type=["Text"]),
    ),
    refused(
        "a threshold for garbage collections without the activity of the host",
        "collections_without_host",
        {"CPU": 1, "NPU": 0},
        f"{E}.gc_detect_threshold",
        says="GC detect will not take effect",
        typed=("profiler=level0", f"{P}.activities=[device]", *words(gc_detect_threshold=0)),
    ),
    refused(
        "experimental settings without the activity of the device",
        "settings_without_device",
        {"calls": 0},
        f"{E}.l2_cache",
        says="Experimental config will not be used",
        typed=(f"{P}.activities=[host]", *words(l2_cache=True)),
    ),
    handed(
        "torch.profiler.schedule in place of torch_npu's",
        "schedule_of_torch",
        {"captures": 0},
        arrives={"schedule": "torch_npu", "schedule by steps": True},
    ),
    refused(
        "a stop in WARMUP",
        "stop_in_warmup",
        {"begun": 1, "captures": 0},
        "workload.steps",
        says="Stop profiler while current state is WARMUP",
        typed=("workload.steps=1",),
    ),
    refused(
        "a stop in RECORD",
        "stop_in_record",
        {"captures": 1},
        "workload.steps",
        says="Stop profiler while current state is RECORD",
        typed=("workload.steps=3",),
    ),
    handed(
        "no schedule",
        "no_schedule",
        {"captures": 1},
        says="Stop profiler while current state is RECORD",
        arrives={"schedule by steps": True},
    ),
    unreachable(
        RECORDED,
        "warmup_to_none",
        {"captures": 1, "handler called": 0},
        "torch_npu's own schedule, which is used, never goes there",
        says="WARMUP followed by NONE",
    ),
    unreachable(
        RECORDED,
        "record_to_none",
        {"captures": 1, "handler called": 0},
        "torch_npu's own schedule, which is used, never goes there",
        says="RECORD followed by NONE",
    ),
    unreachable(
        "step() after stop()",
        "step_after_stop",
        {"steps": 0},
        ONCE,
        says="step takes no effect",
    ),
    handed(
        "no trace handler",
        "no_handler",
        {"captures": 0, "analysed": [], "stopped": True},
        arrives={"handler": True},
    ),
    unreachable("two trace handlers", "two_handlers", {"first": 0, "second": 1}, ONCE),
    unreachable(
        BAD_NAMES,
        "names",
        {
            "worker 7": [None, None],
            "long worker": [None, None],
            "folder 7": [None, None],
            "no name": [None, None],
        },
        "the harness gives the run folder, and leaves the worker's name alone",
        says="Invalid parameter worker_name, reset it to default",
        absent=("worker_name", "dir_name"),
    ),
    unreachable(
        BAD_NAMES,
        "folder_refused",
        {"handler": None, "export_only_prof_dir": 1},
        "the harness makes the run folder, and stops if there is no handler for it",
        says="Call tensorboard_trace_handler failed",
    ),
    demanded(
        EXCEPTIONS,
        "start_raises",
        {"captures": 0},
        f"{P}.schedule",
        says="Call start failed. Exception: Failed to make directory",
    ),
    demanded(
        EXCEPTIONS,
        "step_raises",
        {"captures": 1},
        f"{P}.schedule",
        says="Call step failed. Exception: of the handler",
    ),
    demanded(
        EXCEPTIONS,
        "stop_raises",
        {"captures": 1},
        f"{P}.schedule",
        says="Call stop failed. Exception: of the handler",
    ),
    unreachable(
        EXCEPTIONS,
        "export_raises",
        {"exported": 0},
        "the harness exports nothing by torch_npu",
        says="Call export_chrome_trace failed",
        absent=("export_chrome_trace", "export_stacks"),
    ),
    demanded(
        EXCEPTIONS,
        "analyse_raises",
        {"answer": None},
        f"{P}.activities",
        says="Call analyse failed. Exception: The path does not exist",
    ),
    *(
        refused(
            OTHER_PROFILER,
            kind,
            {"files": 0},
            f"device.environment.{variable}",
            **{shown: "profiler api is not effective"},
            typed=(f"device.environment.{variable}=on",),
        )
        for kind, variable, shown in (
            ("off: PROFILER_SAMPLECONFIG", "PROFILER_SAMPLECONFIG", "says"),
            ("off: PROFILING_MODE", "PROFILING_MODE", "hides"),
        )
    ),
    demanded(
        "op_attr of a CANN without ATTR",
        "attributes",
        {"asked of CANN": False, "profiler_info": True},
        f"{E}.op_attr",
        says="do not support feature: ATTR",
        typed=words(op_attr=True, export_type=["Db"]),
    ),
    demanded(
        "shapes at Level0 of a CANN without AICORE_SHAPE",
        "shapes_at_level0",
        {"asked of CANN": False},
        f"{P}.record_shapes",
        says="do not support feature: AICORE_SHAPE",
        typed=("profiler=level0", f"{P}.record_shapes=true"),
    ),
    demanded(
        "MemoryAccess of a CANN without it",
        "memory_access",
        {"asked of CANN": "PipeUtilization", "profiler_info": "ACL_AICORE_MEMORY_ACCESS"},
        f"{E}.aic_metrics",
        says="reset to default",
        typed=words(aic_metrics="MemoryAccess"),
    ),
    *(
        demanded(
            REJECTED,
            "rejected",
            {"refused": [5, 8], "captures": 1},
            f"{E}.{name}",
            typed=words(**{name: value}),
        )
        for name, value in (("host_sys", ["CPU"]), ("sys_io", True))
    ),
    demanded(
        "a profiler that CANN cannot start",
        "start_fails",
        {"analyse.done": True, "kernel_details.csv": False},
        f"{P}.activities",
    ),
    refused(
        "with_flops without marks",
        "flops",
        {"alone": [], "mstx": ["128-mm"], "another domain": []},
        "profiler.with_flops",
        typed=("profiler.with_flops=true",),
    ),
    demanded(
        "domains of marks without ASCEND_HOME_PATH in the environment",
        "alone: domains_without_home",
        {"mark": "default", "range": "mine"},
        f"{E}.mstx_domain_include",
        typed=words(mstx=True, mstx_domain_include=["mine"]),
    ),
    refused(
        TIMELINE,
        "timeline_without_needs",
        {"exported": False},
        "profiler.memory_timeline",
        says="required for memory profiling",
        typed=("profiler=memory", "profiler.memory_timeline=true"),
    ),
]
"""Tried by capturing."""

ANALYSES = [
    demanded(
        "an analysis in which a parser fails",
        "parser_fails",
        {"analyse.done": True, "kernel_details.csv": False},
        f"{P}.activities",
        says="Task [KernelViewParser] run failed",
    ),
    demanded(
        "an analysis without msprof",
        "msprof_missing",
        {"output": ["analyse.done", "trace_view.json"]},
        f"{P}.activities",
        says="'msprof' command not found",
    ),
    unreachable(
        "an analysis in a daemon process",
        "daemon",
        {"exit": 0, "output": []},
        "the harness analyses in a process that is none",
        says="cannot be parsed during the daemon process",
    ),
    unreachable(
        "an analysis in a process that starts others",
        "start_method",
        {"method": "fork"},
        "the harness analyses in a process of its own, after the workload's has ended",
    ),
    demanded(
        "data_simplification",
        "simplified",
        {"True": [], "False": ["host/summary", "host/timeline", "mindstudio_profiler_output"]},
        f"{E}.data_simplification",
        typed=words(data_simplification=False),
    ),
    unreachable(
        "a database, exported as a trace",
        "database_as_trace",
        {"trace": True, "databases": 0},
        "the harness exports nothing by torch_npu",
        says="as db will be ignored",
        absent=("export_chrome_trace", "export_stacks"),
    ),
    demanded(
        "a warm-up whose kernels run on into the recorded steps",
        "asynchronous_warmup",
        {"kernels": 10, "with a step": 0},
        f"{P}.schedule",
    ),
    demanded(
        "more records than the device's buffers hold",
        "lost_head",
        {"steps": [2, 3, 4]},
        f"{P}.schedule",
    ),
    demanded(
        "shapes of custom operators",
        "custom_operators",
        {"OnesLike": False, "MatMulV2": True},
        f"{P}.record_shapes",
        typed=(f"{P}.record_shapes=true",),
    ),
    unreachable(
        DYNAMIC,
        "dynamic_too_late",
        {"captures": 0},
        "the harness does not use it, and refuses the variables that start it",
        says="Dynamic Profiler config is not effective. The start_step=3",
        absent=("start_step", "is_rank", "rank_list"),
    ),
    unreachable(
        DYNAMIC,
        "dynamic_keys",
        {"taken": True, "memory": False, "ranks": False},
        "the harness does not use it, and refuses the variables that start it",
        absent=("start_step", "is_rank", "rank_list"),
    ),
]
"""Tried by analysing, or by waiting."""

RULES = [*SETTINGS, *CAPTURES, *ANALYSES]
