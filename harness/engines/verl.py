"""verl: ``global_profiler`` and the profiler of one role.

Source: verl 0.7.1 to 0.9.1, ``utils/profiler/config.py``, ``torch_profile.py``,
``mstx_profile.py`` and ``trainer/config``.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

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
    without,
)
from harness.engines.notations import OVERRIDES, Part
from harness.settings.request import Schedule
from harness.settings.schedule import recorded_steps

_ROLES: Final = {
    "actor": "actor_rollout_ref.actor",
    "ref": "actor_rollout_ref.ref",
    "critic": "critic",
}
"""The roles whose worker verl profiles itself; the rollout's engine has a profiler of its own."""
_ENABLES: Final = tuple(
    f"{place}.profiler.enable" for place in (*_ROLES.values(), "actor_rollout_ref.rollout")
)
"""What says that a role is profiled, and the rollout."""
_CONTENTS: Final = {
    "npu": {
        "memory": "profiler.profile_memory",
        "shapes": "profiler.record_shapes",
        "module": "profiler.with_modules",
        "stack": "profiler.with_stack",
    },
    "cuda": {
        "memory": "profiler.profile_memory",
        "shapes": "profiler.record_shapes",
        "stack": "profiler.with_stack",
    },
}
_LEVELS: Final = {
    "level_none": "Level_none",
    "level0": "Level0",
    "level1": "Level1",
    "level2": "Level2",
}
NPU_FIXED: Final[Settings] = {
    f"{EXPERIMENTAL}export_type": ["Db"],
    f"{EXPERIMENTAL}data_simplification": True,
    f"{EXPERIMENTAL}msprof_tx": True,
    f"{EXPERIMENTAL}mstx_domain_exclude": ["communication"],
}
"""What verl passes to torch_npu, whatever is asked."""
_STEPS: Final = "a step of ours is a training step of verl, whose first is 1"
_TOKENS: Final = "a window by response tokens of the rollout; ours are by steps"
_HOOK: Final = "a command, or a move of files, when profiling ends; the harness reads what is there"


def _level(value: Any) -> str:
    if not isinstance(value, str) or value not in _LEVELS:
        raise NoCounterpartError(f"it must be one of {', '.join(_LEVELS)}")
    return _LEVELS[value]


def _level_of(value: Any) -> str:
    return next(word for word, level in _LEVELS.items() if level == value)


def _contents(values: Values, name: str) -> list[str]:
    contents = values.get(name, [])
    if not isinstance(contents, list) or not all(isinstance(word, str) for word in contents):
        raise NoCounterpartError(f"{name}: it must be a list of names")
    return contents


def _lower_contents(settings: Settings, device: str) -> list[str]:
    recorded = settings["profiler.activities"]
    host, device_too = "host" in recorded, "device" in recorded
    names = ["cpu"] if host else []
    names += [device] if device_too else []
    return names + [word for word, ours in _CONTENTS[device].items() if settings[ours]]


def _contents_mean(contents: list[str], device: str) -> Settings:
    # An empty list is CPU and CUDA with torch's profiler, and CPU alone with torch_npu's.
    has_device = device in contents or (device == "cuda" and not contents)
    return {
        "profiler.activities": ["host", "device"] if has_device else ["host"],
        **{ours: word in contents for word, ours in _CONTENTS[device].items()},
    }


def _lower_ranks(ranks: Any, role: str) -> Values:
    # Without either, verl profiles rank 0.
    return (
        {f"{role}.profiler.all_ranks": True}
        if ranks is None
        else {f"{role}.profiler.ranks": list(ranks)}
    )


def _ranks_mean(values: Values, role: str) -> Settings:
    if values.get(f"{role}.profiler.all_ranks") is True:
        return {"profiler.ranks": None}
    return {"profiler.ranks": values.get(f"{role}.profiler.ranks") or [0]}


def _steps_of(settings: Settings) -> list[int]:
    """Return the training steps, from 1 on: verl starts a profiler at one, and warms up none."""
    names = ("skip_first", "skip_first_wait", "wait", "active")
    schedule = Schedule(warmup=0, **{name: settings[f"{SCHEDULE}{name}"] for name in names})
    return [step + 1 for step in recorded_steps(schedule, 1)]


def _steps_mean(values: Values) -> Settings:
    steps = values.get("global_profiler.steps")
    name = "global_profiler.steps"
    if not steps:
        raise NoCounterpartError(f"{name}: without it, verl profiles no step")
    if not isinstance(steps, list) or not all(isinstance(step, int) for step in steps):
        raise NoCounterpartError(f"{name}: it must be a list of numbers")
    first = min(steps)
    if sorted(steps) != list(range(first, first + len(steps))) or first < 1:
        raise NoCounterpartError(f"{name}: a list of windows; ours is one, of steps in a row")
    return {f"{SCHEDULE}skip_first": first - 1, f"{SCHEDULE}active": len(steps)}


