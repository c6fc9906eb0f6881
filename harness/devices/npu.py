"""Huawei Ascend NPUs: torch_npu's profiler, which records through CANN.

torch_npu is imported here and nowhere else, and only in child processes: after torch, whose own
loading of backends the environment has switched off.
"""

from __future__ import annotations

import ctypes
import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec.structs import asdict

from harness.devices.base import (
    CycleWriter,
    LoweredProfiler,
    OpenDevice,
    Profiler,
    ProfilerFacts,
    TraceHandler,
    Unsupported,
)
from harness.devices.npu_rules import CHOICES, npu_problems
from harness.devices.torch_profiler import AUTOLOAD
from harness.devices.torch_threads import TakeCounts, counting
from harness.errors import MachineError, Problem
from harness.paths import RunFolder
from harness.settings.npu import NpuExperimental
from harness.settings.request import DeviceName

if TYPE_CHECKING:
    import torch

    from harness.settings.request import Request

TORCH_NPU: Final = ProfilerFacts(
    name="torch_npu",
    analysed_after_run=True,
    single_stream=False,
    records_kernel_shapes=True,
    records_lists=False,
)
REHEARSE = "python -m harness rehearse runs the same without an NPU."
_ACTIVITIES = {"host": "CPU", "device": "NPU"}
_UPKEEP: Final = frozenset({"destroy_event"})
"""HCCL's watchdog destroys the events of collectives that are done, whenever it comes round; where
nothing of them is left to it, the step's own threads do."""
_DRIVER = Path("/usr/local/Ascend/driver/version.info")


class Npu:
    """One Ascend NPU."""

    name: ClassVar[DeviceName] = "npu"
    profiled_by = TORCH_NPU
    has_kernels = True
    reports_overflow = False
    distributed_backend = "hccl"
    can_be_rehearsed = True
    experimental = NpuExperimental
    unsupported: ClassVar[Mapping[str, Unsupported]] = {
        "profiler.memory_timeline": Unsupported(
            "torch_npu's own memory files have the same content", "profiler.memory_timeline=false"
        ),
    }

    def problems(self, request: Request) -> Iterator[Problem]:
        """Yield what torch_npu would reset with a printed warning."""
        return npu_problems(request)

    def environment(self) -> dict[str, str]:
        """Let this file decide when torch_npu is imported."""
        return dict(AUTOLOAD)

    def open(self, index: int) -> OpenDevice:
        """Return the NPU; raise `MachineError` saying what is missing."""
        import torch

        torch_npu = _torch_npu()
        count = torch_npu.npu.device_count()
        if not count:
            raise MachineError(
                "device=npu: torch_npu finds no NPU. Look at npu-smi info, and check whether"
                f" ASCEND_RT_VISIBLE_DEVICES hides it: python -m harness doctor device=npu."
                f" {REHEARSE}"
            )
        if index >= count:
            raise MachineError(
                f"device.index={index}: this machine has {count} NPU(s), numbered from 0."
                f" Write device.index={count - 1}."
            )
        torch_npu.npu.set_device(index)
        return OpenDevice(
            torch_device=torch.device("npu", index),
            name=str(torch_npu.npu.get_device_name(index)),
            versions=_versions(torch_npu),
            emulated=hasattr(ctypes.CDLL("libascendcl.so"), "harness_emulated"),
        )

    def synchronise(self, device: torch.device) -> None:
        """Wait for all streams of the NPU, and for the queue of operators in front of them."""
        _torch_npu().npu.synchronize(device)

    def profiler(
        self, lowered: LoweredProfiler, writer: CycleWriter
    ) -> AbstractContextManager[Profiler]:
        """Build torch_npu's profiler, whose captures go to ``raw/``; they are analysed later.

        torch_npu keeps the folder in a singleton that the last handler built has set, so the
        handler is built right before its profiler. Without one, captures would go to
        ``./export_only_prof_dir``.
        """
        _torch_npu()
        from torch_npu import profiler

        folder = RunFolder(writer.folder).raw
        handler = profiler.tensorboard_trace_handler(str(folder), analyse_flag=False)
        if handler is None:
            raise MachineError(
                f"torch_npu refuses to write to {folder}: see harness.log for its reason, and"
                " choose another folder with hydra.run.dir=…"
            )

        def ready(finished: Any) -> None:
            writer.on_write()
            handler(finished)

        made: AbstractContextManager[Profiler] = self.bare_profiler(lowered, ready)
        return made

    def bare_profiler(self, lowered: LoweredProfiler, on_trace_ready: TraceHandler | None) -> Any:
        """Build a plain `torch_npu.profiler.profile`."""
        _torch_npu()
        from torch_npu import profiler

        return profiler.profile(
            activities=[
                getattr(profiler.ProfilerActivity, _ACTIVITIES[name]) for name in lowered.activities
            ],
            schedule=profiler.schedule(**asdict(lowered.schedule)),
            on_trace_ready=on_trace_ready,
            record_shapes=lowered.record_shapes,
            profile_memory=lowered.profile_memory,
            with_stack=lowered.with_stack,
            with_flops=lowered.with_flops,
            with_modules=lowered.with_modules,
            experimental_config=_experimental(profiler, lowered.experimental),
        )

    def counting_threads(
        self, lowered: LoweredProfiler, take: TakeCounts
    ) -> AbstractContextManager[None] | None:
        """Record a step by torch's own profiler, whose operators are those of torch_npu's."""
        return counting(lowered, ["CPU"], take, _UPKEEP)

    def analyse(self, capture: Path) -> None:
        """Let torch_npu and msprof write ``ASCEND_PROFILER_OUTPUT`` of a capture.

        torch_npu prints errors and does not raise them; the delivery check looks for the files.
        """
        _torch_npu()
        from torch_npu.profiler.profiler import analyse

        analyse(str(capture))


def _torch_npu() -> Any:
    """Import torch_npu; raise `MachineError` if it or what it needs is missing."""
    try:
        import torch_npu
    except (ImportError, OSError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise MachineError(
            f"device=npu: torch_npu cannot be loaded: {why}. It needs CANN, whose set_env.sh must"
            f" be sourced in this shell: python -m harness doctor device=npu. {REHEARSE}"
        ) from error
    return torch_npu


def _versions(torch_npu: Any) -> dict[str, str]:
    from torch_npu.utils.collect_env import get_cann_version

    versions = {"torch_npu": str(torch_npu.__version__)}
    if os.environ.get("ASCEND_HOME_PATH"):  # else torch_npu would search the current folder
        versions["cann"] = str(get_cann_version())
    if _DRIVER.exists():
        lines = _DRIVER.read_text(encoding="utf-8", errors="replace").splitlines()
        version = [line for line in lines if line.lower().startswith("version")]
        versions |= {"driver": version[0].partition("=")[2].strip()} if version else {}
    return versions


def _experimental(profiler: Any, settings: Mapping[str, Any]) -> Any:
    """Build torch_npu's own object: its constants, plain lists, only fields that it has.

    A field that this torch_npu lacks is at its default here: validation refuses others by name.
    """
    fields = inspect.signature(profiler._ExperimentalConfig).parameters  # noqa: SLF001
    translated = {
        name: _constant(profiler, name, value) for name, value in settings.items() if name in fields
    }
    return profiler._ExperimentalConfig(**translated)  # noqa: SLF001


def _constant(profiler: Any, setting: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_constant(profiler, setting, item) for item in value]
    return getattr(getattr(profiler, CHOICES[setting]), value) if setting in CHOICES else value
