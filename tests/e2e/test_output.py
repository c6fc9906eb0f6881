"""Whatever becomes of what is printed: the exit code stays, nothing is lost, no traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import LIMIT_S, TINY_MATMUL, USER_MODULE, command, environment, read_record

RUN = ("device=cpu", "profiler=level0", *TINY_MATMUL)


def shell(folder: Path, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which $HARNESS is the command; PIPESTATUS is there."""
    words = command()
    return subprocess.run(
        ["bash", "-c", line, "bash", *words],
        cwd=folder,
        env=environment() | variables,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize(
    "redirection",
    [">/dev/full", ">/dev/full 2>/dev/full", ">&-", "2>&-", "<&- >&- 2>&-", "| head -1", "| true"],
)
def test_a_run_is_delivered_whoever_reads(tmp_path: Path, redirection: str) -> None:
    done = shell(
        tmp_path, f'"$@" {" ".join(map(repr, RUN))} {redirection}; exit ${{PIPESTATUS[0]}}'
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    folder = tmp_path / "outputs" / "latest"
    assert read_record(folder).verdict == "delivered"
    assert "Delivery" in (folder / "summary.md").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("help", 0),
        ("--version", 0),
        ("check profiler=level0", 0),
        ("--cfg job", 0),
        ("--info defaults", 0),
        ("nonsense=1", 2),
        ("read /nowhere", 2),
    ],
)
@pytest.mark.parametrize("redirection", [">/dev/full 2>&1", ">&- 2>&-", "2>&1 | true"])
def test_an_answer_that_nobody_reads_has_its_exit_code(
    tmp_path: Path, words: str, code: int, redirection: str
) -> None:
    done = shell(tmp_path, f'"$@" {words} {redirection}; exit ${{PIPESTATUS[0]}}')
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_an_encoding_that_lacks_signs_gets_others(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    source = "def prints(device, dtype, seed):\n    print('µ → ✓ 漢')\n    return lambda: None\n"
    (tmp_path / f"{USER_MODULE}.py").write_text(source, encoding="utf-8")
    words = ("device=cpu", "workload=callable", f"workload.target={USER_MODULE}:prints")
    done = shell(tmp_path, f'"$@" {" ".join(words)}', **variables)
    record = read_record(tmp_path / "outputs" / "latest")
    assert done.returncode == record.exit_code, done.stderr
    assert record.status == "ok", record.reason
    assert "Traceback" not in done.stderr
    assert "-> ok \\u6f22" in done.stderr
    log = (tmp_path / "outputs" / "latest" / "harness.log").read_text(encoding="utf-8")
    assert "µ → ✓ 漢" in log
