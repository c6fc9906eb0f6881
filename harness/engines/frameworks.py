"""Training frameworks, whose settings can be imported.

Sources: torchtitan, ``tools/profiler.py`` of 2026-08-19; Megatron-LM, ``ProfilingConfig`` and
``training.py`` of 2026; accelerate, ``ProfileKwargs`` of 2026-07-24; Lightning 2,
``profilers/pytorch.py``; torchtune, ``profiling``.
"""

from __future__ import annotations

from typing import Any, Final

from harness.engines.base import (
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
from harness.engines.notations import TOML, YAML, Notation, Part, Words

_SNAPSHOT: Final = "snapshots of torch's allocator; no setting has them"
_SWITCHES: Final = ("record_shapes", "profile_memory", "with_stack", "with_flops", "with_modules")


def count(values: Values, name: str, default: int | None) -> int:
    """Return a field that must be a number, 0 or more; raises `NoCounterpartError`."""
    value = values.get(name, default)
    try:
        number = int(str(value))
    except ValueError as error:
        raise NoCounterpartError(f"{name}: it must be a number") from error
    if number < 0:
        raise NoCounterpartError(f"{name}: it must be 0 or more")
    return number


def nothing(_settings: Settings) -> Values:
    """Export nothing: these are only imported."""
    return {}


def source_of(name: str, title: str, version: str, source: str, forms: tuple[Form, ...]) -> Target:
    """Return a target that is only imported from, of which one version was looked at."""
    release = Release(version=version, since=version, source=source, forms=forms)
    return Target(name=name, title=title, releases=(release,), exports=False)


def _forms(
    notation: Notation,
    title: str,
    fields: tuple[Field, ...],
    special: Special,
    subject: str = "",
) -> tuple[Form, ...]:
    """Return one form for CUDA and one for the CPU: these frameworks take what is there."""
    return tuple(
        Form(
            name="file",
            title=title,
            device=device,
            notation=notation,
            fields=fields,
            special=special,
            subject=subject,
        )
        for device in ("cuda", "cpu")
    )


def _titan_means(values: Values) -> Settings:
    if values.get("enable_profiling") is not True:
        raise NoCounterpartError("enable_profiling: it is off")
    active, warmup = count(values, "profiler_active", 1), count(values, "profiler_warmup", 3)
    wait = count(values, "profile_freq", 10) - active - warmup
    if wait < 0:
        raise NoCounterpartError("profile_freq: it is less than warmup and active together")
    more = {
        f"{SCHEDULE}{name}": values[f"profiler_{name}"]
        for name in ("skip_first", "skip_first_wait")
        if values.get(f"profiler_{name}") is not None
    }
    repeat = values.get("profiler_repeat")
    return {
        f"{SCHEDULE}active": active,
        f"{SCHEDULE}warmup": warmup,
        f"{SCHEDULE}wait": wait,
        # torch's own default: until the end.
        f"{SCHEDULE}repeat": 0 if repeat is None else repeat,
        "profiler.record_shapes": True,
        **more,
    }


TORCHTITAN: Final = source_of(
    "torchtitan",
    "the training framework",
    "b5bcd76c",
    "its repository of 2026-08-19",
    _forms(
        Part(TOML, "profiler.", "profiling.", strip=True),
        "the part profiler of its configuration",
        (
            Field(
                name="enable_profiling", setting="profiler.activities", default=False, codec=None
            ),
            Field(name="save_traces_folder", default="profiling/traces", placed=True),
            Field(name="profile_freq", setting=f"{SCHEDULE}wait", default=10, codec=None),
            Field(name="profiler_active", setting=f"{SCHEDULE}active", default=1, codec=None),
            Field(name="profiler_warmup", setting=f"{SCHEDULE}warmup", default=3, codec=None),
            Field(name="profiler_repeat", setting=f"{SCHEDULE}repeat", codec=None),
            Field(name="profiler_skip_first", setting=f"{SCHEDULE}skip_first", codec=None),
            Field(
                name="profiler_skip_first_wait",
                setting=f"{SCHEDULE}skip_first_wait",
                codec=None,
            ),
            Field(name="enable_memory_snapshot", default=False, about=_SNAPSHOT),
            Field(name="memory_snapshot_freq", about=_SNAPSHOT),
            Field(name="save_memory_snapshot_folder", placed=True),
            Field(name="memory_snapshot_max_entries", default=1_000_000, about=_SNAPSHOT),
            Field(name="trace_post_processor", about="a function called with each trace"),
        ),
        Special(lower=nothing, means=_titan_means),
    ),
)


def _megatron_means(values: Values) -> Settings:
    if not _is_on(values.get("use_pytorch_profiler", False)):
        raise NoCounterpartError("use_pytorch_profiler: it is off")
    start = count(values, "profile_step_start", 10)
    end = count(values, "profile_step_end", 12)
    if end <= start:
        raise NoCounterpartError("profile_step_end: it must be more than profile_step_start")
    ranks = values.get("profile_ranks") or []
    listed = ranks if isinstance(ranks, list) else str(ranks).replace(",", " ").split()
    return {
        f"{SCHEDULE}wait": max(start - 1, 0),
        f"{SCHEDULE}warmup": 1 if start else 0,
        f"{SCHEDULE}active": end - start,
        "profiler.ranks": [count({"profile_ranks": rank}, "profile_ranks", None) for rank in listed]
        or None,
    }


def _is_on(value: Any) -> bool:
    return str(value).lower() == "true"


_SWITCH: Final = Codec(lambda value: value, _is_on)
_MEGATRON_SUBJECT: Final = "profil|nsys|nvtx|trace|snapshot|record_"
_MEGATRON_FIELDS: Final = (
    Field(name="use_nsys_profiler", default=False, about="Nsight Systems is another profiler"),
    Field(name="profile", default=False, placed=True),
    Field(name="profile_step_start", setting=f"{SCHEDULE}wait", default=10, codec=None),
    Field(name="profile_step_end", setting=f"{SCHEDULE}active", default=12, codec=None),
    Field(name="use_pytorch_profiler", setting="profiler.activities", default=False, codec=None),
    Field(
        name="pytorch_profiler_collect_shapes",
        setting="profiler.record_shapes",
        default=False,
        codec=_SWITCH,
    ),
    Field(
        name="pytorch_profiler_collect_callstack",
        setting="profiler.with_stack",
        default=False,
        codec=_SWITCH,
    ),
    Field(
        name="pytorch_profiler_collect_chakra",
        default=False,
        about="an execution trace for replays; no setting has it",
    ),
    Field(name="profile_ranks", setting="profiler.ranks", default=[], codec=None),
    Field(name="record_memory_history", default=False, about=_SNAPSHOT),
    Field(name="memory_snapshot_path", default="snapshot.pickle", placed=True),
    Field(name="record_shapes", default=False, about="shapes in NVTX ranges, for Nsight Systems"),
    Field(name="nvtx_ranges", default=False, about="NVTX ranges, for Nsight Systems"),
)


class _Arguments(Words):
    """Words of a command whose names have hyphens where the fields have underscores."""

    def values(self, text: str) -> dict[str, Any]:
        """Return the fields of a command line; an option with several values has a list."""
        return {name.replace("-", "_"): value for name, value in super().values(text).items()}


MEGATRON: Final = source_of(
    "megatron",
    "Megatron-LM, the training framework",
    "05830077",
    "its repository of 2026",
    (
        *_forms(
            YAML,
            "its configuration in YAML",
            _MEGATRON_FIELDS,
            Special(lower=nothing, means=_megatron_means),
            _MEGATRON_SUBJECT,
        ),
        *_forms(
            _Arguments("python pretrain_gpt.py torchrun", several=True),
            "arguments of its command",
            _MEGATRON_FIELDS,
            Special(lower=nothing, means=_megatron_means),
            _MEGATRON_SUBJECT,
        ),
    ),
)


def _schedule_means(values: Values, prefix: str, defaults: dict[str, int | None]) -> Settings:
    if values.get(f"{prefix}active", defaults.get("active")) is None:
        raise NoCounterpartError(f"{prefix}active: without it, all is recorded, without windows")
    return {
        f"{SCHEDULE}{name}": count(values, f"{prefix}{name}", default)
        for name, default in defaults.items()
    }


_TORCH: Final[dict[str, int | None]] = {
    "wait": 0,
    "warmup": 0,
    "active": None,
    "repeat": 0,
    "skip_first": 0,
}


def _schedule_fields(prefix: str, defaults: dict[str, int | None]) -> tuple[Field, ...]:
    return tuple(
        Field(name=f"{prefix}{name}", setting=f"{SCHEDULE}{name}", default=default, codec=None)
        for name, default in defaults.items()
    )


def _lowercase(device: str) -> Codec:
    names = activities({"host": "cpu", "device": "cuda"})
    everything = ["cpu"] if device == "cpu" else ["cpu", "cuda"]
    return Codec(names.encode, lambda value: names.decode(everything if value is None else value))


ACCELERATE: Final = source_of(
    "accelerate",
    "ProfileKwargs of accelerate",
    "16cb6eb8",
    "its repository of 2026-07-24",
    tuple(
        Form(
            name="file",
            title="the arguments of ProfileKwargs",
            device=device,
            notation=Part(YAML, "profile_kwargs.", strip=True),
            fields=(
                Field(name="activities", setting="profiler.activities", codec=_lowercase(device)),
                *_schedule_fields("schedule_option.", _TORCH),
                *(
                    Field(name=name, setting=f"profiler.{name}", default=False)
                    for name in _SWITCHES
                ),
                Field(name="on_trace_ready", about="a function called with each trace"),
                Field(name="output_trace_dir", placed=True),
            ),
            special=Special(
                lower=nothing,
                means=lambda values: _schedule_means(values, "schedule_option.", _TORCH),
            ),
        )
        for device in ("cuda", "cpu")
    ),
)

_LIGHTNING_SCHEDULE: Final[dict[str, int | None]] = _TORCH | {"wait": 1, "warmup": 1, "active": 3}
_OF_TABLES: Final = "tables that Lightning prints; the harness makes its own"
LIGHTNING: Final = source_of(
    "lightning",
    "PyTorchProfiler of Lightning",
    "2.6",
    "its repository of 2026",
    tuple(
        Form(
            name="file",
            title="the arguments of PyTorchProfiler",
            device=device,
            notation=Part(
                YAML,
                "trainer.profiler.init_args.",
                "trainer.profiler.dict_kwargs.",
                "init_args.",
                "dict_kwargs.",
                strip=True,
            ),
            fields=(
                Field(name="class_path", placed=True),
                Field(name="dirpath", placed=True),
                Field(name="filename", placed=True),
                Field(name="group_by_input_shapes", default=False, about=_OF_TABLES),
                Field(name="emit_nvtx", default=False, about="NVTX ranges, for Nsight Systems"),
                Field(name="export_to_chrome", default=True, placed=True),
                Field(name="row_limit", default=20, about=_OF_TABLES),
                Field(name="sort_by_key", about=_OF_TABLES),
                Field(
                    name="record_module_names",
                    default=True,
                    about="a range for each module; with_modules asks torch for them",
                ),
                Field(name="table_kwargs", about=_OF_TABLES),
                Field(name="activities", setting="profiler.activities", codec=_lowercase(device)),
                *_schedule_fields("schedule.", _LIGHTNING_SCHEDULE),
                *(
                    Field(name=name, setting=f"profiler.{name}", default=False)
                    for name in _SWITCHES
                ),
            ),
            special=Special(
                lower=nothing,
                means=lambda values: _schedule_means(values, "schedule.", _LIGHTNING_SCHEDULE),
            ),
            notes=("Lightning drops an argument whose name it does not know, without a word",),
        )
        for device in ("cuda", "cpu")
    ),
)


def _tune_means(values: Values) -> Settings:
    if values.get("enabled") is not True:
        raise NoCounterpartError("enabled: it is off")
    both = (("cpu", "host"), ("cuda", "device"))
    recorded = [ours for name, ours in both if values.get(name, True)]
    if not recorded:
        raise NoCounterpartError("cpu: neither CPU nor CUDA is recorded")
    return {
        "profiler.activities": recorded,
        f"{SCHEDULE}wait": count(values, "wait_steps", 5),
        f"{SCHEDULE}warmup": count(values, "warmup_steps", 5),
        f"{SCHEDULE}active": count(values, "active_steps", 2),
        f"{SCHEDULE}repeat": count(values, "num_cycles", 1),
    }


TORCHTUNE: Final = source_of(
    "torchtune",
    "the training framework",
    "0.6",
    "its documentation",
    _forms(
        Part(YAML, "profiler.", strip=True),
        "the part profiler of its configuration",
        (
            Field(name="_component_", placed=True),
            Field(name="output_dir", placed=True),
            Field(name="enabled", setting="profiler.activities", default=False, codec=None),
            Field(name="cpu", setting="profiler.activities", default=True, codec=None),
            Field(name="cuda", setting="profiler.activities", default=True, codec=None),
            Field(name="xpu", default=False, about="a device that the harness does not have"),
            Field(name="hpu", default=False, about="a device that the harness does not have"),
            Field(name="profile_memory", setting="profiler.profile_memory", default=False),
            Field(name="with_stack", setting="profiler.with_stack", default=False),
            Field(name="record_shapes", setting="profiler.record_shapes", default=True),
            Field(name="with_flops", setting="profiler.with_flops", default=False),
            Field(name="wait_steps", setting=f"{SCHEDULE}wait", default=5, codec=None),
            Field(name="warmup_steps", setting=f"{SCHEDULE}warmup", default=5, codec=None),
            Field(name="active_steps", setting=f"{SCHEDULE}active", default=2, codec=None),
            Field(name="num_cycles", setting=f"{SCHEDULE}repeat", default=1, codec=None),
        ),
        Special(lower=nothing, means=_tune_means),
    ),
)
