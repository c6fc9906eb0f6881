"""Samples of the devices: memory, networks, links.

Each is in CANN's three formats: a table, counters of the timeline, a table of the database. Columns
and counters have the names of msprof's guides and sources; the database counts in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from harness.emulator.kernels import us
from harness.emulator.summaries import Row, Table

SAMPLE_NS: Final = 20_000_000
"""Memory is sampled 50 times a second (``aclprofSetConfig`` 3, "50"), and so is everything here."""
RESERVED_KB: Final = {"APP": 2_160_232, "RUNTIME": 41_984, "HCCL": 0, "SLOG": 0}
MODULE_IDS: Final = {"SLOG": 0, "HCCL": 3, "RUNTIME": 7, "APP": 33}
"""CANN's numbers of its components, in the database."""
OTHER_KB: Final = 242_204
"""The device memory in use outside the process."""
HOST: Final = 31
"""The host, in place of a device's number."""


class Layer(NamedTuple):
    """A process of the timeline."""

    name: str
    label: str
    order: int


class Event(NamedTuple):
    """An event of the timeline: a counter, or a range from its time to `end_ns`."""

    layer: Layer
    device: int
    name: str
    time_ns: int
    values: dict[str, float]
    end_ns: int = 0
    thread: int = 0


class Rows(NamedTuple):
    """A table of the database; texts are not yet ids."""

    columns: str
    rows: list[Row]


@dataclass
class Sampled:
    """The samples that the settings of a capture deliver."""

    tables: dict[str, Table] = field(default_factory=dict)
    """By the name of their file."""
    events: list[Event] = field(default_factory=list)
    stored: dict[str, Rows] = field(default_factory=dict)
    """By the name of their table."""


@dataclass(frozen=True)
class Window:
    """The devices and the time of a capture."""

    devices: Sequence[int]
    begin_ns: int
    end_ns: int

    @property
    def times(self) -> range:
        """The times of the samples: at least one."""
        return range(self.begin_ns, max(self.begin_ns, self.end_ns) + 1, SAMPLE_NS)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for device in self.devices:
            for time_ns in self.times:
                yield device, time_ns


NPU_MEM: Final = Layer("NPU MEM", "NPU", 15)
NIC: Final = Layer("NIC", "NPU", 24)
ROCE: Final = Layer("RoCE", "NPU", 25)
HCCS: Final = Layer("HCCS", "NPU", 26)
PCIE: Final = Layer("PCIe", "NPU", 27)


def add_memory(into: Sampled, window: Window) -> None:
    """Add the devices' memory: of the process, of the device, and of CANN's components."""
    app = RESERVED_KB["APP"]
    used = [
        (device, event, size_kb, time_ns)
        for device, time_ns in window
        for event, size_kb in (("APP", app), ("Device", app + OTHER_KB))
    ]
    parts = [
        (device, part, size_kb, time_ns)
        for device, time_ns in window
        for part, size_kb in RESERVED_KB.items()
    ]
    into.tables["npu_mem"] = (
        ("Device_id", "event", "ddr(KB)", "hbm(KB)", "memory(KB)", "timestamp(us)"),
        [(device, what, 0, kb, kb, us(time_ns) + "\t") for device, what, kb, time_ns in used],
    )
    into.tables["npu_module_mem"] = (
        ("Device_id", "Component", "Timestamp(us)", "Total Reserved(KB)", "Device"),
        [
            (device, part, us(time_ns) + "\t", kb, f"NPU:{device}")
            for device, part, kb, time_ns in parts
        ],
    )
    into.events += [
        Event(NPU_MEM, device, f"{event}/{kind}", time_ns, {"KB": size_kb})
        for device, event, kb, time_ns in used
        for kind, size_kb in (("DDR", 0), ("HBM", kb), ("Memory", kb))
    ]
    into.stored["NPU_MEM"] = Rows(
        "type INTEGER, ddr NUMERIC, hbm NUMERIC, timestampNs INTEGER, deviceId INTEGER",
        [(event.lower(), 0, kb * 1024, time_ns, device) for device, event, kb, time_ns in used],
    )
    into.stored["NPU_MODULE_MEM"] = Rows(
        "moduleId INTEGER, timestampNs INTEGER, totalReserved NUMERIC, deviceId INTEGER",
        [(MODULE_IDS[part], time_ns, kb * 1024, device) for device, part, kb, time_ns in parts],
    )


