"""Settings to and from the words of engines, by the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Harness, environment


def test_an_export_goes_to_a_pipe_and_what_it_needs_to_stderr(harness: Harness) -> None:
    words = ("device=npu", "profiler=sglang", "profiler.schedule.warmup=0")
    run = harness("export", "sglang", *words, "--out", "/captures")
    assert run.code == 0
    assert json.loads(run.out)["output_dir"] == "/captures"
    assert run.err.splitlines()[0] == ("sglang 0.5.23, device=npu: the body of POST /start_profile")
    assert "start the server without SGLANG_PROFILE_V2=1" in run.err
    assert not list(run.folder.iterdir()), "nothing is written"


def test_what_would_be_lost_is_refused_or_left_out_by_name(harness: Harness) -> None:
    words = ("export", "vllm-ascend", "profiler.schedule.warmup=0")
    run = harness(*words)
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        "refused, nothing was run: 1 problem\n"
        "  profiler.record_shapes=true: vllm-ascend 0.23.0 takes torch_profiler_record_shapes, but"
        " vllm-ascend does not forward it to torch_npu; it does false.\n"
        "    fix: profiler.record_shapes=false, or --partial exports the rest\n"
    )
    partial = harness(*words, "--partial")
    assert partial.code == 3
    assert json.loads(partial.out)["torch_profiler_record_shapes"] is True
    assert "left out, since it would be lost:" in partial.err


def test_another_form_that_loses_nothing_is_the_fix(harness: Harness) -> None:
    words = ("export", "dynamic_profile", "profiler.schedule.warmup=1", "--form", "dyno")
    run = harness(*words)
    assert run.code == 2
    assert "fix: --form file exports all of it" in run.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "export takes one target: sglang, vllm, vllm-ascend"),
        (("sglangg",), "fix: export sglang"),
        (("sglang", "device=cpu"), "device=cpu: sglang profiles cuda and npu"),
        (("vllm", "--form", "file"), "--form=file: vllm takes config, body"),
        (("vllm@0.12.1", "device=cuda"), "of vllm, nothing before 0.13.0 was looked at"),
        (("vllm@new", "device=cuda"), "export=new: a version is numbers with dots"),
        (("python", "workload.batch=3"), "workload.batch=3: an export is of device, profiler and"),
        (("python", "profiler=level0,level1", "-m"), "--multirun: export does not take this flag"),
    ],
)
def test_mistakes_are_named(harness: Harness, words: tuple[str, ...], problem: str) -> None:
    run = harness("export", *words)
    assert (run.code, run.out) == (2, "")
    assert problem in run.err


def test_older_releases_have_forms_of_their_own(harness: Harness) -> None:
    run = harness("export", "vllm@0.20.2", "device=cuda", "profiler=level0")
    assert run.code == 0, run.err
    assert "torch_profiler_activities" not in json.loads(run.out)
    assert run.err.startswith("vllm 0.25.0, device=cuda")
    newer = harness("export", "vllm@0.34", "device=cuda", "profiler=level0")
    assert newer.code == 0
    assert "0.34 was not looked at; this is what 0.33.0 takes" in newer.err


@pytest.mark.parametrize(
    "word", ["seed=5", "device.index=3", "device.environment.OMP_NUM_THREADS=2"]
)
def test_what_is_the_target_s_own_is_refused(harness: Harness, word: str) -> None:
    run = harness("export", "vllm", "device=cuda", "profiler=level0", word)
    assert (run.code, run.out) == (2, "")
    assert f"{word}: an export is of device, profiler and name" in run.err


@pytest.mark.parametrize(
    ("target", "word"),
    [("verl", "name=probe"), ("vllm", "profiler.max_seconds=9"), ("vllm", "profiler.analyse=now")],
)
def test_a_name_or_a_limit_that_was_typed_is_heard(
    harness: Harness, target: str, word: str
) -> None:
    words = ("export", target, "device=cuda", "profiler=level0", word)
    run = harness(*words)
    assert (run.code, run.out) == (2, "")
    assert f"  {word.partition('=')[0]}=" in run.err
    assert "has no field for it.\n    fix: leave it out, or --partial exports the rest" in run.err
    partial = harness(*words, "--partial")
    assert partial.code == 3
    assert "has no field for it" in partial.err


def test_a_name_that_one_form_can_say_and_another_cannot(harness: Harness) -> None:
    words = ("export", "vllm", "device=cuda", "profiler=level0", "profiler.schedule.warmup=0")
    run = harness(*words, "name=probe")
    assert run.code == 2
    assert "name=probe: vllm 0.33.0 has no field for it" in run.err
    assert "fix: --form body exports all of it" in run.err
    assert json.loads(harness(*words, "--form", "body", "name=probe").out)["profile_prefix"]
    odd = harness(*words, "--form", "body", "name=.probe")
    assert odd.code == 2
    assert "has profile_prefix for it, which cannot say this" in odd.err


def test_a_capture_is_not_judged_by_values_that_are_none(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "capture.json").write_text('{"traceEvents": []}')
    config = {"profiler_level": 7, "aic_metrics": "PipeUtilization"}
    asked = {"active": 2, "is_rank": True, "rank_list": ["x"], "experimental_config": config}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    words = (str(tmp_path / "capture.json"), "--requested", str(tmp_path / "asked.json"))
    run = harness("read", *words)
    assert (run.code, run.out) == (2, "")
    assert "profiler.ranks=[x]: must be a list" in run.err
    assert "profiler.experimental.profiler_level=7: must be one of Level0" in run.err
    assert "aic_metrics" not in run.err, "what torch_npu resets is judged, and not refused"


@pytest.mark.parametrize("words", ["export vllm device=cpu profiler=level0", "import body.json"])
def test_a_full_disk_is_no_result(tmp_path: Path, words: str) -> None:
    (tmp_path / "body.json").write_text('{"num_steps": 3}')
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m harness {words} >/dev/full"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("target", "release"),
    [
        ("vllm@0.33", "0.33.0"),
        ("vllm@0.13", "0.17.0"),
        ("verl@0.9", "0.9.0"),
        ("verl@v0.9.0.0", "0.9.0"),
    ],
)
def test_a_version_may_leave_out_its_last_zeros(
    harness: Harness, target: str, release: str
) -> None:
    words = ("device=cuda", "profiler=level0", "profiler.schedule.warmup=0")
    run = harness("export", target, *words, "profiler.activities=[host,device]", "--partial")
    assert run.err.startswith(f"{target.partition('@')[0]} {release}, device=cuda"), run.err
    assert "was not looked at" not in run.err


def test_an_export_is_imported_again(harness: Harness, tmp_path: Path) -> None:
    export = harness("export", "dynamic_profile", "profiler=level2", "profiler.ranks=[0,1]")
    (tmp_path / "profiler_config.json").write_text(export.out)
    run = harness("import", "profiler_config.json")
    assert (run.code, run.out) == (
        0,
        "device=npu profiler=level2 'profiler.ranks=[0,1]'\n",
    )
    assert run.err.startswith("read as dynamic_profile 2.13.0: profiler_config.json")


def test_a_field_without_a_counterpart_ends_in_three(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"num_steps": 4, "profile_by_stage": true}')
    run = harness("import", "body.json", "device=npu")
    assert run.code == 3
    assert run.out.startswith("device=npu profiler=sglang")
    assert "profile_by_stage=true: separate captures of prefill and decode" in run.err
    no_file = harness("import", "none.json")
    assert no_file.code == 2
    assert "none.json: it cannot be read: No such file or directory" in no_file.err
    setting = harness("import", "body.json", "profiler=level1")
    assert setting.code == 2
    assert "import takes device alone" in setting.err
