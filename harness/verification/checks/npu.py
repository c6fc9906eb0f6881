"""Checks of torch_npu's own settings, by the files of its analysis and of CANN."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from harness.capture.capture import Capture
from harness.capture.run_record import DeliveryStatus
from harness.devices.npu_rules import FLOPS_DOMAIN
from harness.files import regular
from harness.paths import RunFolder
from harness.readers import sqlite
from harness.readers.ascend import folder as ascend
from harness.tables.selection import HCCL_CORES
from harness.verification.causes import why
from harness.verification.checks import portable
from harness.verification.checks.base import CheckResult, by_share, words_in

SIGNATURES = {
    "PipeUtilization": r"^(aic_mte1_ratio|aiv_vec_ratio|mte2_ratio)$",
    "ArithmeticUtilization": r"mac_fp16_ratio$",
    "Memory": r"main_mem_read_bw\(GB/s\)$",
    "MemoryL0": r"l0a_read_bw\(GB/s\)$",
    "MemoryUB": r"ub_read_bw_scalar\(GB/s\)$",
    "ResourceConflictRatio": r"vec_bank_cflt_ratio$",
    "L2Cache": r"(write_cache_hit|read_local_l2_hit)$",
    "MemoryAccess": r"read_main_memory_datas\(KB\)$",
}
"""By counter group: a column of kernel_details that no other group has."""
COUNTED_CORES = ("AI_CORE", "AI_VECTOR_CORE", "MIX_AIC", "MIX_AIV")
GC_RECORD_BYTES = 24
"""process, start, end (torch_npu/profiler/_profiler_gc_detect.py)."""


def activities(capture: Capture) -> CheckResult:
    """As on other devices; at Level_none marks are all that the device records."""
    if capture.expected.experimental["profiler_level"] != "Level_none":
        result = portable.activities(capture)
        kernels = "device" in capture.expected.activities and result.status == "delivered"
        return _in_each(capture, result, "kernels", _has_kernels) if kernels else result
    operators, marks = capture.tables["operators"].height, _domains(capture).total()
    counts = {"host": (operators, "operators"), "device": (marks, "marks and ranges")}
    requested = [counts[name] for name in capture.expected.activities]
    arrived = ", ".join(f"{count:,} {what}" for count, what in requested)
    some = [count for count, _ in requested if count]
    if len(some) == len(requested):
        return CheckResult("delivered", arrived)
    lacking = "operators" if not operators and "host" in capture.expected.activities else "marks"
    return CheckResult("partial" if some else "missing", arrived, why(capture, lacking))


def _in_each(
    capture: Capture, result: CheckResult, what: str, has: Callable[[Path], bool]
) -> CheckResult:
    """Return the result, or partial if some of the cycles lack what others have."""
    bare = [folder.name for folder in capture.cycle_folders if not has(folder)]
    if not bare or len(bare) == len(capture.cycle_folders):
        return result
    lacking = f"no {what} in {', '.join(bare)}: {why(capture, 'files')}"
    return CheckResult("partial", result.arrived, "; ".join(filter(None, (result.reason, lacking))))


def _has_kernels(folder: Path) -> bool:
    # Where there is a text export, that is what was read.
    if any(ascend.output(folder, name) for name in ("kernel_details.csv", "trace_view.json")):
        return ascend.output(folder, "kernel_details.csv") is not None
    return any(_rows(folder, table) for table in ("COMPUTE_TASK_INFO", "COMMUNICATION_OP"))


def profiler_level(capture: Capture) -> CheckResult:
    """Recognise the level by what only it delivers: kernels, their cores, runtime calls."""
    requested = capture.expected.experimental["profiler_level"]
    level = _level(capture)
    if requested == "Level0" and level == "Level1" and _communication_alone(capture):
        return CheckResult("not_checkable", "Level0 or Level1: there is only communication")
    if requested == level:
        return CheckResult("delivered", level)
    if level == "Level1" and requested == "Level2" and not any(_layers(capture)):
        return CheckResult("not_checkable", "Level1 or Level2: there is no api_statistic.csv")
    if level == "Level_none":
        return CheckResult("missing", "no kernels", why(capture, "kernels"))
    return CheckResult("substituted", level, _LEVELS[level])


_LEVELS = {
    "Level0": "no kernel has a core, which CANN records from Level1 on; the cause is not known",
    "Level1": "there are no calls of the runtime, which CANN records at Level2; the cause is not"
    " known",
    "Level2": "there are calls of the runtime, which CANN records at Level2 only; the cause is not"
    " known",
}
"""What shows that the level is another one."""


def _computing(kernels: pl.DataFrame) -> pl.DataFrame:
    """Leave communication out: it has a core at any level, and nothing else."""
    return kernels.filter(~pl.col("core").fill_null("").is_in(HCCL_CORES))


def _communication_alone(capture: Capture) -> bool:
    statistics = (ascend.output(folder, "api_statistic.csv") for folder in capture.cycle_folders)
    return _computing(capture.tables["kernels"]).is_empty() and not any(statistics)


def _level(capture: Capture) -> str:
    kernels = capture.tables["kernels"]
    if kernels.is_empty():
        return "Level_none"
    computing = _computing(kernels)
    if (kernels if computing.is_empty() else computing)["core"].is_null().all():
        return "Level0"
    return "Level2" if "runtime" in set(_layers(capture)) else "Level1"


def _layers(capture: Capture) -> Iterator[str]:
    """Yield the layers of the host that have calls in the capture."""
    for folder in capture.cycle_folders:
        table = ascend.table(folder, "api_statistic")
        if table is not None and "Level" in table.columns:
            yield from table["Level"].unique()
        else:
            yield from _texts(
                folder,
                "SELECT DISTINCT e.name FROM CANN_API a JOIN ENUM_API_TYPE e ON e.id = a.type",
            )


def aic_metrics(capture: Capture) -> CheckResult:
    """Recognise the counter group by its columns, and look for values on compute kernels."""
    group = capture.expected.experimental["aic_metrics"]
    kernels = capture.tables["kernels"]
    columns = pl.Series(kernels.columns)
    present = [name for name, pattern in SIGNATURES.items() if columns.str.contains(pattern).any()]
    counting = kernels.filter(pl.col("core").is_in(COUNTED_CORES))
    if counting.is_empty() and not (kernels.is_empty() or kernels["core"].has_nulls()):
        return CheckResult(
            "not_checkable", "no kernels on AI cores", "no kernel could have counters"
        )
    if not present or counting.is_empty():
        return CheckResult("missing", "no counters", why(capture, "counters"))
    if group not in present:
        reason = (
            "this CANN has no MemoryAccess, and torch_npu records PipeUtilization instead:"
            " aic_metrics=Memory or L2Cache delivers part of it, a newer CANN all of it"
            if group == "MemoryAccess"
            else f"kernels have columns of {', '.join(present)}, and none of {group}; the cause is"
            " not known"
        )
        return CheckResult("substituted", ", ".join(present), reason)
    signature = [name for name in kernels.columns if _matches(name, SIGNATURES[group])]
    with_values = counting.filter(pl.any_horizontal(pl.col(signature).is_not_null())).height
    return by_share(
        with_values,
        counting.height,
        f"compute kernels with {group}",
        "CANN omits the counters of kernels that run too long, and of kernels that it lost",
    )


def _matches(name: str, pattern: str) -> bool:
    return bool(pl.Series([name]).str.contains(pattern)[0])


def l2_cache(capture: Capture) -> CheckResult:
    """Look for hit rates."""
    tables = [ascend.table(folder, "l2_cache") for folder in capture.cycle_folders]
    rows = [table for table in tables if table is not None and "Hit Rate" in table.columns]
    if not rows:
        if "Text" not in capture.expected.experimental["export_type"]:
            return CheckResult(
                "not_checkable",
                "",
                "hit rates are in l2_cache.csv, which needs export_type Text",
            )
        return CheckResult("missing", "no l2_cache.csv", why(capture, "l2_cache"))
    table = pl.concat(rows, how="diagonal_relaxed")
    with_rate = pl.col("Hit Rate").is_not_null() & ~pl.col("Hit Rate").is_in(["N/A", ""])
    result = by_share(
        table.filter(with_rate).height,
        table.height,
        "kernels in l2_cache.csv with a hit rate",
        "this chip reports no hit rate there; the counter group L2Cache has it:"
        " profiler.experimental.aic_metrics=L2Cache",
    )
    if result.status == "missing" and table.height:
        # The other column, of victims, is there.
        return CheckResult("partial", result.arrived, result.reason)
    name = "l2_cache.csv"
    return _in_each(capture, result, name, lambda folder: ascend.output(folder, name) is not None)


def mstx(capture: Capture) -> CheckResult:
    """Look for marks; torch_npu makes one for each step itself."""
    domains = _domains(capture)
    if domains:
        return CheckResult("delivered", f"{domains.total():,} marks and ranges ({_named(domains)})")
    return CheckResult("missing", "no marks", why(capture, "marks"))


def mstx_domain_include(capture: Capture) -> CheckResult:
    """Look for marks of the included domains, and for those of others."""
    included = set(capture.expected.experimental["mstx_domain_include"])
    domains = _domains(capture)
    foreign = sorted(domains.keys() - included)
    arrived = _named(domains)
    if foreign:
        reason = f"marks of {', '.join(foreign)} were recorded, too"
        return CheckResult("substituted", arrived, reason)
    absent = sorted(included - domains.keys())
    if absent:
        return CheckResult(
            "partial" if domains else "missing",
            arrived,
            f"no mark of {', '.join(absent)} among those that were recorded: {arrived}"
            if domains
            else why(capture, "marks"),
        )
    return CheckResult("delivered", arrived)


def mstx_domain_exclude(capture: Capture) -> CheckResult:
    """Look for marks of the domains that were to be left out."""
    domains = _domains(capture)
    excluded = set(capture.expected.experimental["mstx_domain_exclude"])
    unwanted = sorted(domains.keys() & excluded)
    if unwanted:
        reason = f"marks of {', '.join(unwanted)} were recorded all the same"
        return CheckResult("substituted", _named(domains), reason)
    return CheckResult("delivered", _named(domains))


def _named(domains: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in domains.most_common()) or "no marks"


def _domains(capture: Capture) -> Counter[str]:
    """Count the marks by domain."""
    domains: Counter[str] = Counter()
    for folder in capture.cycle_folders:
        domains.update(ascend.marks(folder)["domain"].drop_nulls().to_list())
    return domains


def with_flops(capture: Capture) -> CheckResult:
    """Look for torch_npu's marks of flops."""
    domains = _domains(capture)
    if count := domains[FLOPS_DOMAIN]:
        return CheckResult("delivered", f"{count:,} marks in domain {FLOPS_DOMAIN}")
    return CheckResult(
        "missing",
        f"no marks in domain {FLOPS_DOMAIN}",
        "torch_npu marks the flops of few operators, and the workload runs none of these (marks of"
        f" other domains were recorded: {_named(domains)})"
        if domains
        else why(capture, "marks"),
    )


