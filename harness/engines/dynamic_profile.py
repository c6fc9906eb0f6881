"""torch_npu's dynamic_profile: ``profiler_config.json``, and msMonitor's ``dyno nputrace``.

Sources: torch_npu 2.13.0, ``profiler/_dynamic_profiler/_dynamic_profiler_config_context.py``, whose
parser reads the file and dyno's words; msMonitor's guide to nputrace, of 2026-08-12.
"""

from __future__ import annotations

from typing import Any, Final

from harness.engines.base import (
    EXPERIMENTAL,
    SCHEDULE,
    Codec,
    Field,
    Form,
    NoCounterpartError,
    Release,
    Settings,
    Special,
    Target,
    Values,
    activities,
)
from harness.engines.notations import JSON, Words

_ACTIVITIES: Final = activities({"host": "CPU", "device": "NPU"})
_SWITCHES: Final = (
    "record_shapes",
    "profile_memory",
    "with_stack",
    "with_flops",
    "with_modules",
)
_EXPERIMENTAL_SWITCHES: Final = (
    "l2_cache",
    "op_attr",
    "msprof_tx",
    "mstx",
    "sys_io",
    "sys_interconnection",
)
_START: Final = (
    "an absolute step of the program; ours count from where the window begins: -1, the next step"
)
_ANALYSE: Final = Codec(lambda value: value == "now", lambda value: "now" if value else "later")


def _strings(value: Any) -> list[str]:
    words = value.split(",") if isinstance(value, str) else value
    if words is None:
        return []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise NoCounterpartError("it must be a list of names")
    return words


_UPPER: Final = Codec(
    lambda value: [word.lower() for word in value],
    lambda value: [word.upper() for word in _strings(value)],
)
_TITLE: Final = Codec(
    lambda value: [word.lower() for word in value],
    lambda value: [word.capitalize() for word in _strings(value)],
)
_LIST: Final = Codec(list, _strings)


def _lower_ranks(settings: Settings) -> Values:
    ranks = settings["profiler.ranks"]
    return {"is_rank": ranks is not None, "rank_list": list(ranks or [])}


def _ranks_mean(values: Values) -> Settings:
    ranks = values.get("rank_list", [])
    if values.get("is_rank") is not True:
        return {"profiler.ranks": None}
    if not isinstance(ranks, list) or not ranks:
        raise NoCounterpartError("rank_list: with is_rank, it must name ranks")
    return {"profiler.ranks": ranks}


_FILE: Final = Form(
    name="file",
    title="profiler_config.json, in the folder of dynamic_profile or of PROF_CONFIG_PATH",
    device="npu",
    notation=JSON,
    fields=(
        Field(
            name="activities",
            setting="profiler.activities",
            default=[],
            codec=_ACTIVITIES,
        ),
        Field(name="prof_dir", default="./", placed=True),
        Field(name="analyse", setting="profiler.analyse", default=False, codec=_ANALYSE),
        Field(
            name="async_mode",
            default=False,
            about="analysis in the background of the program; ours is after it",
        ),
        *(Field(name=name, setting=f"profiler.{name}", default=False) for name in _SWITCHES),
        Field(name="active", setting=f"{SCHEDULE}active", default=1),
        Field(name="warmup", setting=f"{SCHEDULE}warmup", default=0),
        Field(name="start_step", default=0, about=_START),
        Field(name="is_rank", setting="profiler.ranks", default=False, codec=None),
        Field(name="rank_list", setting="profiler.ranks", default=[], codec=None),
        Field(name="metadata", default={}, about="words of the program's own in the capture"),
        Field(
            name="experimental_config.profiler_level",
            setting=f"{EXPERIMENTAL}profiler_level",
            default="Level0",
        ),
        Field(
            name="experimental_config.aic_metrics",
            setting=f"{EXPERIMENTAL}aic_metrics",
            default="AiCoreNone",
        ),
        *(
            Field(
                name=f"experimental_config.{name}",
                setting=f"{EXPERIMENTAL}{name}",
                default=name == "data_simplification",
            )
            for name in (*_EXPERIMENTAL_SWITCHES, "data_simplification", "record_op_args")
        ),
        Field(
            name="experimental_config.gc_detect_threshold",
            setting=f"{EXPERIMENTAL}gc_detect_threshold",
        ),
        Field(
            name="experimental_config.export_type",
            setting=f"{EXPERIMENTAL}export_type",
            default=["text"],
            codec=_TITLE,
        ),
        Field(
            name="experimental_config.host_sys",
            setting=f"{EXPERIMENTAL}host_sys",
            default=[],
            codec=_UPPER,
        ),
        *(
            Field(
                name=f"experimental_config.{name}",
                setting=f"{EXPERIMENTAL}{name}",
                default=[],
                codec=_LIST,
            )
            for name in ("mstx_domain_include", "mstx_domain_exclude")
        ),
    ),
    always={"start_step": -1},
    folder="prof_dir",
    special=Special(lower=_lower_ranks, means=_ranks_mean),
    notes=(
        "start the program with PROF_CONFIG_PATH=FOLDER, or with dynamic_profile.init(FOLDER)",
        "then put the file there: it is taken when it changes, at the next step, within 2 s or so",
        "with ranks, torch_npu analyses nothing itself: read each capture afterwards",
    ),
)

