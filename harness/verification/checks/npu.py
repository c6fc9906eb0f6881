"""Checks of torch_npu's own settings, by what its analysis and CANN left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from harness.capture.capture import Capture
from harness.devices.npu_rules import FLOPS_DOMAIN
from harness.paths import RunFolder
from harness.readers import sqlite
from harness.readers.ascend import folder as ascend
from harness.tables.selection import HCCL_CORES
from harness.verification.checks import portable
from harness.verification.checks.base import CheckResult, by_share, unread, words_in

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
        found = portable.activities(capture)
        kernels = "device" in capture.expected.activities and found.status == "delivered"
        return _in_each(capture, found, "kernels", _has_kernels) if kernels else found
    operators, marks = capture.tables["operators"].height, _domains(capture).total()
    counts = {"host": (operators, "operators"), "device": (marks, "marks and ranges")}
    asked = [counts[name] for name in capture.expected.activities]
    arrived = ", ".join(f"{count:,} {what}" for count, what in asked)
    some = [count for count, _ in asked if count]
    if len(some) == len(asked):
        return CheckResult("delivered", arrived)
    return CheckResult(
        "partial" if some else "missing", arrived, unread(capture) or "see harness.log"
    )


def _in_each(
    capture: Capture, found: CheckResult, what: str, has: Callable[[Path], bool]
) -> CheckResult:
    """Find something partial that some of the captures lack."""
    bare = [folder.name for folder in capture.cycle_folders if not has(folder)]
    if not bare or len(bare) == len(capture.cycle_folders):
        return found
    why = f"no {what} in {', '.join(bare)}: msprof failed there or wrote none"
    return CheckResult(
        "partial", found.arrived, "; ".join(each for each in (found.reason, why) if each)
    )


def _has_kernels(folder: Path) -> bool:
    # Where there is a text export, that is what was read.
    if any(ascend.output(folder, name) for name in ("kernel_details.csv", "trace_view.json")):
        return ascend.output(folder, "kernel_details.csv") is not None
    return any(_rows(folder, table) for table in ("COMPUTE_TASK_INFO", "COMMUNICATION_OP"))


def profiler_level(capture: Capture) -> CheckResult:
    """Tell the level by what only it delivers: kernels, their cores, calls of the runtime."""
    asked = capture.expected.experimental["profiler_level"]
    found = _level(capture)
    if asked == "Level0" and found == "Level1" and _communication_alone(capture):
        return CheckResult("not_checkable", "Level0 or Level1: there is only communication")
    if asked == found:
        return CheckResult("delivered", found)
    if found == "Level1" and asked == "Level2" and not any(_layers(capture)):
        return CheckResult("not_checkable", "Level1 or Level2: there is no api_statistic.csv")
    if found == "Level_none":
        return CheckResult("missing", "no kernels", unread(capture) or "see activities")
    return CheckResult(
        "substituted", found, "torch_npu or CANN took another level: see harness.log"
    )


def _computing(kernels: pl.DataFrame) -> pl.DataFrame:
    """Communication tells its core at any level, and no more."""
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
    """Read the counter group off its columns, and look for values on compute kernels."""
    asked = capture.expected.experimental["aic_metrics"]
    kernels = capture.tables["kernels"]
    columns = pl.Series(kernels.columns)
    present = [name for name, pattern in SIGNATURES.items() if columns.str.contains(pattern).any()]
    counting = kernels.filter(pl.col("core").is_in(COUNTED_CORES))
    if counting.is_empty() and not (kernels.is_empty() or kernels["core"].has_nulls()):
        return CheckResult(
            "not_checkable", "no kernels on AI cores", "no kernel could have counters"
        )
    if not present or counting.is_empty():
        why = unread(capture) or (
            "CANN counted nothing: another tool may hold the AI cores' counters, or the profiler"
            " did not start; see harness.log"
        )
        return CheckResult("missing", "no counters", why)
    if asked not in present:
        why = (
            "this CANN has no MemoryAccess, and torch_npu takes PipeUtilization in its place:"
            " aic_metrics=Memory or L2Cache says part of it, a newer CANN all"
            if asked == "MemoryAccess"
            else "torch_npu or CANN took another group: see harness.log"
        )
        return CheckResult("substituted", ", ".join(present), why)
    signature = [name for name in kernels.columns if _matches(name, SIGNATURES[asked])]
    with_values = counting.filter(pl.any_horizontal(pl.col(signature).is_not_null())).height
    return by_share(
        with_values,
        counting.height,
        f"compute kernels with {asked}",
        "CANN leaves out the counters of kernels that run too long, and of those it lost",
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
                "not_checkable", "", "rates are in l2_cache.csv, of export_type Text"
            )
        return CheckResult(
            "missing", "no l2_cache.csv", unread(capture) or "CANN recorded nothing of the L2 cache"
        )
    table = pl.concat(rows, how="diagonal_relaxed")
    known = table.filter(~pl.col("Hit Rate").is_in(["N/A", ""]) & pl.col("Hit Rate").is_not_null())
    found = by_share(
        known.height,
        table.height,
        "kernels in l2_cache.csv with a hit rate",
        "this chip reports no hit rate there; the counter group L2Cache has it:"
        " profiler.experimental.aic_metrics=L2Cache",
    )
    if found.status == "missing" and table.height:
        # The other column, of victims, is there.
        return CheckResult("partial", found.arrived, found.reason)
    name = "l2_cache.csv"
    return _in_each(capture, found, name, lambda each: ascend.output(each, name) is not None)


def mstx(capture: Capture) -> CheckResult:
    """Look for marks; torch_npu makes one for each step itself."""
    found = _domains(capture)
    if found:
        named = ", ".join(f"{name} {count:,}" for name, count in found.most_common())
        return CheckResult("delivered", f"{found.total():,} marks and ranges ({named})")
    return CheckResult(
        "missing", "no marks", unread(capture) or "CANN recorded none: see harness.log"
    )


def mstx_domain_include(capture: Capture) -> CheckResult:
    """Look for marks of other domains than those asked for."""
    asked = set(capture.expected.experimental["mstx_domain_include"])
    found = _domains(capture)
    foreign = sorted(found.keys() - asked)
    arrived = _named(found)
    if foreign:
        return CheckResult("substituted", arrived, f"marks of {', '.join(foreign)} came, too")
    absent = sorted(asked - found.keys())
    if absent:
        return CheckResult(
            "partial" if found else "missing",
            arrived,
            unread(capture) or f"the workload made no marks in {', '.join(absent)}",
        )
    return CheckResult("delivered", arrived)


def mstx_domain_exclude(capture: Capture) -> CheckResult:
    """Look for marks of the domains that were to be left out."""
    found = _domains(capture)
    excluded = set(capture.expected.experimental["mstx_domain_exclude"])
    unwanted = sorted(found.keys() & excluded)
    if unwanted:
        why = f"marks of {', '.join(unwanted)} came all the same"
        return CheckResult("substituted", _named(found), why)
    return CheckResult("delivered", _named(found))


def _named(domains: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in domains.most_common()) or "no marks"


def _domains(capture: Capture) -> Counter[str]:
    """Count the marks by domain."""
    found: Counter[str] = Counter()
    for folder in capture.cycle_folders:
        found.update(ascend.marks(folder)["domain"].drop_nulls().to_list())
    return found


def with_flops(capture: Capture) -> CheckResult:
    """Look for torch_npu's marks of flops."""
    count = _domains(capture)[FLOPS_DOMAIN]
    if count:
        return CheckResult("delivered", f"{count:,} marks in domain {FLOPS_DOMAIN}")
    return CheckResult(
        "missing",
        f"no marks in domain {FLOPS_DOMAIN}",
        unread(capture) or "torch_npu has formulas for few operators, and the workload runs none",
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
            "not_checkable", "", "modules are in trace_view.json, of export_type Text"
        )
    why = unread(capture) or "the workload calls no module, or torch_npu recorded none"
    return CheckResult("missing", "no calls of modules", why)


