"""Every setting of every device has a verdict: a demand with a check, or a reason for none."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import inspect

from harness.capture.run_record import Delivery
from harness.devices import TARGETS
from harness.execution.protocol import Outcome
from harness.settings.changes import Changes
from harness.settings.expectations import (
    BUFFERS,
    EXPECTATIONS,
    IMPLIED,
    UNCHECKABLE,
)
from harness.settings.marks import mark_of
from harness.settings.request import Acceptable, Request
from harness.settings.schema import paths
from harness.settings.torch import TorchExperimental
from harness.verification.checks import check_of
from harness.verification.delivery import verify
from tests.support.captures import capture

DEMANDED = {demand.setting for demand in EXPECTATIONS}
EXPERIMENTAL = "profiler.experimental"


def leaves() -> list[tuple[str, str]]:
    """Return each setting with the device that has it; "" for all."""
    found = [("", path) for path in paths(inspect.type_info(Request))]
    found = [each for each in found if not each[1].startswith(EXPERIMENTAL)]
    for name, target in TARGETS.items():
        settings = paths(inspect.type_info(target.experimental), EXPERIMENTAL)
        found += [(name, path) for path in settings]
    return found


@pytest.mark.parametrize(("device", "path"), leaves(), ids=lambda each: each or "any")
def test_every_setting_has_a_demand_or_a_reason_for_none(device: str, path: str) -> None:
    if path in {"profiler", "profiler.experimental"} or path.startswith("profiler.schedule."):
        return  # a group; and the schedule is judged as one
    places = [path in DEMANDED, path in UNCHECKABLE, path in IMPLIED]
    unsupported = device != "" and path in TARGETS[device].unsupported
    assert sum(places) <= 1, f"{path} has two places in settings/expectations.py"
    if mark_of(path) is Changes.RECORDED:
        assert any(places) or unsupported, f"{path} has no place in settings/expectations.py"
    else:
        assert not any(places), f"{path} records nothing that could be expected"


@pytest.mark.parametrize("device", TARGETS)
def test_a_demand_of_a_devices_setting_has_a_check_there(device: str) -> None:
    target = TARGETS[device]
    for path in paths(inspect.type_info(target.experimental), EXPERIMENTAL):
        if path in DEMANDED and path not in target.unsupported:
            assert check_of(path, device), (device, path)


def test_every_field_of_torchs_own_settings_is_one_of_ours() -> None:
    known = {field.encode_name for field in inspect.type_info(TorchExperimental).fields}  # type: ignore[attr-defined]
    torch = pytest.importorskip("torch._C._profiler")
    words = torch._ExperimentalConfig.__init__.__doc__
    missing = [name for name in known if f"{name}:" not in words]
    assert not missing
    assert known == set(torch_fields(words))


def torch_fields(words: str) -> list[str]:
    inside = words[words.index("(") + 1 : words.index(") ->")]
    names = [part.partition(":")[0].strip(" *,") for part in inside.split(",") if ":" in part]
    return [name for name in names if name.isidentifier() and name != "self"]


def test_the_last_names_of_what_can_be_accepted_tell_them_apart() -> None:
    names = Acceptable.__args__  # type: ignore[attr-defined]
    full = [name for name in names if name.startswith("profiler.")]
    assert {name.rpartition(".")[2] for name in full} == set(names) - set(full)
    ends = [name.rpartition(".")[2] for name in DEMANDED]
    assert len(set(ends)) == len(ends)
    assert set(full) <= DEMANDED


CUDA = ("device=cuda", "profiler=level1")


def judged(
    setting: str, *settings: str, folder: Path = Path("nowhere"), **more: object
) -> Delivery:
    from msgspec.structs import replace

    operators = more.pop("operators", {})
    made = capture(*settings, folder=folder, operators=operators)  # type: ignore[arg-type]
    made = replace(made, outcome=Outcome(status="ok"), **more)
    return next(item for item in verify(made) if item.setting == setting)


@pytest.mark.parametrize(
    ("log", "status", "arrived"),
    [
        (None, "not_checkable", ""),
        ("all is well\n", "delivered", "torch reports no loss"),
        (
            "UserWarning: Device profiling activity collection was stopped early at step 3. And\n",
            "partial",
            "activity collection was stopped early at step 3",
        ),
        (
            "WARNING: Exceeded max GPU buffer count (33 >= 33) - terminating tracing\n",
            "partial",
            "Exceeded max GPU buffer count (33 >= 33) - terminating tracing",
        ),
    ],
)
def test_buffers_that_overflowed_are_told_by_torch_alone(
    tmp_path: Path, log: str | None, status: str, arrived: str
) -> None:
    if log is not None:
        (tmp_path / "harness.log").write_text(log, encoding="utf-8")
    found = judged(BUFFERS, *CUDA, folder=tmp_path)
    assert (found.status, found.arrived) == (status, arrived)
    assert found.fails == (status == "partial")


@pytest.mark.parametrize(
    ("setting", "value", "kind", "arrived"),
    [
        ("enable_cuda_sync_events", "true", "cuda_sync", "12 synchronisation events"),
        ("profiler_metrics", "[a__b.sum]", "cuda_profiler_range", "12 ranges with counters"),
    ],
)
def test_events_of_their_kind_show_settings_of_cuda(
    setting: str, value: str, kind: str, arrived: str
) -> None:
    from harness.tables.event_counts import EventCounts

    words = (*CUDA, f"{EXPERIMENTAL}.{setting}={value}")
    seen = {kind: EventCounts(seen=12, rows=0, marks=0, hidden=0)}
    found = judged(f"{EXPERIMENTAL}.{setting}", *words, event_counts=seen)
    assert (found.status, found.arrived) == ("delivered", arrived)
    assert judged(f"{EXPERIMENTAL}.{setting}", *words).status == "missing"


def test_threads_and_collections_are_delivered_or_may_not_have_been(tmp_path: Path) -> None:
    import gzip

    words = (f"{EXPERIMENTAL}.profile_all_threads=true",)
    for threads, status in (([1, 2, 1], "delivered"), ([1, 1, 1], "not_checkable")):
        operators = {"name": ["aten::mm"] * 3, "thread": threads}
        found = judged(f"{EXPERIMENTAL}.profile_all_threads", *words, operators=operators)
        assert found.status == status
    words = (f"{EXPERIMENTAL}.record_python_gc_info=true",)
    (tmp_path / "raw").mkdir()
    for text, status in ((b'{"name": "Python GC"}', "delivered"), (b"{}", "not_checkable")):
        (tmp_path / "raw" / "trace_0.json.gz").write_bytes(gzip.compress(text))
        raw = ("raw/trace_0.json.gz",)
        found = judged(f"{EXPERIMENTAL}.record_python_gc_info", *words, folder=tmp_path, raw=raw)
        assert found.status == status
    (tmp_path / "raw" / "trace_0.json.gz").write_bytes(gzip.compress(text)[:-5])
    found = judged(f"{EXPERIMENTAL}.record_python_gc_info", *words, folder=tmp_path, raw=raw)
    assert (found.status, "cut off" in found.reason) == ("missing", True)