_DYNO_FIXED: Final[Settings] = {
    f"{SCHEDULE}warmup": 0,
    f"{EXPERIMENTAL}record_op_args": False,
    f"{EXPERIMENTAL}mstx": False,
}


def _lower_dyno(settings: Settings) -> Values:
    ranks = settings["profiler.ranks"]
    return {} if ranks is None else {"rank-list": ",".join(map(str, ranks))}


def _dyno_means(values: Values) -> Settings:
    text = values.get("rank-list")
    if text is None:
        return {"profiler.ranks": None}
    try:
        return {"profiler.ranks": [int(rank) for rank in str(text).split(",")]}
    except ValueError as error:
        raise NoCounterpartError("rank-list: it must be numbers, with commas between") from error


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (OverflowError, TypeError, ValueError) as error:
        raise NoCounterpartError("it must be a number") from error


def _threshold(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise NoCounterpartError("it must be a number of milliseconds") from error


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


_COUNT: Final = Codec(lambda value: value, _integer)
_COMMAS: Final = Codec(_ACTIVITIES.encode, lambda value: _ACTIVITIES.decode(_strings(value)))
_DYNO: Final = Form(
    name="dyno",
    title="a command of msMonitor, for programs that run with its daemon",
    device="npu",
    notation=Words("dyno --certs-dir NO_CERTS nputrace"),
    fields=(
        Field(name="certs-dir", placed=True),
        Field(name="log-file", placed=True),
        Field(name="iterations", setting=f"{SCHEDULE}active", default=1, codec=_COUNT),
        Field(name="start-step", about=_START),
        *(
            Field(name=_hyphens(name), setting=f"profiler.{name}", default=False)
            for name in _SWITCHES
        ),
        Field(name="analyse", setting="profiler.analyse", default=False, codec=_ANALYSE),
        Field(name="async-mode", default=False, about="analysis in the background"),
        Field(
            name="activities",
            setting="profiler.activities",
            default="CPU,NPU",
            codec=_COMMAS,
        ),
        Field(name="rank-list", setting="profiler.ranks", codec=None),
        Field(
            name="profiler-level",
            setting=f"{EXPERIMENTAL}profiler_level",
            default="Level0",
        ),
        Field(
            name="aic-metrics",
            setting=f"{EXPERIMENTAL}aic_metrics",
            default="AiCoreNone",
        ),
        *(
            Field(name=_hyphens(name), setting=f"{EXPERIMENTAL}{name}", default=False)
            for name in _EXPERIMENTAL_SWITCHES
            if name != "mstx"
        ),
        Field(
            name="data-simplification",
            setting=f"{EXPERIMENTAL}data_simplification",
            default="true",
            codec=Codec(
                lambda value: "true" if value else "false",
                lambda value: str(value).lower() != "false",
            ),
        ),
        Field(
            name="gc-detect-threshold",
            setting=f"{EXPERIMENTAL}gc_detect_threshold",
            codec=Codec(lambda value: value, _threshold),
        ),
        Field(
            name="export-type",
            setting=f"{EXPERIMENTAL}export_type",
            default="Text",
            codec=Codec(list, _strings),
        ),
        Field(name="host-sys", setting=f"{EXPERIMENTAL}host_sys", codec=_UPPER),
        *(
            Field(name=_hyphens(name), setting=f"{EXPERIMENTAL}{name}", codec=_LIST)
            for name in ("mstx_domain_include", "mstx_domain_exclude")
        ),
        *(
            Field(name=name, about="the daemon's own: which processes, and when")
            for name in (
                "job-id",
                "pids",
                "process-limit",
                "profile-start-time",
                "duration-ms",
                "hostname",
                "port",
            )
        ),
    ),
    fixed=_DYNO_FIXED,
    why_fixed="nputrace has no option for it",
    always={"start-step": -1},
    folder="log-file",
    special=Special(lower=_lower_dyno, means=_dyno_means),
    notes=("needs dynolog and msMonitor, and MSMONITOR_USE_DAEMON=1 in the program",),
)

DYNAMIC_PROFILE: Final = Target(
    name="dynamic_profile",
    title="torch_npu's profiler of running programs",
    package="torch-npu",
    releases=(
        Release(
            version="2.13.0",
            since="2.13.0",
            source="the wheel of torch-npu 2.13.0, and msMonitor's guide of 2026-08-12",
            forms=(_FILE, _DYNO),
        ),
    ),
)
