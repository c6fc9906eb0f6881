"""What torch_npu resets in silence, the harness refuses: one row a rule, both executed.

torch_npu's own answer is taken from the real wheel, over the emulator.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.compose import compose_jobs
from harness.plan import plan
from harness.validate import problems
from tests.npu.conftest import OnNpu, run_on_npu


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One silent rule of torch_npu."""

    name: str
    asked: dict[str, Any]
    """What is handed to torch_npu."""
    got: dict[str, Any]
    """What torch_npu makes of it."""
    typed: tuple[str, ...]
    """The same, as a user of the harness types it."""
    refused: str
    """The setting that the harness names when it refuses."""
    kind: str = "experimental"


def experimental(**settings: object) -> tuple[str, ...]:
    def text(value: object) -> str:
        plain = json.dumps(value).replace('"', "")
        return plain.replace(", ", ",")

    return tuple(f"profiler.experimental.{name}={text(value)}" for name, value in settings.items())


def rule(name: str, refused: str, got: dict[str, Any], **asked: Any) -> Rule:
    return Rule(
        name=name,
        asked=asked,
        got=got,
        typed=experimental(**asked),
        refused=f"profiler.experimental.{refused}",
    )


def step(name: str, given: object, got: int) -> Rule:
    return Rule(
        name=f"{name}={given} becomes {got}",
        kind="schedule",
        asked={name: given},
        got={name: got},
        typed=(f"profiler.schedule.{name}={given}",),
        refused=f"profiler.schedule.{name}",
    )


RULES = [
    rule(
        "Level0 drops the counter group",
        "aic_metrics",
        {"aic_metrics": "AiCoreNone"},
        profiler_level="Level0",
        aic_metrics="PipeUtilization",
    ),
    rule(
        "Level_none drops the counter group",
        "aic_metrics",
        {"aic_metrics": "AiCoreNone"},
        profiler_level="Level_none",
        aic_metrics="Memory",
        mstx=True,
    ),
    rule(
        "Level_none forces marks on",
        "mstx",
        {"mstx": True},
        profiler_level="Level_none",
        aic_metrics="AiCoreNone",
        mstx=False,
    ),
    rule(
        "an unknown level becomes Level0, with the counters kept",
        "profiler_level",
        {"profiler_level": "Level0", "aic_metrics": "Memory"},
        profiler_level="Level9",
        aic_metrics="Memory",
    ),
    rule(
        "an unknown counter group becomes the default",
        "aic_metrics",
        {"aic_metrics": "PipeUtilization"},
        profiler_level="Level1",
        aic_metrics="PipeUtilisation",
    ),
    rule(
        "an unknown export type becomes Text",
        "export_type",
        {"export_type": ["Text"]},
        export_type=["Excel"],
    ),
    rule("no export type becomes Text", "export_type", {"export_type": ["Text"]}, export_type=[]),
    rule(
        "operator attributes without a database are dropped",
        "op_attr",
        {"op_attr": False},
        op_attr=True,
        export_type=["Text"],
    ),
    *(
        rule(f"{name}=7 becomes {default}", name, {name: default}, **{name: 7})
        for name, default in {
            "l2_cache": False,
            "msprof_tx": False,
            "mstx": False,
            "data_simplification": True,
            "record_op_args": False,
            "op_attr": False,
            "sys_io": False,
            "sys_interconnection": False,
        }.items()
    ),
    rule(
        "domains without marks are cleared",
        "mstx",
        {"mstx_domain_include": []},
        mstx_domain_include=["mine"],
    ),
    rule(
        "excluded domains beside included ones are dropped",
        "mstx_domain_exclude",
        {"mstx_domain_exclude": []},
        mstx=True,
        mstx_domain_include=["mine"],
        mstx_domain_exclude=["other"],
    ),
    rule(
        "a domain that is no text clears all",
        "mstx_domain_include",
        {"mstx_domain_include": []},
        mstx=True,
        mstx_domain_include=["mine", 7],
    ),
    rule(
        "a negative threshold is dropped",
        "gc_detect_threshold",
        {"gc_detect_threshold": None},
        gc_detect_threshold=-1,
    ),
    rule(
        "a threshold that is a text is dropped",
        "gc_detect_threshold",
        {"gc_detect_threshold": None},
        gc_detect_threshold="long",
    ),
    rule(
        "true passes for a threshold of 1 ms",
        "gc_detect_threshold",
        {"gc_detect_threshold": True},
        gc_detect_threshold=True,
    ),
    rule("an unknown host system clears all", "host_sys", {"host_sys": []}, host_sys=["GPU"]),
    rule("host systems that are no list are dropped", "host_sys", {"host_sys": []}, host_sys="CPU"),
    step("wait", -1, 0),
    step("warmup", -2, 0),
    step("warmup", 0.5, 0),
    step("active", 0, 1),
    step("active", 1.5, 1),
    step("repeat", -1, 0),
    step("skip_first", -1, 0),
    step("skip_first_wait", 0.5, 0),
]
NAMES = [each.name for each in RULES]


