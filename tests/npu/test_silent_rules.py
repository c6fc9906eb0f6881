"""torch_npu's silent rules: each is tried on the real wheel, over the emulator, and answered."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect, to_builtins

from harness.configuration.composition import compose_jobs
from harness.configuration.validate import problems
from harness.execution.plan import plan
from harness.settings import schema
from harness.settings.expectations import UNCHECKABLE
from harness.settings.request import Request
from tests.conftest import ROOT
from tests.npu.conftest import run_on_npu
from tests.npu.silent_captures import ANALYSES, CAPTURES, RULES
from tests.npu.silent_rules import SETTINGS, Answer, Rule
from tests.support.composing import composed

OFF = "off: "
"""Cases that need a variable in the environment of their process."""
ALONE = "alone: "
"""Cases that need a process of their own."""


class Tried(msgspec.Struct, frozen=True):
    """What torch_npu did, and what it printed meanwhile."""

    found: dict[str, Any]
    said: str = ""


def each(*answers: Answer) -> pytest.MarkDecorator:
    chosen = [rule for rule in RULES if not answers or rule.answer in answers]
    return pytest.mark.parametrize("rule", chosen, ids=[rule.name for rule in chosen])


def results(said: str) -> list[dict[str, Any]]:
    lines = [line for line in said.splitlines() if line.startswith("RESULT ")]
    return [json.loads(line.removeprefix("RESULT ")) for line in lines]


class Trial:
    """Tries rules when the first of them is asked for, many in one process."""

    def __init__(self, emulator: Any, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.known: dict[str, Tried] = {}

    def of(self, rule: Rule) -> Tried:
        if rule.name not in self.known:
            if rule in SETTINGS:
                self._settings(SETTINGS)
            elif rule.kind.startswith(OFF):
                self._off(rule)
            elif rule.kind.startswith(ALONE):
                self._alone(rule)
            else:
                self._cases(CAPTURES if rule in CAPTURES else ANALYSES)
        return self.known[rule.name]

    def harness(self, requests: list[Request]) -> list[dict[str, Any]]:
        """Return what torch_npu holds when the harness has built its profiler."""
        lowered = [
            to_builtins(plan(request, Path("run")).recording.profiler) for request in requests
        ]
        return self._rules([{"kind": "harness", "settings": each} for each in lowered])

    def _rules(self, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        file = self.folder / "cases.json"
        file.write_text(json.dumps(cases))
        return results(run_on_npu(self.emulator, self.folder, "rules.py", str(file)))

    def _settings(self, rules: list[Rule]) -> None:
        found = self._rules([{"kind": rule.kind, "settings": rule.given} for rule in rules])
        for rule, made in zip(rules, found, strict=True):
            self.known[rule.name] = Tried(made)

    def _cases(self, rules: list[Rule]) -> None:
        rules = [rule for rule in rules if not rule.kind.startswith((OFF, ALONE))]
        names = list(dict.fromkeys(rule.kind for rule in rules))
        said = run_on_npu(self.emulator, self.folder, "silent.py", *names)
        made = {result["case"]: Tried(result["found"], result["said"]) for result in results(said)}
        self.known |= {rule.name: made[rule.kind] for rule in rules}

    def _off(self, rule: Rule) -> None:
        variables = {rule.kind.removeprefix(OFF): "on"}
        if rule.hides:
            variables["TORCH_NPU_WARNING_DISABLE"] = "1"
        said = run_on_npu(self.emulator, self.folder, "silent.py", "off", **variables)  # type: ignore[arg-type]
        (result,) = results(said)
        self.known[rule.name] = Tried(result["found"], result["said"])

    def _alone(self, rule: Rule) -> None:
        case = rule.kind.removeprefix(ALONE)
        (result,) = results(run_on_npu(self.emulator, self.folder, "silent.py", case))
        self.known[rule.name] = Tried(result["found"], result["said"])


@pytest.fixture(scope="module")
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(request.getfixturevalue("emulator"), tmp_path_factory.mktemp("rules"))


@each()
def test_torch_npu_does_it_in_silence(rule: Rule, trial: Trial) -> None:
    """No exception reached the program, and no exit code but 0."""
    tried = trial.of(rule)
    assert {name: tried.found[name] for name in rule.got} == rule.got
    assert rule.says in tried.said
    assert not rule.hides or rule.hides not in tried.said
    changed = {name: value for name, value in rule.given.items() if tried.found.get(name) != value}
    # True for a number is the one thing that is taken and should not be.
    assert changed or not rule.given or rule.given == {"gc_detect_threshold": True}


@each("refused")
def test_the_harness_refuses_it(rule: Rule) -> None:
    composition = compose_jobs(["device=npu", *rule.typed])
    (job,) = composition.jobs or (None,)
    found = [*composition.problems, *(job.problems if job else ())]
    found += problems(job.request) if job and job.request else []
    assert rule.typed
    assert rule.setting in [problem.setting for problem in found]


@each("demanded")
def test_the_harness_demands_what_would_be_lost(rule: Rule) -> None:
    request = composed("device=npu", *rule.typed)
    assert problems(request) == []
    expectations = plan(request, Path("run")).recording.expectations
    demands = {expectation.setting: expectation.description for expectation in expectations}
    assert rule.setting in demands
    assert rule.setting not in UNCHECKABLE


def test_the_harness_hands_over_what_works(trial: Trial) -> None:
    """Read back from the profiler that it builds."""
    rules = [rule for rule in RULES if rule.answer == "handed over"]
    requests = [composed("device=npu", *rule.typed) for rule in rules]
    for rule, held in zip(rules, trial.harness(requests), strict=True):
        assert rule.arrives, rule.name
        assert {name: held[name] for name in rule.arrives} == rule.arrives, rule.name


@each("out of reach")
def test_no_setting_leads_there(rule: Rule) -> None:
    names = {path.rpartition(".")[2] for path in schema.paths(inspect.type_info(Request))}
    assert not names & set(rule.absent)
    assert rule.why


def test_every_answer_is_given_and_every_rule_stands_once() -> None:
    assert {rule.answer for rule in RULES} == set(get_args(Answer))
    assert [name for name, count in Counter(rule.name for rule in RULES).items() if count > 1] == [
        # CANN rejects both settings in one capture.
        "host_sys or sys_io that CANN rejects: rejected"
    ]


def test_the_documentation_has_a_row_for_each() -> None:
    text = (ROOT / "docs" / "silent-rules.md").read_text(encoding="utf-8")
    rows = [
        line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line[:2] == "| "
    ]
    told = [row for row in rows if row not in {"asked", "---"}]
    assert told == list(dict.fromkeys(rule.asked for rule in RULES))


def test_the_documentation_names_only_settings_that_exist() -> None:
    text = (ROOT / "docs" / "silent-rules.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:profiler|workload|device)\.[\w.]+)`", text))
    assert named
    known = set(schema.paths(inspect.type_info(Request)))
    assert {name for name in named if name not in known} == set()
