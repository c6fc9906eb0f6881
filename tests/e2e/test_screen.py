"""What a person sees on a terminal: one screen, no line twice, a bar that leaves nothing behind."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.conftest import TINY_MLP, Harness, run_harness
from tests.support.terminals import on_terminal

ONE_SCREEN = 40
HINT = "  full: report.detail=full, or summary.md"


def titles(summary: str) -> list[str]:
    return [line.lstrip("# ") for line in summary.splitlines() if line.startswith("#")]


def test_a_run_is_one_screen_and_its_bar_leaves_nothing(tmp_path: Path) -> None:
    screen = on_terminal(tmp_path, "profiler.baseline.steps=80")
    assert screen.code == 0, screen.text
    lines = screen.lines
    assert len(lines) <= ONE_SCREEN, "\n".join(lines)
    assert lines[1] == "harness"
    assert "  everything requested was delivered: 3 of 3 (exit code 0)" in lines
    assert lines[-1] == HINT
    seen = Counter(line for line in lines if line.strip("─ "))
    assert {line: count for line, count in seen.items() if count > 1} == {}
    # 80 unprofiled steps take long enough to be measured.
    assert re.search(r"of 86 steps, \d+ s, about \d+ s left", screen.text)
    assert not [line for line in lines if "of 86 steps" in line or "torch is loaded" in line]
    assert not re.search(r"\x1b\[(\d+;)*(3[0-8]|4[0-8]|9[0-7])[;m]", screen.text), "a colour"
    assert screen.text.count("\x1b[?25l") == screen.text.count("\x1b[?25h") > 0


def test_full_prints_every_section_and_brief_says_where_the_rest_is(tmp_path: Path) -> None:
    run = run_harness(tmp_path, *TINY_MLP)
    summary = (run.latest / "summary.md").read_text(encoding="utf-8")
    assert run.out.endswith(f"{HINT}\n")
    brief = [title for title in titles(summary) if f"\n{title}\n" in run.out]
    assert set(titles(summary)) - set(brief) == {
        "Delivery: what was requested, what arrived",
        "Events: what became of what was recorded",
    }
    full = run_harness(tmp_path, "read", str(run.latest), "report.detail=full")
    assert full.code == 0, full.err
    assert [title for title in titles(summary) if f"\n{title}\n" in full.out] == titles(summary)
    assert "full:" not in full.out
    # A run that was made so is read so.
    made = run_harness(tmp_path, *TINY_MLP, "report.detail=full")
    read = run_harness(tmp_path, "read", str(made.latest))
    assert [title for title in titles(summary) if f"\n{title}\n" in read.out] == titles(summary)


def test_what_read_and_merge_take_is_named(harness: Harness) -> None:
    run = harness(*TINY_MLP)
    wrong = harness("read", str(run.latest), "report.detail=long")
    assert wrong.code == 2
    assert "report.detail=long: it must be brief or full" in wrong.err
    trace = run.latest / "raw" / "trace.json.gz"
    imported = harness("read", str(trace), "report.detail=full")
    assert imported.code == 0, imported.err
    assert "Events: what became of what was recorded" in imported.out
    other = harness("read", str(trace), "profiler.analyse_timeout_s=5")
    assert other.code == 2
    assert "takes no setting but report.detail" in other.err


def test_a_traceback_and_the_reason_below_it_say_the_error_once(harness: Harness) -> None:
    run = harness("workload=callable", "workload.target=nowhere:factory")
    assert run.code == 1
    text = " ".join((run.out + run.err).split())
    assert text.count("no module nowhere in") == 1
    assert "Traceback (most recent call last)" in text


def test_a_sweep_says_what_is_left_and_each_result_once(harness: Harness) -> None:
    run = harness("-m", *TINY_MLP, "seed=1,2,3")
    assert run.code == 0, run.err
    heads = [line for line in run.err.splitlines() if line.startswith("job ")]
    assert heads[0] == "job 1 of 3  seed=1"
    for number, head in enumerate(heads[1:], 2):
        pattern = (
            rf"job {number} of 3  seed={number}  (\d+:)?\d+( s)? so far, about \d+ (s|min) left"
        )
        assert re.fullmatch(pattern, head)
    assert len(heads) == 3
    assert "delivered" not in run.err
    assert run.out.count("delivered") == 4  # the title, and each job