_CHUNK = 1 << 22


def _count(folder: Path, name: str, word: bytes) -> int:
    """Count a word in a file of the analysis, without holding the file."""
    path = ascend.output(folder, name)
    if path is None:
        return 0
    with path.open("rb") as file:
        return words_in(iter(lambda: file.read(_CHUNK), b""), word)


def data_simplification(capture: Capture) -> CheckResult:
    """Look for msprof's own output, which a simplified capture does not keep."""
    kept = [
        path
        for each in capture.cycle_folders
        for path in each.glob("PROF_*/mindstudio_profiler_output")
    ]
    asked = bool(capture.expected.experimental["data_simplification"])
    arrived = "msprof's own output was kept" if kept else "msprof's own output was deleted"
    if asked != bool(kept):
        return CheckResult("delivered", arrived)
    return CheckResult("missing", arrived, unread(capture) or "the analysis did not get that far")


def record_op_args(capture: Capture) -> CheckResult:
    """Look for dumped arguments, beside the captures."""
    dumps = _folders(capture, "*_op_args", lambda name: f"{name}_op_args")
    files = [path for each in dumps for path in each.rglob("*") if path.is_file()]
    if files:
        size = sum(path.stat().st_size for path in files)
        return CheckResult("delivered", f"{len(files):,} files, {size:,} bytes")
    return CheckResult(
        "missing", "no file", unread(capture) or "CANN dumped nothing: see harness.log"
    )