def with_modules(capture: Capture) -> CheckResult:
    """Look for modules among the Python frames of the timeline."""
    count = sum(
        _count(folder, "trace_view.json", b'"nn.Module: ') for folder in capture.cycle_folders
    )
    if count:
        return CheckResult("delivered", f"{count:,} calls of modules in trace_view.json")
    if "Text" not in capture.expected.experimental["export_type"]:
        return CheckResult(
            "not_checkable",
            "",
            "modules are in trace_view.json, which needs export_type Text",
        )
    return CheckResult("missing", "no calls of modules", why(capture, "modules"))


_CHUNK = 1 << 22


def _count(folder: Path, name: str, word: bytes) -> int:
    """Count a word in a file of the analysis, without holding the file."""
    path = ascend.output(folder, name)
    if path is None:
        return 0
    with regular(path) as file:
        return words_in(iter(lambda: file.read(_CHUNK), b""), word)


def data_simplification(capture: Capture) -> CheckResult:
    """Look for msprof's own output, which a simplified capture does not keep."""
    kept = [
        path
        for folder in capture.cycle_folders
        for path in folder.glob("PROF_*/mindstudio_profiler_output")
    ]
    simplified = bool(capture.expected.experimental["data_simplification"])
    arrived = "msprof's own output was kept" if kept else "msprof's own output was deleted"
    if simplified != bool(kept):
        return CheckResult("delivered", arrived)
    return CheckResult("missing", arrived, why(capture, "files"))


