"""MindSpore's tools, whose settings can be imported in part.

Sources: MindFormers, ``ProfileMonitor``; ms_service_profiler, its configuration file.
"""

from __future__ import annotations

from typing import Final

from harness.engines.base import (
    EXPERIMENTAL,
    SAME,
    SCHEDULE,
    Field,
    Form,
    NoCounterpartError,
    Settings,
    Special,
    Values,
)
from harness.engines.frameworks import count, nothing, source_of
from harness.engines.notations import YAML


def _formers_means(values: Values) -> Settings:
    start, stop = count(values, "start_step", 1), count(values, "stop_step", 10)
    if stop < start or start < 1:
        raise NoCounterpartError("stop_step: it must not be less than start_step, from 1 on")
    level = count(values, "profiler_level", 0)
    counting = level in (1, 2)
    return {
        f"{SCHEDULE}skip_first": start - 1,
        f"{SCHEDULE}active": stop - start + 1,
        f"{EXPERIMENTAL}profiler_level": f"Level{level}",
        f"{EXPERIMENTAL}aic_metrics": "PipeUtilization" if counting else "AiCoreNone",
    }


_MINDSPORE: Final = "a setting of MindSpore's profiler"
MINDFORMERS: Final = source_of(
    "mindformers",
    "ProfileMonitor of MindFormers",
    "1",
    "its documentation; in part, since MindSpore is no torch",
    (
        Form(
            name="file",
            title="the arguments of ProfileMonitor",
            device="npu",
            notation=YAML,
            fields=(
                Field(name="type", placed=True),
                Field(name="output_path", placed=True),
                Field(name="start_step", setting=f"{SCHEDULE}skip_first", default=1, codec=None),
                Field(name="stop_step", setting=f"{SCHEDULE}active", default=10, codec=None),
                Field(name="profile_rank_ids", setting="profiler.ranks", codec=SAME),
                Field(
                    name="profiler_level",
                    setting=f"{EXPERIMENTAL}profiler_level",
                    default=0,
                    codec=None,
                ),
                Field(name="with_stack", setting="profiler.with_stack", default=False),
                Field(name="profile_memory", setting="profiler.profile_memory", default=False),
                Field(
                    name="data_simplification",
                    setting=f"{EXPERIMENTAL}data_simplification",
                    default=True,
                ),
                Field(name="mstx", setting=f"{EXPERIMENTAL}mstx", default=False),
                Field(name="profile_communication", default=False, about=_MINDSPORE),
                Field(name="profile_pipeline", default=False, about=_MINDSPORE),
            ),
            special=Special(lower=nothing, means=_formers_means),
        ),
    ),
)


def _service_means(_values: Values) -> Settings:
    raise NoCounterpartError("enable: it profiles a server by time; ours are windows of steps")


_SERVICE: Final = "of a server's own phases; the harness profiles steps"
MS_SERVICE_PROFILER: Final = source_of(
    "ms_service_profiler",
    "MindStudio's profiler of services",
    "2026",
    "its documentation; it has other subjects, and nothing of it is a setting of ours",
    (
        Form(
            name="file",
            title="ms_service_profiler_config.json",
            device="npu",
            notation=YAML,
            fields=(
                Field(name="enable", default=0, setting="profiler.activities", codec=None),
                Field(name="prof_dir", placed=True),
                *(
                    Field(name=name, default=default, about=_SERVICE)
                    for name, default in (
                        ("profiler_level", "INFO"),
                        ("acl_task_time", 0),
                        ("acl_prof_task_time_level", None),
                        ("timelimit", 0),
                        ("domain", ""),
                        ("torch_prof_stack", False),
                        ("torch_prof_step_num", 0),
                        ("profiler_step_num", None),
                    )
                ),
            ),
            special=Special(lower=nothing, means=_service_means),
        ),
    ),
)
