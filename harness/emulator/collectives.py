"""The collectives of a recorded capture, under the names that CANN gives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

CORE: Final = "COMMUNICATION"
"""CANN's name of what runs collectives, in place of a core."""
DATA_TYPES: Final = {"FLOAT": "FP32", "FLOAT16": "FP16", "DOUBLE": "FP64", "DT_BF16": "BFP16"}
"""HCCL's names where they are others than those of tensors."""
HCCL_TYPES: Final = (
    *("INT8", "INT16", "INT32", "FP16", "FP32", "INT64"),
    *("UINT64", "UINT8", "UINT16", "UINT32", "FP64", "BFP16"),
)
"""``HcclDataType``: names by their numbers."""
_PRIMES: Final = (29, 131)
_WORD: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Collective:
    """One collective of one rank, in the wall clock's nanoseconds."""

    api: str
    """The function of HCCL."""
    group: str
    """The communicator's name."""
    index: int
    """Its number among the group's in the capture."""
    rank: int
    """The rank within the group."""
    ranks: int
    count: int
    """The elements of one rank's part."""
    data_type: str
    moved: int
    """The bytes that the rank moves; invented, as is the time for them."""
    device: int
    stream: int
    start_ns: int
    wait_ns: int
    """For the last rank, from the start on."""
    duration_ns: int
    host_start_ns: int
    host_end_ns: int
    thread: int
    connection: int

    @property
    def end_ns(self) -> int:
        """The end, which is that of all ranks."""
        return self.start_ns + self.duration_ns

    @property
    def transit_ns(self) -> int:
        """The time in which data moves."""
        return self.duration_ns - self.wait_ns

    @property
    def launch_ns(self) -> int:
        """When the host launched it: within the call, and before its start on the device."""
        return self.host_start_ns + min(500, (self.host_end_ns - self.host_start_ns) // 4)

    @cached_property
    def group_id(self) -> str:
        """The number by which CANN's tables know the group."""
        return group_id(self.group)

    @property
    def type(self) -> str:
        """The kind: hcom_allReduce_."""
        kind = self.api.removeprefix("Hccl")
        return f"hcom_{kind[0].lower()}{kind[1:]}_"

    @property
    def name(self) -> str:
        """The name of a row: the kind, the end of the group's number, the number of the call."""
        return f"{self.type}_{self.group_id[-3:]}_{self.index}_1"


def group_id(name: str) -> str:
    """Return two hashes of a communicator's name as one number, as msprof-analyze does."""
    hashes = [0, 0]
    for letter in name:
        hashes = [
            (value * prime + ord(letter)) & _WORD
            for value, prime in zip(hashes, _PRIMES, strict=True)
        ]
    return str(hashes[0] << 32 | hashes[1])


def read_collectives(records: Iterable[dict[str, Any]]) -> list[Collective]:
    """Turn the recorded collectives of one device into rows, in order of their start."""
    calls: Counter[str] = Counter()
    found = []
    for record in records:
        group = record["group"]
        found.append(
            Collective(
                api=record["op"],
                group=group,
                index=calls[group],
                data_type=DATA_TYPES.get(record["dtype"], record["dtype"]),
                connection=record["correlation"],
                **{name: record[name] for name in _COPIED},
            )
        )
        calls[group] += 1
    return sorted(found, key=lambda collective: collective.start_ns)


_COPIED: Final = (
    *("rank", "ranks", "count", "moved", "device", "stream", "start_ns", "wait_ns"),
    *("duration_ns", "host_start_ns", "host_end_ns", "thread"),
)