def _enabled(values: Values, tool: str, role: str) -> None:
    if values.get("global_profiler.tool") != tool:
        given = values.get("global_profiler.tool")
        raise NoCounterpartError(f"global_profiler.tool: it is {given}, not {tool}")
    if values.get(f"{role}.profiler.enable") is not True:
        raise NoCounterpartError(f"{role}.profiler.enable: this role is not profiled")


def _npu(role: str) -> Special:
    contents = f"{role}.profiler.tool_config.npu.contents"

    def lower(settings: Settings) -> Values:
        return {
            "global_profiler.steps": _steps_of(settings),
            contents: _lower_contents(settings, "npu"),
            **_lower_ranks(settings["profiler.ranks"], role),
        }

    def means(values: Values) -> Settings:
        _enabled(values, "npu", role)
        level = _level(values.get(f"{role}.profiler.tool_config.npu.level", "level0"))
        counting = level in {"Level1", "Level2"}
        return {
            f"{EXPERIMENTAL}aic_metrics": "PipeUtilization" if counting else "AiCoreNone",
            **_contents_mean(_contents(values, contents), "npu"),
            **_ranks_mean(values, role),
            **_steps_mean(values),
        }

    return Special(lower=lower, means=means)


def _torch_whole(role: str) -> Special:
    """The torch tool before 0.9: each step of the list is recorded as a whole."""
    contents = f"{role}.profiler.tool_config.torch.contents"

    def lower(settings: Settings) -> Values:
        return {
            "global_profiler.steps": _steps_of(settings),
            contents: _lower_contents(settings, "cuda"),
            **_lower_ranks(settings["profiler.ranks"], role),
        }

    def means(values: Values) -> Settings:
        _enabled(values, "torch", role)
        return {
            **_contents_mean(_contents(values, contents), "cuda"),
            **_ranks_mean(values, role),
            **_steps_mean(values),
        }

    return Special(lower=lower, means=means)


def _torch(role: str) -> Special:
    contents = f"{role}.profiler.tool_config.torch.contents"
    schedule = f"{role}.profiler.tool_config.torch.schedule."

    def lower(settings: Settings) -> Values:
        return {
            contents: _lower_contents(settings, "cuda"),
            **_lower_ranks(settings["profiler.ranks"], role),
        }

    def means(values: Values) -> Settings:
        _enabled(values, "torch", role)
        if not values.get(f"{schedule}active"):
            raise NoCounterpartError(
                f"{schedule}active: without it, verl records each step of the list as a whole"
            )
        return {
            **_contents_mean(_contents(values, contents), "cuda"),
            **_ranks_mean(values, role),
        }

    return Special(lower=lower, means=means)


def _shared(role: str, tool: str) -> tuple[Field, ...]:
    place = f"{role}.profiler."
    options = f"{place}tool_config.{tool}."
    return (
        Field(name="global_profiler.tool", setting="device.name", codec=None),
        Field(name="global_profiler.save_path", default="outputs/profile", placed=True),
        Field(
            name="global_profiler.profile_continuous_steps",
            default=False,
            about="one capture of steps in a row, or one of each",
        ),
        *(
            Field(name=f"global_profiler.{name}", default=default, about=_HOOK)
            for name, default in (
                ("relocate_results", False),
                ("finish_hook_cmd", None),
                ("finish_hook_all_ranks", False),
                ("finish_hook_ranks", []),
            )
        ),
        Field(name=f"{place}enable", setting="profiler.activities", default=False, codec=None),
        Field(name=f"{place}all_ranks", setting="profiler.ranks", default=False, codec=None),
        Field(name=f"{place}ranks", setting="profiler.ranks", default=[], codec=None),
        *(
            Field(name=f"{place}{name}", placed=True)
            for name in ("tool", "save_path", "_target_", f"tool_config.{tool}._target_")
        ),
        Field(name=f"{options}contents", setting="profiler.activities", default=[], codec=None),
        Field(
            name=f"{options}discrete",
            default=False,
            about="one capture of each stage; ours is one of the whole step",
        ),
        Field(name=f"{options}profile_token_start", about=_TOKENS),
        Field(name=f"{options}profile_token_end", about=_TOKENS),
    )


def _part(role: str) -> Part:
    return Part(OVERRIDES, "global_profiler.", f"{role}.profiler.", *_other_enables(role))


def _other_enables(role: str) -> tuple[str, ...]:
    return tuple(name for name in _ENABLES if not name.startswith(f"{role}."))