def record_op_args(capture: Capture) -> CheckResult:
    """Look for dumped arguments, beside the captures."""
    dumps = _folders(capture, "*_op_args", lambda name: f"{name}_op_args")
    files = [path for folder in dumps for path in folder.rglob("*") if path.is_file()]
    if files:
        size = sum(path.stat().st_size for path in files)
        return CheckResult("delivered", f"{len(files):,} files, {size:,} bytes")
    return CheckResult("missing", "no file", why(capture, "dumps"))


def _folders(capture: Capture, inside: str, beside: Callable[[str], str]) -> set[Path]:
    """Return the folders in or beside those of the cycles, wherever these are."""
    paths = list(RunFolder(capture.folder).raw.glob(f"**/{inside}"))
    for folder in (folder.resolve() for folder in capture.cycle_folders):
        paths += [*folder.glob(inside), folder.parent / beside(folder.name)]
    return {path.resolve() for path in paths if path.is_dir()}


_NO_ATTRIBUTES = "the others have none in the database; CANN has those of aclnn's operators alone"


def op_attr(capture: Capture) -> CheckResult:
    """Look for attributes in the database."""
    query = "SELECT s.value FROM COMPUTE_TASK_INFO c LEFT JOIN STRING_IDS s ON s.id = c.attrInfo"
    values = [value for folder in capture.cycle_folders for value in _texts(folder, query)]
    with_attributes = sum(value not in {"N/A", "", "None"} for value in values)
    return by_share(
        with_attributes,
        len(values),
        "kernels in the database with attributes",
        _NO_ATTRIBUTES if with_attributes else why(capture, "attributes"),
    )


