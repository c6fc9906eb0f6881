"""The causes that each setting's delivery may fail for, as the page of causes lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from harness.devices.npu import TORCH_NPU
from harness.devices.torch_profiler import TORCH
from harness.settings.expectations import BUFFERS
from harness.verification.causes.torch_profiler import OVERFLOW


class Stated(NamedTuple):
    """A cause that a check sees in what it counts, without looking for more."""

    says: str
    shown_by: str


class Causes(NamedTuple):
    """Where the causes of one setting are."""

    missing: tuple[str, ...] = ()
    """Keys of the profiler's `CAUSES`, in the order in which the check asks for them."""
    stated: tuple[Stated, ...] = ()


_X: Final = "profiler.experimental"
_NOT_IN_FILE: Final = "an imported trace"
_LEVEL_STATED: Final = (
    Stated(
        "the level is another one, and the cause is not known",
        "cores of kernels; calls of the runtime in api_statistic.csv or CANN_API",
    ),
)

OF_SETTING: Final[Mapping[str, Mapping[str, Causes]]] = {
    TORCH.name: {
        "profiler.activities": Causes(("operators", "kernels")),
        "profiler.schedule": Causes(("steps", "short steps")),
        "profiler.record_shapes": Causes(
            (),
            (
                Stated(
                    "torch writes no shapes of a list of more than 30 tensors into a trace",
                    "operators whose dtypes have a list without shapes",
                ),
                Stated(
                    "the profiler recorded no arguments, and the cause is not known",
                    "operators without shapes, of which others of the same name have some",
                ),
            ),
        ),
        "profiler.with_stack": Causes(
            ("operators", "stacks"),
            (
                Stated(
                    "torch hands out stacks only when it is verbose", "verbose=false in the plan"
                ),
            ),
        ),
        "profiler.with_lines": Causes(
            ("lines",),
            (
                Stated(
                    "not checkable: all code that ran is of torch, Python or packages",
                    "lines were traced, and none is of a file of your own",
                ),
            ),
        ),
        "profiler.profile_memory": Causes(("allocations",)),
        "profiler.with_modules": Causes(
            (),
            (
                Stated(
                    "torch records the modules of TorchScript, and of others their calls",
                    "no operator with a module, and no nn.Module frame in the trace",
                ),
            ),
        ),
        "profiler.with_flops": Causes(
            (),
            (
                Stated("not checkable: torch writes no flops into a trace", _NOT_IN_FILE),
                Stated(
                    "the formulas need shapes", "operators with a formula, without shapes and flops"
                ),
                Stated(
                    "the cause is not known", "operators with a formula and shapes, without flops"
                ),
            ),
        ),
        "profiler.memory_timeline": Causes(("files",)),
        f"{_X}.performance_events": Causes(
            ("operators",),
            (Stated("the cause is not known", "operators, and a count that none or some have"),),
        ),
        f"{_X}.profiler_metrics": Causes(
            ("events of CUPTI",),
            (Stated("CUPTI measures nothing of copies", "rows of copies and memory sets"),),
        ),
        f"{_X}.enable_cuda_sync_events": Causes(
            ("events of CUPTI",),
            (Stated("CUPTI has these events since CUDA 12", "kernels, and no such event"),),
        ),
        f"{_X}.profile_all_threads": Causes(
            (),
            (Stated("not checkable: others may have run none", "operators of one thread"),),
        ),
        f"{_X}.record_python_gc_info": Causes(
            (),
            (Stated("not checkable: there may have been none", "no collection in the trace"),),
        ),
        BUFFERS: Causes(
            (),
            (
                Stated(
                    "CUPTI's buffers overflowed",
                    f"a line of harness.log that matches {OVERFLOW.replace('|', ' or ')}",
                ),
                Stated("not checkable: a trace does not show it", "there is no harness.log"),
            ),
        ),
    },
    TORCH_NPU.name: {
        "profiler.activities": Causes(("operators", "kernels", "marks", "files")),
        "profiler.schedule": Causes(("steps", "short steps")),
        "profiler.record_shapes": Causes(
            ("kernels",),
            (
                Stated(
                    "Level0 has shapes only of a CANN with AICORE_SHAPE", "no kernel has a core"
                ),
                Stated(
                    "operators launched outside CANN's registry have none",
                    "the types of the kernels without shapes",
                ),
            ),
        ),
        "profiler.with_stack": Causes(("operators", "stacks")),
        "profiler.with_lines": Causes(
            ("lines",),
            (
                Stated(
                    "not checkable: all code that ran is of torch, Python or packages",
                    "lines were traced, and none is of a file of your own",
                ),
            ),
        ),
        "profiler.profile_memory": Causes(("allocations",)),
        "profiler.with_modules": Causes(
            ("modules",),
            (Stated("not checkable: modules are in trace_view.json", "export_type without Text"),),
        ),
        "profiler.with_flops": Causes(
            ("marks",),
            (
                Stated(
                    "torch_npu marks the flops of few operators, and the workload runs none",
                    "marks of other domains, and none of flops",
                ),
            ),
        ),
        f"{_X}.profiler_level": Causes(("kernels",), _LEVEL_STATED),
        f"{_X}.aic_metrics": Causes(
            ("counters",),
            (
                Stated("this CANN has no MemoryAccess", "columns of PipeUtilization in its place"),
                Stated("the cause is not known", "columns of another group"),
                Stated(
                    "CANN omits the counters of kernels that run too long, or that it lost",
                    "compute kernels without values in the group's columns",
                ),
            ),
        ),
        f"{_X}.l2_cache": Causes(
            ("l2_cache", "files"),
            (
                Stated("not checkable: hit rates are in l2_cache.csv", "export_type without Text"),
                Stated("this chip reports no hit rate there", "rows of l2_cache.csv without one"),
            ),
        ),
        f"{_X}.msprof_tx": Causes(("marks",)),
        f"{_X}.mstx": Causes(("marks",)),
        f"{_X}.mstx_domain_include": Causes(
            ("marks",), (Stated("no mark of the domain was made", "marks of other domains alone"),)
        ),
        f"{_X}.mstx_domain_exclude": Causes(
            (), (Stated("marks of the domain were recorded", "their count"),)
        ),
        f"{_X}.data_simplification": Causes(("files",)),
        f"{_X}.record_op_args": Causes(("dumps",)),
        f"{_X}.op_attr": Causes(
            ("attributes",),
            (Stated("CANN has those of aclnn's operators alone", "rows with and without some"),),
        ),
        f"{_X}.gc_detect_threshold": Causes(
            (), (Stated("not checkable: there may have been none", "no FRAMEWORK/torch.gc_record"),)
        ),
        f"{_X}.export_type": Causes(("files",)),
        f"{_X}.host_sys": Causes(("host data",)),
        f"{_X}.sys_io": Causes(("samples",)),
        f"{_X}.sys_interconnection": Causes(("samples",)),
    },
}
"""By profiler and setting; a test holds it to the table of checks."""