WAYS: Final = ("rx", "tx")


def add_networks(into: Sampled, window: Window) -> None:
    """Add the traffic of network ports, which is zero."""
    columns = [
        column
        for way in WAYS
        for column in (
            f"{way.title()} Bandwidth efficiency(%)",
            f"{way}Packet/s",
            f"{way}Error rate(%)",
            f"{way}Dropped rate(%)",
        )
    ]
    header = ("Device_id", "Timestamp(us)", "Bandwidth(MB/s)", *columns, "funcId")
    rates = ("Dropped Rate", "Error Rate", "Packets", "Bandwidth Efficiency")
    counted = [
        f"{way}{name}"
        for way in WAYS
        for name in ("PacketRate", "ByteRate", "Packets", "Bytes", "Errors", "Dropped")
    ]
    stored = ["deviceId INTEGER", "timestampNs INTEGER", "bandwidth INTEGER"]
    stored += [f"{name} {'NUMERIC' if 'Rate' in name else 'INTEGER'}" for name in counted]
    for layer in (NIC, ROCE):
        rows: list[Row] = [
            (device, us(time_ns) + "\t", 0, *(0 for _ in columns), 0) for device, time_ns in window
        ]
        into.tables[layer.name.lower()] = header, rows
        into.events += [
            Event(
                layer,
                device,
                f"Port 0/{way.title()}",
                time_ns,
                {f"{way.title()} {rate}": 0 for rate in rates},
            )
            for device, time_ns in window
            for way in WAYS
        ]
        into.stored[layer.name.upper()] = Rows(
            ", ".join([*stored, "funcId INTEGER"]),
            [(device, time_ns, 0, *(0 for _ in counted), 0) for device, time_ns in window],
        )


def add_links(into: Sampled, window: Window) -> None:
    """Add the traffic between devices, and between devices and hosts, which is zero."""
    into.tables["hccs"] = (
        ("Device_id", "Mode", "Max", "Min", "Average"),
        [(device, mode, 0, 0, 0) for device in window.devices for mode in ("Tx", "Rx")],
    )
    kinds = ("Tx_p", "Tx_np", "Tx_cpl", "Tx_latency", "Rx_p", "Rx_np", "Rx_cpl")
    into.tables["pcie"] = (
        ("Device_id", "Mode", "Min", "Max", "Avg"),
        [
            (device, f"{kind}_avg({'us' if kind == 'Tx_latency' else 'MB/s'})", 0, 0, 0)
            for device in window.devices
            for kind in kinds
        ],
    )
    into.events += [
        Event(HCCS, device, way, time_ns, {f"{way}(MB/s)": 0})
        for device, time_ns in window
        for way in ("Rx", "Tx")
    ]
    into.events += [
        Event(PCIE, device, f"PCIe_{what}", time_ns, {"Tx": 0, "Rx": 0})
        for device, time_ns in window
        for what in ("cpl", "nonpost", "nonpost_latency", "post")
    ]
    into.stored["HCCS"] = Rows(
        "deviceId INTEGER, timestampNs INTEGER, txThroughput NUMERIC, rxThroughput NUMERIC",
        [(*sample, 0, 0) for sample in window],
    )
    names = ("txPost", "txNonpost", "txCpl", "txNonpostLatency", "rxPost", "rxNonpost", "rxCpl")
    values = [f"{name}{which} NUMERIC" for name in names for which in ("Min", "Max", "Avg")]
    into.stored["PCIE"] = Rows(
        ", ".join(["deviceId INTEGER", "timestampNs INTEGER", *values]),
        [(*sample, *(0 for _ in values)) for sample in window],
    )


def module_names(rows: Iterable[Row]) -> list[Row]:
    """Return the numbers and names of the components in memory rows: ``ENUM_MODULE``."""
    used = {row[0] for row in rows}
    return [(number, name) for name, number in MODULE_IDS.items() if number in used]
