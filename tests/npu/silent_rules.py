"""The table of torch_npu's silent rules: what is asked, what it makes of that, what we do.

Here: what it resets when its objects are constructed. `tests.npu.silent_captures` has the rest.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec

Answer = Literal["refused", "handed over", "demanded", "out of reach"]
"""A problem before the run; asked of torch_npu in a way that works; looked for after the run; or no
setting leads there."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One silent rule of torch_npu; several may share a row of docs/silent-rules.md."""

    asked: str
    """The row."""
    kind: str
    """Which child tries it: a kind of settings in rules.py, else a case of silent.py."""
    given: dict[str, Any] = {}
    """The settings, if they are what is tried."""
    got: dict[str, Any]
    """What torch_npu makes of it."""
    says: str = ""
    """What it prints, if anything."""
    hides: str = ""
    """What it would print, and does not with TORCH_NPU_WARNING_DISABLE=1."""
    answer: Answer
    typed: tuple[str, ...] = ()
    """The same, or what comes closest, as a user of the harness types it."""
    setting: str = ""
    """What the refusal or the demand names."""
    arrives: dict[str, Any] = {}
    """What torch_npu holds when the harness has handed it over."""
    absent: tuple[str, ...] = ()
    """Arguments of torch_npu's that no setting of ours is called after."""
    why: str = ""
    """Why it is out of reach."""

    @property
    def name(self) -> str:
        return f"{self.asked}: {json.dumps(self.given) if self.given else self.kind}"


P = "profiler"
E = "profiler.experimental"


def words(**settings: object) -> tuple[str, ...]:
    def text(value: object) -> str:
        return json.dumps(value).replace('"', "").replace(", ", ",") or "''"

    return tuple(f"{E}.{name}={text(value)}" for name, value in settings.items())


def reset(asked: str, setting: str, got: dict[str, Any], **given: Any) -> Rule:
    """A setting that torch_npu resets when it is constructed, and the harness refuses."""
    return Rule(
        asked=asked,
        kind="experimental",
        given=given,
        got=got,
        answer="refused",
        typed=words(**given),
        setting=f"{E}.{setting}",
    )


def step(setting: str, given: object, got: int) -> Rule:
    return Rule(
        asked="a schedule with a number that is none of its kind",
        kind="schedule",
        given={setting: given},
        got={setting: got},
        answer="refused",
        typed=(f"{P}.schedule.{setting}={given}",),
        setting=f"{P}.schedule.{setting}",
    )


def refused(asked: str, kind: str, got: dict[str, Any], setting: str, **more: Any) -> Rule:
    return Rule(asked=asked, kind=kind, got=got, answer="refused", setting=setting, **more)


def handed(asked: str, kind: str, got: dict[str, Any], **more: Any) -> Rule:
    return Rule(asked=asked, kind=kind, got=got, answer="handed over", **more)


def demanded(asked: str, kind: str, got: dict[str, Any], setting: str, **more: Any) -> Rule:
    return Rule(asked=asked, kind=kind, got=got, answer="demanded", setting=setting, **more)


def unreachable(asked: str, kind: str, got: dict[str, Any], why: str, **more: Any) -> Rule:
    return Rule(asked=asked, kind=kind, got=got, answer="out of reach", why=why, **more)


NO_COUNTERS = "counters at a level that has none"
NO_DATABASE = "op_attr without a database"
NOT_A_SWITCH = "a switch that is neither true nor false"
NAMES = "names as texts in place of torch_npu's constants"
LISTS = "a list of OmegaConf's"
BAD_EXPORT = "no export type, or an unknown one"
DOMAINS = "domains without marks, or included and excluded ones"
THRESHOLD = "a threshold for garbage collections that is none"
ACTIVITIES = "activities that are not torch_npu's, or none"
NO_CALL = "a schedule or handler that cannot be called"
NO_SETTING = "the harness has no setting for it"