def _others(role: str) -> tuple[Field, ...]:
    """Fields of verl's other tools and roles, which no setting of ours means."""
    place = f"{role}.profiler.tool_config."
    memory = "snapshots of torch's allocator; no setting has them"
    nsys = "Nsight Systems is another profiler"
    one = "it is profiled, too; settings are those of one role"
    return (
        *(Field(name=name, default=False, about=one) for name in _other_enables(role)),
        *(
            Field(name=f"{place}torch_memory.{name}", default=default, about=memory)
            for name, default in (
                ("trace_alloc_max_entries", 100_000),
                ("stack_depth", 32),
                ("memory_snapshot_num_steps", 1),
            )
        ),
        Field(name=f"{place}nsys.discrete", default=False, about=nsys),
        Field(name="global_profiler.global_tool_config.nsys.controller_nsight_options", about=nsys),
        Field(name="global_profiler.global_tool_config.nsys.worker_nsight_options", about=nsys),
    )


def _npu_form(name: str, role: str) -> Form:
    options = f"{role}.profiler.tool_config.npu."
    analysis = Codec(lambda value: value == "now", lambda value: "now" if value else "later")
    return Form(
        name=name,
        title=f"settings of verl, for the {name}'s workers",
        device="npu",
        notation=_part(role),
        fields=(
            *_shared(role, "npu"),
            Field(name="global_profiler.steps", setting=f"{SCHEDULE}active", codec=None),
            Field(
                name=f"{options}level",
                setting=f"{EXPERIMENTAL}profiler_level",
                default="level0",
                codec=Codec(_level_of, _level),
            ),
            Field(
                name=f"{options}analysis",
                setting="profiler.analyse",
                default=True,
                codec=analysis,
            ),
            *_others(role),
        ),
        fixed=NPU_FIXED,
        why_fixed="verl hard-codes it",
        always={
            "global_profiler.tool": "npu",
            "global_profiler.profile_continuous_steps": True,
            f"{role}.profiler.enable": True,
        },
        folder="global_profiler.save_path",
        special=_npu(role),
        notes=(_STEPS,),
    )


def _torch_form(name: str, role: str) -> Form:
    schedule = f"{role}.profiler.tool_config.torch.schedule."
    return Form(
        name=name,
        title=f"settings of verl, for the {name}'s workers",
        device="cuda",
        notation=_part(role),
        fields=(
            *_shared(role, "torch"),
            Field(
                name="global_profiler.steps",
                about="training steps, each profiled by the schedule; ours has no list of windows",
            ),
            *(
                Field(name=f"{schedule}{part}", setting=f"{SCHEDULE}{part}", default=0)
                for part in ("skip_first", "wait", "warmup", "active", "repeat")
            ),
            *_others(role),
        ),
        always={
            "global_profiler.tool": "torch",
            "global_profiler.steps": [1],
            f"{role}.profiler.enable": True,
        },
        folder="global_profiler.save_path",
        special=_torch(role),
        notes=("a step of ours is an update mini-batch of verl's first training step",),
    )


def _older_torch(form: Form, role: str) -> Form:
    """Return the form of the torch tool before it had a schedule."""
    schedule = [field.name for field in form.fields if ".schedule." in field.name]
    steps = Field(name="global_profiler.steps", setting=f"{SCHEDULE}active", codec=None)
    form = without(form, "global_profiler.steps", *schedule)
    return replace(
        form,
        fields=(*form.fields, steps),
        always={name: form.always[name] for name in form.always if name != steps.name}
        | {"global_profiler.profile_continuous_steps": True},
        special=_torch_whole(role),
        notes=(_STEPS,),
    )


_HOOKS: Final = (
    "global_profiler.relocate_results",
    "global_profiler.finish_hook_cmd",
    "global_profiler.finish_hook_all_ranks",
    "global_profiler.finish_hook_ranks",
)
_NPU_FORMS: Final = tuple(_npu_form(name, role) for name, role in _ROLES.items())
_TORCH_FORMS: Final = tuple(_torch_form(name, role) for name, role in _ROLES.items())


def _in_0_9_0(form: Form) -> Form:
    snapshots = [field.name for field in form.fields if "memory_snapshot" in field.name]
    return without(form, *_HOOKS, *snapshots)


def _in_0_8(form: Form) -> Form:
    tokens = [field.name for field in form.fields if ".profile_token_" in field.name]
    return without(_in_0_9_0(form), *tokens)


VERL: Final = Target(
    name="verl",
    title="the training framework for reinforcement learning",
    package="verl",
    releases=(
        Release(
            version="0.9.1",
            since="0.9.1",
            source="the wheel of 0.9.1",
            forms=(*_NPU_FORMS, *_TORCH_FORMS),
        ),
        Release(
            version="0.9.0",
            since="0.9.0",
            source="the wheel of 0.9.0",
            forms=tuple(map(_in_0_9_0, (*_NPU_FORMS, *_TORCH_FORMS))),
        ),
        Release(
            version="0.8.0",
            since="0.7.1",
            source="the wheels of 0.7.1 and 0.8.0",
            forms=(
                *map(_in_0_8, _NPU_FORMS),
                *(
                    _older_torch(_in_0_8(form), role)
                    for form, role in zip(_TORCH_FORMS, _ROLES.values(), strict=True)
                ),
            ),
        ),
    ),
)