def _folders(capture: Capture, inside: str, beside: Callable[[str], str]) -> set[Path]:
    """Return the folders that come in or beside a capture, wherever it lies itself."""
    found = list(RunFolder(capture.folder).raw.glob(f"**/{inside}"))
    for each in (folder.resolve() for folder in capture.cycle_folders):
        found += [*each.glob(inside), each.parent / beside(each.name)]
    return {each.resolve() for each in found if each.is_dir()}


def op_attr(capture: Capture) -> CheckResult:
    """Look for attributes in the database."""
    rows = [
        _texts(
            folder,
            "SELECT s.value FROM COMPUTE_TASK_INFO c LEFT JOIN STRING_IDS s ON s.id = c.attrInfo",
        )
        for folder in capture.cycle_folders
    ]
    values = [value for found in rows for value in found]
    known = sum(value not in {"N/A", "", "None"} for value in values)
    return by_share(
        known,
        len(values),
        "kernels in the database with attributes",
        unread(capture)
        or "this CANN has no feature ATTR, or the operators are not aclnn's, which alone have them",
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
    asked = capture.expected.experimental["export_type"]
    found = {
        "Text": [ascend.output(each, "trace_view.json") for each in capture.cycle_folders],
        "Db": [ascend.database(each) for each in capture.cycle_folders],
    }
    names = {"Text": "trace_view.json", "Db": "ascend_pytorch_profiler.db"}
    lacking = [name for name in asked if not found[name] or None in found[name]]
    arrived = ", ".join(f"{'no ' if name in lacking else ''}{names[name]}" for name in asked)
    if not lacking:
        return CheckResult("delivered", arrived)
    why = unread(capture) or (
        "the analysis failed, which torch_npu prints and no more: see harness.log, and logs/ of the"
        " capture; a database needs an msprof that knows --type=db"
    )
    return CheckResult("missing" if len(lacking) == len(asked) else "partial", arrived, why)


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
    asked = capture.expected.experimental["host_sys"]
    found = [name for name in asked if _host_data(capture, name)]
    return by_share(
        len(found),
        len(asked),
        f"kinds of host data ({', '.join(found) or 'none'})",
        unread(capture)
        or "CANN refused it, which torch_npu only logs: perf, ltrace and iotop, and the rights to"
        " run them, are needed for DISK, NETWORK and OSRT",
    )


def _host_data(capture: Capture, name: str) -> bool:
    if name == NUMA:
        folders = _folders(capture, "PLATFORM*", _platform)
        return any(any(each.iterdir()) for each in folders)
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
    found = {name: count for name, count in counts.items() if count}
    if found:
        return CheckResult(
            "delivered", ", ".join(f"{count:,} rows in {name}" for name, count in found.items())
        )
    return CheckResult(
        "missing",
        f"no {' and no '.join(f'{name}.csv' for name in files)}",
        unread(capture)
        or "CANN refused it, which torch_npu only logs, or the chip has no such port",
    )


def _rows(folder: Path, table: str) -> int:
    found = _texts(folder, f"SELECT CAST(COUNT(*) AS TEXT) FROM {table}")  # noqa: S608 - ours
    return int(found[0]) if found else 0


def _texts(folder: Path, query: str) -> list[str]:
    """Return the first column of what a query finds in the capture's database, if there is one."""
    path = ascend.database(folder)
    if path is None:
        return []
    with sqlite.opened(path) as database:
        return database.values(query)