SETTINGS = [
    reset(
        NO_COUNTERS,
        "aic_metrics",
        {"aic_metrics": "AiCoreNone"},
        profiler_level="Level0",
        aic_metrics="PipeUtilization",
    ),
    reset(
        NO_COUNTERS,
        "aic_metrics",
        {"aic_metrics": "AiCoreNone"},
        profiler_level="Level_none",
        aic_metrics="Memory",
        mstx=True,
    ),
    handed(
        "nothing at all: torch_npu's own defaults",
        "experimental",
        {"profiler_level": "Level0", "aic_metrics": "AiCoreNone"},
        arrives={"profiler_level": "Level1", "aic_metrics": "PipeUtilization"},
    ),
    reset(
        "an unknown level",
        "profiler_level",
        {"profiler_level": "Level0", "aic_metrics": "Memory"},
        profiler_level="Level9",
        aic_metrics="Memory",
    ),
    reset(
        "an unknown group of counters",
        "aic_metrics",
        {"aic_metrics": "PipeUtilization"},
        profiler_level="Level1",
        aic_metrics="PipeUtilisation",
    ),
    handed(
        NAMES,
        "texts",
        {"aic_metrics": "PipeUtilization"},
        given={"profiler_level": "Level1", "aic_metrics": "Memory"},
        typed=words(aic_metrics="Memory"),
        arrives={"aic_metrics": "Memory"},
    ),
    handed(
        NAMES,
        "texts",
        {"export_type": ["Text"]},
        given={"export_type": ["Db"]},
        typed=words(export_type=["Db"]),
        arrives={"export_type": ["Db"]},
    ),
    handed(
        NAMES,
        "texts",
        {"host_sys": []},
        given={"host_sys": ["CPU"]},
        typed=words(host_sys=["CPU"]),
        arrives={"host_sys": ["CPU"]},
    ),
    handed(
        LISTS,
        "omegaconf",
        {"export_type": ["Text"]},
        given={"export_type": ["Db", "Text"]},
        typed=words(export_type=["Db", "Text"]),
        arrives={"export_type": ["Db", "Text"]},
    ),
    handed(
        LISTS,
        "omegaconf",
        {"host_sys": []},
        given={"host_sys": ["CPU", "MEM"]},
        typed=words(host_sys=["CPU", "MEM"]),
        arrives={"host_sys": ["CPU", "MEM"]},
    ),
    reset(BAD_EXPORT, "export_type", {"export_type": ["Text"]}, export_type=[]),
    reset(BAD_EXPORT, "export_type", {"export_type": ["Text"]}, export_type=["Excel"]),
    reset(
        NO_DATABASE,
        "op_attr",
        {"op_attr": False},
        op_attr=True,
        export_type=["Text"],
    ),
    *(
        reset(NOT_A_SWITCH, name, {name: default}, **{name: 7})
        for name, default in {
            "l2_cache": False,
            "msprof_tx": False,
            "mstx": False,
            "data_simplification": True,
            "record_op_args": False,
            "op_attr": False,
            "sys_io": False,
            "sys_interconnection": False,
        }.items()
    ),
    reset(
        "Level_none without marks",
        "mstx",
        {"mstx": True},
        profiler_level="Level_none",
        aic_metrics="AiCoreNone",
        mstx=False,
    ),
    reset(DOMAINS, "mstx", {"mstx_domain_include": []}, mstx_domain_include=["mine"]),
    reset(
        DOMAINS,
        "mstx_domain_exclude",
        {"mstx_domain_exclude": []},
        mstx=True,
        mstx_domain_include=["mine"],
        mstx_domain_exclude=["other"],
    ),
    reset(
        "domains of which one is no text",
        "mstx_domain_include",
        {"mstx_domain_include": []},
        mstx=True,
        mstx_domain_include=["mine", 7],
    ),
    *(
        reset(THRESHOLD, "gc_detect_threshold", {"gc_detect_threshold": got}, **given)
        for given, got in (
            ({"gc_detect_threshold": -1}, None),
            ({"gc_detect_threshold": "long"}, None),
            ({"gc_detect_threshold": True}, True),
        )
    ),
    reset("host systems that are none", "host_sys", {"host_sys": []}, host_sys=["GPU"]),
    reset("host systems that are none", "host_sys", {"host_sys": []}, host_sys="CPU"),
    refused(
        ACTIVITIES,
        "profile",
        {"activities": ["CPU", "NPU"]},
        f"{P}.activities",
        given={"activities": ["CUDA"]},
        typed=(f"{P}.activities=[CUDA]",),
    ),
    refused(
        ACTIVITIES,
        "profile",
        {"activities": ["CPU", "NPU"]},
        f"{P}.activities",
        given={"activities": []},
        typed=(f"{P}.activities=[]",),
    ),
    handed(
        ACTIVITIES,
        "profile",
        {"activities": ["CPU", "NPU"]},
        given={"activities": ["torch's CPU"]},
        typed=(f"{P}.activities=[host]",),
        arrives={"activities": ["CPU"]},
    ),
    *(
        refused(
            "record_shapes and its like that are neither true nor false",
            "profile",
            {name: False},
            f"{P}.{name}",
            given={name: 7},
            typed=(f"{P}.{name}=7",),
        )
        for name in ("record_shapes", "profile_memory", "with_stack", "with_flops", "with_modules")
    ),
    refused(
        "an experimental_config of another type",
        "profile",
        {"profiler_level": "Level0", "aic_metrics": "AiCoreNone"},
        E,
        given={"experimental_config": {"profiler_level": "Level2"}},
        typed=(f"{E}=7",),
    ),
    refused(
        NO_CALL,
        "profile",
        {"schedule by steps": False},
        f"{P}.schedule",
        given={"schedule": 7},
        typed=(f"{P}.schedule=7",),
    ),
    unreachable(
        NO_CALL,
        "profile",
        {"handler": False},
        NO_SETTING,
        given={"on_trace_ready": 7},
        absent=("on_trace_ready",),
    ),
    step("wait", -1, 0),
    step("warmup", -2, 0),
    step("warmup", 0.5, 0),
    step("active", 0, 1),
    step("active", 1.5, 1),
    step("repeat", -1, 0),
    step("skip_first", -1, 0),
    step("skip_first_wait", 0.5, 0),
]
"""Tried by constructing torch_npu's objects."""
