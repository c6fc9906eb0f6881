"""Each check, from evidence that is there, half there, and not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from harness.capture.run_record import Delivery
from harness.execution.protocol import NO_LINES, Outcome, Status
from harness.verification.delivery import verify
from tests.support.captures import Columns, capture

SHAPES: list[object] = [[[2, 3]], [[2, 3]], None]
STEPS: list[object] = [1, 2, 3]
NAMES: list[object] = ["aten::mm", "aten::add", "aten::mm"]


def judged(setting: str, *settings: str, folder: Path = Path(), **columns: Columns) -> Delivery:
    raw = tuple(str(path.relative_to(folder)) for path in folder.glob("raw/*"))
    found = verify(capture(*settings, folder=folder, stages=(), raw=raw, **columns))
    (delivery,) = [item for item in found if item.setting == setting]
    return delivery


def operators(**columns: list[object]) -> Columns:
    return {"name": NAMES, "step": STEPS} | columns


@pytest.mark.parametrize(
    ("setting", "settings", "columns", "status", "arrived"),
    [
        ("activities", (), operators(), "delivered", "3 operators"),
        ("activities", (), {}, "missing", "0 operators"),
        (
            "activities",
            ("device=cuda",),
            operators(),
            "partial",
            "3 operators, 0 kernels",
        ),
        ("schedule", (), operators(), "delivered", "3 of 3 requested steps recorded (100.0%)"),
        (
            "schedule",
            (),
            operators(step=[1, 3, None]),
            "partial",
            "2 of 3 requested steps recorded (66.7%)",
        ),
        (
            "record_shapes",
            (),
            operators(input_shapes=SHAPES),
            "partial",
            ("2 of 3 operators have shapes; 2 of 3 aten:: operators with arguments (66.7%)"),
        ),
        (
            "record_shapes",
            (),
            operators(input_shapes=[None] * 3),
            "missing",
            ("0 of 3 operators have shapes; 0 of 3 aten:: operators with arguments (0.0%)"),
        ),
        (
            "record_shapes",
            (),
            operators(input_shapes=[[[2]], None, [[2]]]),
            "delivered",
            ("2 of 3 operators have shapes; 2 of 2 aten:: operators with arguments (100.0%)"),
        ),
        (
            "record_shapes",
            (),
            operators(name=["mine"] * 3),
            "not_checkable",
            "no aten:: operators",
        ),
        (
            "with_stack",
            ("profiler=stacks",),
            operators(stack_id=[7, None, 7]),
            "delivered",
            "2 of 3 aten:: operators (66.7%)",
        ),
        (
            "with_stack",
            ("profiler=stacks",),
            operators(),
            "missing",
            "0 of 3 aten:: operators (0.0%)",
        ),
        (
            "with_stack",
            ("profiler=stacks",),
            operators(name=["mine"] * 3),
            "not_checkable",
            "no aten:: operators",
        ),
        (
            "with_stack",
            ("profiler=stacks",),
            operators(name=["mine"] * 3, stack_id=[7, None, 7]),
            "delivered",
            "2 of 3 operators (66.7%)",
        ),
        ("with_stack", ("profiler=stacks",), {}, "missing", "no aten:: operators"),
        (
            "with_flops",
            ("profiler=level1",),
            operators(flops=[12, None, 12]),
            "delivered",
            "2 of 2 operators with a formula (100.0%)",
        ),
        (
            "with_flops",
            ("profiler=level1",),
            operators(flops=[12, None, None]),
            "partial",
            "1 of 2 operators with a formula (50.0%)",
        ),
        (
            "with_flops",
            ("profiler=level1",),
            operators(name=["aten::relu"] * 3),
            "not_checkable",
            "no operator with a formula",
        ),
        (
            "with_modules",
            (
                "workload=callable",
                "workload.target=a:b",
                "profiler.with_modules=true",
            ),
            operators(),
            "missing",
            "no module hierarchy",
        ),
    ],
)
def test_operators_show_whether(
    setting: str, settings: tuple[str, ...], columns: Columns, status: str, arrived: str
) -> None:
    found = judged(f"profiler.{setting}", *settings, operators=columns)
    assert (found.status, found.arrived) == (status, arrived)
    assert bool(found.reason) == (status != "delivered")


def test_kernels_alone_show_the_device_activity_and_its_steps() -> None:
    settings = ("device=cuda", "profiler=level0", "profiler.activities=[device]")
    kernels: Columns = {"name": ["gemm"] * 3, "step": STEPS}
    for setting in ("profiler.activities", "profiler.schedule"):
        assert judged(setting, *settings, kernels=kernels).status == "delivered"


def test_perf_events_that_the_system_lacks_are_the_reason() -> None:
    settings = ("profiler.experimental.performance_events=[cycles]",)
    for setting in ("activities", "experimental.performance_events"):
        found = judged(f"profiler.{setting}", *settings)
        assert found.status == "missing"
        assert "kernel.perf_event_paranoid" in found.reason


@pytest.mark.parametrize(
    ("columns", "status", "arrived"),
    [
        ({"cycles": [5, 0, 7]}, "delivered", "3 of 3 operators with cycles (100.0%)"),
        ({"cycles": [5, None, 7]}, "partial", "2 of 3 operators with cycles (66.7%)"),
        ({"cycles": [None] * 3}, "missing", "no count of cycles"),
        ({}, "missing", "no count of cycles"),
    ],
)
def test_operators_show_what_was_counted(
    columns: dict[str, list[object]], status: str, arrived: str
) -> None:
    setting = "profiler.experimental.performance_events"
    found = judged(setting, f"{setting}=[cycles]", operators=operators(**columns))
    assert (found.status, found.arrived) == (status, arrived)
    assert bool(found.reason) == (status != "delivered")


def test_one_of_two_events_that_was_not_counted_is_partly_missing() -> None:
    setting = "profiler.experimental.performance_events"
    columns = operators(cycles=[1, 2, 3])
    found = judged(setting, f"{setting}=[cycles,pagefaults]", operators=columns)
    assert (found.status, found.arrived) == ("partial", "no count of pagefaults")


@pytest.mark.parametrize(
    ("kinds", "status"), [(["alloc", "free"], "delivered"), (["free"], "missing"), ([], "missing")]
)
def test_allocations_show_profile_memory(kinds: list[object], status: str) -> None:
    found = judged("profiler.profile_memory", "profiler=memory", memory={"kind": kinds})
    assert found.status == status


@pytest.mark.parametrize(("content", "status"), [(b"x", "delivered"), (b"", "missing")])
def test_file_shows_the_memory_timeline(tmp_path: Path, content: bytes, status: str) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "memory_timeline.json.gz").write_bytes(content)
    settings = ("profiler=memory", "profiler.memory_timeline=true")
    assert judged("profiler.memory_timeline", *settings, folder=tmp_path).status == status


@pytest.mark.parametrize(
    ("status", "ended", "found", "arrived"),
    [
        ("interrupted", [1], "partial", "1 of 3 requested steps recorded (33.3%)"),
        ("failed", [], "missing", "0 of 3 requested steps recorded (0.0%)"),
        ("ok", [1], "partial", "2 of 3 requested steps recorded (66.7%)"),
    ],
)
def test_a_step_that_was_cut_off_is_no_recorded_one(
    status: Status, ended: list[object], found: str, arrived: str
) -> None:
    counted: Columns = {"step": [-1, *ended], "phase": ["baseline", *["active"] * len(ended)]}
    made = capture(operators=operators(step=[1, 1, 2]), steps=counted)
    stopped = structs.replace(made, outcome=Outcome(status=status))
    (delivery,) = [each for each in verify(stopped) if each.setting == "profiler.schedule"]
    assert (delivery.status, delivery.arrived) == (found, arrived)
    reasons = {
        "interrupted": "step(s) 2 did not end, and no event was recorded in step(s) 3: ",
        "failed": "step(s) 1, 2 did not end, and no event was recorded in step(s) 3",
        "ok": "no event was recorded in step(s) 3: ",
    }
    assert delivery.reason.startswith(reasons[status])


def test_partial_is_a_failure_unless_accepted() -> None:
    columns = operators(step=[1, 3, None])
    strict = judged("profiler.schedule", operators=columns)
    assert strict.fails
    accepted = judged("profiler.schedule", "delivery.accept=[profiler.schedule]", operators=columns)
    assert accepted.accepted
    assert not accepted.fails


def test_an_accepted_setting_may_be_named_by_its_last_name() -> None:
    columns = operators(step=[1, 3, None], input_shapes=[None, None, None])
    words = ["delivery.accept=[schedule,profiler.with_flops]"]
    assert judged("profiler.schedule", *words, operators=columns).accepted
    assert judged("profiler.record_shapes", *words, operators=columns).fails


def test_missing_cannot_be_accepted() -> None:
    assert judged("profiler.schedule", "delivery.accept=[profiler.schedule]").fails


def test_a_setting_that_nothing_can_check_says_why() -> None:
    found = judged(
        "profiler.experimental.capture_overload_names",
        "profiler.experimental.capture_overload_names=true",
    )
    assert (found.status, found.fails) == ("not_checkable", False)
    assert found.reason == "torch writes overloads to no trace, and no table has them"


@pytest.mark.parametrize(
    ("shapes", "dtypes", "status", "arrived"),
    [
        (
            [[[3, 4], [5, 4], []], [[]], [[]]],
            [["TensorList[2]", "TensorList[2]", "Scalar"], ["float"], ["TensorList[0]"]],
            "delivered",
            "3 of 3 operators have shapes; 3 of 3 aten:: operators with arguments (100.0%)",
        ),
        (
            [[[], []], [[2]], [[2]]],
            [["TensorList", "Scalar"], ["float"], ["float"]],
            "partial",
            "2 of 3 operators have shapes; 2 of 3 aten:: operators with arguments (66.7%)",
        ),
        (
            [[[]], [[]], [[2]]],
            [["float"], [None], ["float"]],
            "delivered",
            "2 of 3 operators have shapes; 2 of 2 aten:: operators with arguments (100.0%)",
        ),
    ],
)
def test_a_list_of_tensors_without_shapes_is_not_delivered(
    shapes: list[object], dtypes: list[object], status: str, arrived: str
) -> None:
    columns = operators(input_shapes=shapes, input_dtypes=dtypes)
    found = judged("profiler.record_shapes", operators=columns)
    assert (found.status, found.arrived) == (status, arrived)


def test_lists_that_the_profiler_never_records_are_named_and_no_failure() -> None:
    columns = operators(
        input_shapes=[[[], []], [[2]], [[2]]],
        input_dtypes=[["TensorList", "Scalar"], ["float"], ["float"]],
    )
    words = ("device=npu", "profiler=level1", "profiler.activities=[host]")
    found = judged("profiler.record_shapes", *words, operators=columns)
    assert found.status == "delivered"
    assert found.arrived == (
        "2 of 3 operators have shapes; 2 of 2 aten:: operators with arguments (100.0%);"
        " 1 have lists of tensors, of which torch_npu records no shapes"
    )


@pytest.mark.parametrize(
    ("source", "flops", "status"),
    [
        ("t.json", [None, None, None], "not_checkable"),
        ("t.json", [12, None, None], "partial"),
        ("", [None, None, None], "missing"),
    ],
)
def test_flops_of_an_imported_trace_are_checked_where_it_has_any(
    source: str, flops: list[object], status: str
) -> None:
    recorded = capture("profiler=level1", operators=operators(flops=flops))
    delivery = {item.setting: item for item in verify(structs.replace(recorded, source=source))}
    assert delivery["profiler.with_flops"].status == status


def lines(*starts: int) -> Columns:
    return {"start_ns": list(starts), "duration_ns": [1] * len(starts)}


ACTIVE: Columns = {
    "step": [1, 2],
    "phase": ["active", "active"],
    "start_ns": [100, 200],
    "duration_ns": [50, 50],
}


@pytest.mark.parametrize(
    ("columns", "status", "arrived"),
    [
        (lines(110, 249), "delivered", "2 of 2 recorded steps have lines (100.0%)"),
        (lines(110, 250), "partial", "1 of 2 recorded steps have lines (50.0%)"),
        (lines(), "missing", "0 of 2 recorded steps have lines (0.0%)"),
    ],
)
def test_lines_are_looked_for_in_each_step(columns: Columns, status: str, arrived: str) -> None:
    found = judged("profiler.with_lines", "profiler=stacks", steps=ACTIVE, lines=columns)
    assert (found.status, found.arrived) == (status, arrived)
    assert bool(found.reason) == (status != "delivered")


def test_lines_of_other_code_alone_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "lines.parquet").touch()
    found = judged("profiler.with_lines", "profiler=stacks", folder=tmp_path, steps=ACTIVE)
    assert found.status == "not_checkable"


def test_another_tracer_is_named_where_lines_are_missing() -> None:
    recorded = capture("profiler=stacks", steps=ACTIVE)
    note = NO_LINES + "another tracer was active, such as a debugger or coverage.py"
    noted = structs.replace(recorded, outcome=Outcome(status="ok", notes=(note,)))
    (found,) = [item for item in verify(noted) if item.setting == "profiler.with_lines"]
    assert found.status == "missing"
    assert "(another tracer was active, such as a debugger or coverage.py)" in found.reason