@pytest.fixture(scope="module")
def torch_npus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What torch_npu makes of every rule's settings, by the rule's name; one process for all."""
    cases = [{"kind": each.kind, "settings": each.asked} for each in RULES]
    folder = tmp_path_factory.mktemp("rules")
    emulator = request.getfixturevalue("emulator")
    said = run_on_npu(emulator, folder, "rules.py", json.dumps(cases))
    results = [
        json.loads(line.removeprefix("RESULT "))
        for line in said.splitlines()
        if line.startswith("RESULT ")
    ]
    return dict(zip(NAMES, results, strict=True))


@pytest.mark.parametrize("each", RULES, ids=NAMES)
def test_torch_npu_resets_it(each: Rule, torch_npus: dict[str, dict[str, Any]]) -> None:
    made = torch_npus[each.name]
    assert {name: made[name] for name in each.got} == each.got
    assert any(each.asked.get(name, ...) != made[name] for name in each.got) or (
        each.asked == {"gc_detect_threshold": True}
    ), "the rule changes nothing"


@pytest.mark.parametrize("each", RULES, ids=NAMES)
def test_harness_refuses_it(each: Rule) -> None:
    (job,) = compose_jobs(["device=npu", *each.typed]).jobs
    found = [*job.problems, *(problems(job.request) if job.request else ())]
    assert each.refused in [problem.setting for problem in found]


def test_forgotten_profiler_arguments_are_refused_too() -> None:
    for typed, refused in (
        (["profiler.activities=[]"], "profiler.activities"),
        (["profiler.record_shapes=7"], "profiler.record_shapes"),
        (["profiler.with_flops=true"], "profiler.with_flops"),
        (
            [
                "profiler=level0",
                "profiler.activities=[device]",
                "profiler.experimental.gc_detect_threshold=5",
            ],
            "profiler.experimental.gc_detect_threshold",
        ),
    ):
        (job,) = compose_jobs(["device=npu", *typed]).jobs
        found = [*job.problems, *(problems(job.request) if job.request else ())]
        assert [problem.setting for problem in found] == [refused]


def test_lists_are_handed_over_as_lists(on_npu: OnNpu) -> None:
    """OmegaConf's list type is what torch_npu drops in silence."""
    (job,) = compose_jobs(
        ["device=npu", "profiler.experimental.export_type=[Text,Db]", "profiler=level1"]
    ).jobs
    assert job.request is not None
    lowered = plan(job.request, Path("x")).profiler.experimental
    assert lowered["export_type"] == ["Text", "Db"]
    assert type(lowered["export_type"]) is list
    script = (
        "from omegaconf import OmegaConf\n"
        "from torch_npu import profiler\n"
        "given = OmegaConf.create(['db'])\n"
        "print('GOT', profiler._ExperimentalConfig(export_type=given)._export_type)\n"
    )
    assert "GOT ['text']" in on_npu(script)
