"""``harness doctor`` on the machine at hand, and on what was done to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.doctor.diagnose import ALL, CHECKS, Diagnosis
from tests.conftest import Harness, Run, environment

NVIDIA, ASCEND = Path("/proc/driver/nvidia"), Path("/usr/local/Ascend")


def diagnosis(run: Run) -> Diagnosis:
    return msgspec.json.decode(run.out, type=Diagnosis)


def test_this_machine_can_run_on_its_cpu(harness: Harness) -> None:
    run = harness("doctor", "device=cpu")
    assert run.code == 0, run.out
    assert "This machine, for cpu" in run.out
    assert "cpu: no obstacle" in run.out
    assert "\x1b" not in run.out + run.err
    assert list(run.folder.iterdir()) == []


@pytest.mark.skipif(NVIDIA.exists(), reason="there may be an NVIDIA GPU")
def test_without_a_gpu_the_driver_is_in_the_way(harness: Harness) -> None:
    run = harness("device=cuda", "--json", "doctor")
    found = diagnosis(run)
    assert run.code == found.exit_code == 4
    assert {"nvidia driver", "gpus"} <= set(found.lacks["cuda"])
    assert [each.name for each in found.findings] == [
        check.name for check in CHECKS if "cuda" in check.devices
    ]


@pytest.mark.skipif(ASCEND.exists(), reason="there may be an NPU")
def test_without_an_npu_it_says_what_is_missing(harness: Harness) -> None:
    run = harness("doctor", "device=npu")
    assert run.code == 4
    for text in (
        "libascendcl.so: cannot open shared object file",
        "no /dev/davinci0",
        "neither ASCEND_HOME_PATH nor ASCEND_TOOLKIT_HOME is set",
        "npu: obstacles: ",
        "run an NPU profile without an NPU: python -m harness rehearse",
    ):
        assert text in " ".join(run.out.split()), text
    assert list(run.folder.iterdir()) == []


def test_without_a_device_all_lines_are_shown_and_the_cpu_decides(harness: Harness) -> None:
    run = harness("doctor", "--json")
    found = diagnosis(run)
    assert run.code == 0
    assert [each.name for each in found.findings] == [check.name for check in CHECKS]
    assert set(found.lacks) == set(ALL)
    assert found.lacks["cpu"] == ()
    assert list(run.folder.iterdir()) == []


def test_torch_that_kills_its_process_is_a_line(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "broken" / "torch.py"
    fake.parent.mkdir()
    fake.write_text("import os\nos.kill(os.getpid(), 9)\n", encoding="utf-8")
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(fake.parent), before))))
    run = harness("doctor", "device=cpu", "--json")
    assert run.code == 4
    found = diagnosis(run)
    assert found.lacks == {"cpu": ("torch", "kineto")}
    (torch,) = [each for each in found.findings if each.name == "torch"]
    assert torch.says.endswith("cannot be imported: it died of signal 9 (Killed)")


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["doctor", "device=gpu"], ["device=gpu: there is no such device", "fix: device=cuda"]),
        (["doctor", "workload.batch=4"], ["workload.batch=4: doctor checks the machine"]),
        (
            ["check", "--json"],
            ["--json: check does not take this flag; it belongs to compare, doctor"],
        ),
        (
            ["--json", "workload=mlp"],
            ["--json: a run does not take this flag"],
        ),
    ],
)
def test_what_it_does_not_know_is_refused(
    harness: Harness, words: list[str], texts: list[str]
) -> None:
    run = harness(*words)
    assert run.code == 2
    assert run.out == ""
    for text in texts:
        assert text in run.err


def test_torch_is_not_imported_by_the_parent(tmp_path: Path) -> None:
    code = (
        "import sys; from harness.cli.main import main\n"
        "try: main()\n"
        "finally: print('TORCH' if 'torch' in sys.modules else 'NO-TORCH')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "This machine, for any device" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "NO-TORCH"
