"""The faults of a rehearsal: what is to go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

Feature = Literal["ATTR", "AICORE_SHAPE", "MemoryAccess"]
Rejected = Literal["host_sys", "sys_io", "sys_interconnection", "profile_memory"]

CONFIG_TYPES: Final[dict[Rejected, int]] = {
    "profile_memory": 3,
    "sys_io": 5,
    "sys_interconnection": 6,
    "host_sys": 8,
}
"""The numbers of the settings in ``aclprofSetConfig``."""
VARIABLE: Final = "HARNESS_EMULATOR_FAULTS"


class Faults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Faults of CANN, of its tools and of captures, that real machines have shown."""

    missing_features: tuple[Feature, ...] = ()
    """What this CANN does not have: torch_npu then drops op_attr (ATTR), kernel shapes at Level0
    (AICORE_SHAPE), or takes PipeUtilization in place of MemoryAccess. Read by: the emulator."""
    rejected_settings: tuple[Rejected, ...] = ()
    """Settings that aclprofSetConfig refuses, which torch_npu only logs. Read by: the emulator."""
    start_fails: bool = False
    """aclprofStart fails, which torch_npu only logs. Read by: the emulator."""
    crash_at_stop: bool = False
    """The process dies of a signal when the capture is stopped. Read by: the emulator."""
    lost_head: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """This fraction of the kernels, the first ones, is missing: a buffer overflowed.
    Read by: the emulator."""
    dropped_kernels: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """This many kernels, spread over the capture, are missing. Read by: the emulator."""
    na_shapes: tuple[str, ...] = ()
    """Kernels of these types come without shapes, as custom operators do. Read by: the emulator."""
    empty_hit_rate: bool = False
    """l2_cache.csv has N/A for every hit rate, as on an Ascend 910B. Read by: the emulator."""
    msprof: Literal["works", "fails", "missing"] = "works"
    """The program that turns raw data into tables. Read by: the emulator."""
    slow_analysis_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    """The analysis takes this many seconds longer. Read by: the emulator."""

    def environment(self) -> dict[str, str]:
        """Return the variables that pass the faults to a process; the C code reads plain ones."""
        if self == NO_FAULTS:
            return {}
        variables = {VARIABLE: msgspec.json.encode(self).decode()}
        if self.missing_features:
            kept = [name for name in get_args(Feature) if name not in self.missing_features]
            variables["HARNESS_EMULATOR_FEATURES"] = ",".join(kept)
        if self.rejected_settings:
            types = [str(CONFIG_TYPES[name]) for name in self.rejected_settings]
            variables["HARNESS_EMULATOR_REJECTED"] = ",".join(types)
        if self.start_fails:
            variables["HARNESS_EMULATOR_START_FAILS"] = "1"
        if self.crash_at_stop:
            variables["HARNESS_EMULATOR_CRASH_AT_STOP"] = "1"
        return variables

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Faults:
        """Return the faults that `environment` passes to this process."""
        text = environment.get(VARIABLE)
        return msgspec.json.decode(text, type=cls) if text else NO_FAULTS


NO_FAULTS: Final = Faults()


Era = Literal["block_dim", "block_num"]


ERAS: Final[dict[Era, tuple[str, str]]] = {
    "block_dim": ("Block Dim", "Mix Block Dim"),
    "block_num": ("Block Num", "Mix Block Num"),
}
"""msprof renamed the two columns on 2026-01-28, torch_npu on 2026-02-03."""


NEWEST_ERA: Final[Era] = "block_num"
