"""Each setting has one mark for what it changes, and all that depends on it reads the mark."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, convert, inspect, to_builtins

from harness.capture.run_record import Delivery, RunRecord, finished, request_hash
from harness.configuration.composition import compose_jobs, identity
from harness.errors import RefusedError
from harness.execution.plan import plan
from harness.merge.compatibility import candidates, chosen
from harness.settings.changes import Changes, Executed, Judged, Placed
from harness.settings.marks import _fields, mark_of, measured
from harness.settings.request import COUNTERS, Request
from harness.settings.schema import flatten
from tests.support.composing import composed
from tests.support.run_folders import Columns, run_folder

REQUEST = inspect.type_info(Request)
MEASURED = {Changes.EXECUTED, Changes.RECORDED}
COMPOSED = [
    ("device=cpu", "workload=mlp"),
    ("device=cuda", "workload=conv"),
    ("device=npu", "workload=callable", "workload.target=package.module:name"),
]


def leaves(type_: inspect.Type, path: str = "") -> Iterator[tuple[str, inspect.Type]]:
    """Yield every setting below a type, with its type."""
    branches = type_.types if isinstance(type_, inspect.UnionType) else (type_,)
    structs = [branch for branch in branches if isinstance(branch, inspect.StructType)]
    for struct in structs:
        for field in struct.fields:
            yield from leaves(field.type, f"{path}.{field.encode_name}".removeprefix("."))
    if not structs:
        yield path, type_


LEAVES = dict(leaves(REQUEST))


@pytest.mark.parametrize("path", LEAVES)
def test_every_setting_has_exactly_one_mark(path: str) -> None:
    marks = [mark for mark in marks_on_the_way_to(path) if mark is not None]
    assert marks, path
    assert mark_of(path) is marks[-1]
    # A field repeats no mark of its group: it has that one already.
    assert all(mark is not group for group, mark in pairwise(marks)), path


def marks_on_the_way_to(path: str) -> Iterator[Changes | None]:
    structs: tuple[type[Struct], ...] = (Request,)
    for name in path.split("."):
        field = next(_fields(struct)[name] for struct in structs if name in _fields(struct))
        yield field.mark
        structs = field.structs


def test_settings_of_every_kind_are_marked_as_such() -> None:
    assert mark_of("seed") is Changes.EXECUTED
    assert mark_of("workload.steps") is Changes.EXECUTED
    assert mark_of("profiler.baseline.steps") is Changes.EXECUTED
    assert mark_of("profiler.experimental.aic_metrics") is Changes.RECORDED
    assert mark_of("delivery.accept") is Changes.JUDGED
    assert mark_of("analysis.bound.cube.mac") is Changes.JUDGED
    assert mark_of("merge.match") is Changes.JUDGED
    assert {path for path in LEAVES if mark_of(path) is Changes.PLACED} == {
        "name",
        "profiler.analyse",
        "profiler.analyse_timeout_s",
        "profiler.max_seconds",
        "profiler.max_memory_gib",
        "execution.timeout_s",
        "execution.grace_s",
        "execution.stall_notice_s",
        "execution.join_timeout_s",
        "execution.exit_barrier_timeout_s",
        "report.detail",
        "sweep.max_jobs",
        "sweep.resume",
    }


def test_what_is_inside_a_value_or_unknown_counts_too() -> None:
    assert mark_of("device.environment.OMP_NUM_THREADS") is Changes.EXECUTED
    assert mark_of("analysis.something_new") is Changes.JUDGED
    assert mark_of("experiment") is Changes.EXECUTED
    assert measured({"analysis": {"bound": {}}, "experiment": {"a": 1}, "name": "x"}) == {
        "experiment": {"a": 1}
    }


class Twice(Struct):
    setting: Executed[Annotated[int, Changes.JUDGED]]


class Once(Struct):
    group: Judged[Twice]
    setting: Placed[int]


def test_two_marks_on_one_field_are_a_mistake_of_ours() -> None:
    assert get_type_hints(Once)
    assert _fields(Once)["setting"].mark is Changes.PLACED
    assert _fields(Once)["group"].structs == (Twice,)
    with pytest.raises(TypeError, match=r"Twice\.setting has two marks"):
        _fields(Twice)


def values(type_: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0912 - a case a type
    """Return a strategy for what a setting of this type may be."""
    match type_:
        case inspect.Metadata(type=inner):
            return values(inner)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.LiteralType(values=words):
            return st.sampled_from(words)
        case inspect.StrType(pattern=pattern):
            return st.text() if pattern is None else st.from_regex(pattern, fullmatch=True)
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, 99 if most is None else most)
        case inspect.FloatType(ge=least, gt=above, le=most):
            low = least if least is not None else above
            return st.floats(low, most or 1e6, exclude_min=above is not None)
        case inspect.VarTupleType(item_type=item, min_length=least):
            return st.lists(values(item), min_size=least or 0, max_size=3)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(values, items)).map(list)
        case inspect.DictType(value_type=value):
            return st.dictionaries(st.text(min_size=1), values(value), max_size=3)
        case inspect.UnionType(types=types):
            return st.one_of(*map(values, types))
        case _:
            assert isinstance(type_, inspect.AnyType)
            return st.integers() | st.text() | st.dictionaries(st.text(), st.integers(), max_size=2)


@pytest.mark.parametrize("overrides", COMPOSED, ids=" ".join)
@given(data=st.data())
def test_the_hash_of_a_request_changes_with_what_is_measured_and_with_nothing_else(
    overrides: tuple[str, ...], data: st.DataObject
) -> None:
    before = to_builtins(composed(*overrides))
    present = [path for path in LEAVES if path != "device.name" and has(before, path)]
    path = data.draw(st.sampled_from(present))
    changed = copy.deepcopy(before)
    group, _, name = path.rpartition(".")
    at(changed, group)[name] = data.draw(values(LEAVES[path]))
    first, second = convert(before, Request), convert(changed, Request)
    same = request_hash(first) == request_hash(second)
    assert same == (first == second or mark_of(path) not in MEASURED)


def at(settings: dict[str, Any], group: str) -> dict[str, Any]:
    for name in filter(None, group.split(".")):
        settings = settings[name]
    return settings


def has(settings: dict[str, Any], path: str) -> bool:
    for name in path.split("."):
        if name not in settings:
            return False
        settings = settings[name]
    return True


@pytest.mark.parametrize(
    "override",
    [
        *("name=other", "delivery.accept=[with_stack]", "sweep.resume=false"),
        *("merge.match=strict", "analysis.bound.short_us=7", "profiler.analyse_timeout_s=7"),
        *("execution.timeout_s=7", "execution.grace_s=7", "seed=7", "execution=inline"),
        *("profiler.baseline.steps=7", "profiler.with_stack=true", "device.index=1"),
    ],
)
def test_the_name_of_a_sweep_changes_with_what_is_measured_and_with_nothing_else(
    override: str,
) -> None:
    plain = compose_jobs(["workload.batch=1,2"], multirun=True)
    other = compose_jobs(["workload.batch=1,2", override], multirun=True)
    changes = mark_of(override.partition("=")[0])
    assert (identity(plain) != identity(other)) == (changes in MEASURED)


@pytest.mark.parametrize("overrides", COMPOSED, ids=" ".join)
def test_what_is_recorded_is_what_the_profiler_gets(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    request = composed(*overrides)
    effective = plan(request, tmp_path).recording.effective
    settings = to_builtins(request)
    del settings["profiler"]["experimental"]["device"]
    recorded = {path for path, _ in flatten(settings) if mark_of(path) is Changes.RECORDED}
    assert recorded == set(effective)


@pytest.mark.parametrize("path", LEAVES)
def test_runs_that_differ_in_a_measured_setting_are_not_merged(path: str, tmp_path: Path) -> None:
    for number in (1, 2):
        leave(tmp_path / f"{number}", run({path: number}))
    may_differ = path in COUNTERS or path.startswith("rehearsal.faults.")
    runs = candidates([tmp_path / "1", tmp_path / "2"])
    if mark_of(path) in MEASURED and not may_differ:
        with pytest.raises(RefusedError) as refused:
            chosen(runs, "strict")
        assert [problem.setting for problem in refused.value.problems] == [path]
    else:
        assert len(chosen(runs, "strict").runs) == 2


def run(requested: dict[str, Any], **more: Any) -> RunRecord:
    return RunRecord(
        **{"status": "ok", "verdict": "delivered", "exit_code": 0, **more},
        versions={},
        host="here",
        device="npu",
        requested=requested,
    )


def leave(folder: Path, record: RunRecord) -> None:
    folder.mkdir()
    rows: Columns = {"step": [0], "name": ["mm"], "start_ns": [1], "duration_ns": [2]}
    run_folder(folder, record, kernels=rows, operators={**rows, "id": [0]})


FLOPS = Delivery(
    setting="profiler.with_flops",
    requested="true",
    arrived="some",
    status="partial",
    expectation="flops",
    accepted=True,
)


@pytest.mark.parametrize(
    ("overrides", "record", "kept"),
    [
        ((), {}, True),
        (("name=other", "execution.timeout_s=7"), {}, True),
        (("seed=1",), {}, False),
        ((), {"exit_code": 3}, False),
        ((), {"delivery": (FLOPS,)}, False),
        (("delivery.accept=[with_flops]",), {"delivery": (FLOPS,)}, True),
        (("delivery.accept=[profiler.with_flops]",), {"delivery": (FLOPS,)}, True),
        (("delivery.accept=[with_stack]",), {"delivery": (FLOPS,)}, False),
        ((), {"verdict": "pending"}, False),
        (("profiler.analyse=later",), {"verdict": "pending"}, True),
        (("profiler.analyse=later",), {}, True),
    ],
)
def test_an_earlier_run_is_kept_if_it_measured_the_same_and_is_good_enough_now(
    overrides: tuple[str, ...], record: dict[str, Any], kept: bool, tmp_path: Path
) -> None:
    first = composed("device=npu")
    leave(tmp_path / "job", run({}, request_hash=request_hash(first), **record))
    earlier = finished(composed("device=npu", *overrides), tmp_path / "job", print)
    assert (earlier is not None) == kept