def gc_detect_threshold(capture: Capture) -> CheckResult:
    """Look for garbage collections; a program may have had none that long."""
    files = (folder / "FRAMEWORK" / "torch.gc_record" for folder in capture.cycle_folders)
    count = sum(path.stat().st_size // GC_RECORD_BYTES for path in files if path.exists())
    if count:
        return CheckResult("delivered", f"{count:,} garbage collections")
    threshold = capture.expected.experimental["gc_detect_threshold"]
    return CheckResult(
        "not_checkable", "none", f"there may have been none longer than {threshold} ms"
    )


def export_type(capture: Capture) -> CheckResult:
    """Look for the files of each format."""
    requested = capture.expected.experimental["export_type"]
    paths = {
        "Text": [ascend.output(folder, "trace_view.json") for folder in capture.cycle_folders],
        "Db": [ascend.database(folder) for folder in capture.cycle_folders],
    }
    names = {"Text": "trace_view.json", "Db": "ascend_pytorch_profiler.db"}
    lacking = [name for name in requested if not paths[name] or None in paths[name]]
    arrived = ", ".join(f"{'no ' if name in lacking else ''}{names[name]}" for name in requested)
    if not lacking:
        return CheckResult("delivered", arrived)
    status: DeliveryStatus = "missing" if len(lacking) == len(requested) else "partial"
    return CheckResult(status, arrived, why(capture, "files"))


HOST_DATA = {
    "CPU": ("CPU Usage", "CPU_USAGE"),
    "MEM": ("Memory Usage", "HOST_MEM_USAGE"),
    "DISK": ("Disk Usage", "HOST_DISK_USAGE"),
    "NETWORK": ("Network Usage", "HOST_NETWORK_USAGE"),
    "OSRT": ("OS Runtime API", "OSRT_API"),
}
"""By name in host_sys: the process in the timeline, and the table in the database."""
NUMA = "NUMA"
"""This one is written into the capture, in a folder PLATFORM_<time> that is moved beside it."""


def _platform(name: str) -> str:
    return f"PLATFORM_{''.join(name.split('_')[2:3])}"


def host_sys(capture: Capture) -> CheckResult:
    """Look for the host's tracks in the timeline, or its tables in the database."""
    requested = capture.expected.experimental["host_sys"]
    recorded = [name for name in requested if _host_data(capture, name)]
    return by_share(
        len(recorded),
        len(requested),
        f"kinds of host data ({', '.join(recorded) or 'none'})",
        "" if len(recorded) == len(requested) else why(capture, "host data"),
    )


def _host_data(capture: Capture, name: str) -> bool:
    if name == NUMA:
        folders = _folders(capture, "PLATFORM*", _platform)
        return any(any(folder.iterdir()) for folder in folders)
    process, table = HOST_DATA[name]
    return any(
        _count(folder, "trace_view.json", f'"{process}"'.encode()) or _rows(folder, table)
        for folder in capture.cycle_folders
    )


def sys_io(capture: Capture) -> CheckResult:
    """Look for samples of network ports."""
    return _sampled(capture, ("nic", "roce"), ("NIC", "RoCE", "ROCE"))


def sys_interconnection(capture: Capture) -> CheckResult:
    """Look for samples of links between devices and to the host."""
    return _sampled(capture, ("hccs", "pcie"), ("HCCS", "PCIE"))


def _sampled(capture: Capture, files: Iterable[str], tables: Iterable[str]) -> CheckResult:
    counts: Counter[str] = Counter()
    for folder in capture.cycle_folders:
        for name in files:
            table = ascend.table(folder, name)
            counts[f"{name}.csv"] += 0 if table is None else table.height
        for name in tables:
            counts[name] += _rows(folder, name)
    rows = [f"{count:,} rows in {name}" for name, count in counts.items() if count]
    if rows:
        return CheckResult("delivered", ", ".join(rows))
    return CheckResult(
        "missing",
        f"no {' and no '.join(f'{name}.csv' for name in files)}",
        why(capture, "samples"),
    )


def _rows(folder: Path, table: str) -> int:
    counts = _texts(folder, f"SELECT CAST(COUNT(*) AS TEXT) FROM {table}")  # noqa: S608 - ours
    return int(counts[0]) if counts else 0


def _texts(folder: Path, query: str) -> list[str]:
    """Return the first column of a query on the cycle's database; nothing if there is none."""
    path = ascend.database(folder)
    if path is None:
        return []
    with sqlite.opened(path) as database:
        return database.values(query)
