"""A program of the user's, after ``--``: it runs as it would alone; its own steps are recorded."""

from __future__ import annotations

import hashlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Harness, Run, command, environment

FEW = ("workload.warmup_steps=1", "profiler.baseline.steps=1")
"""With the schedule's default, six steps: warm-up, baseline, profiler warm-up, three recorded."""
TRAIN = """
import sys
import torch

print("words", sys.argv, __name__, sys.path[0])
model = torch.nn.Linear(6, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

def train_step(size):
    optimizer.zero_grad()
    model(torch.ones(size, 6)).sum().backward()
    optimizer.step()

def main(steps):
    for _ in range(steps):
        train_step(4)
    print("trained", steps)

if __name__ == "__main__":
    main(int(sys.argv[1]))
"""
MARKS = """
import sys
import harness, torch

layer = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
for step in range(int(sys.argv[1])):
    for part in range(2):
        with harness.stage("forward"):
            loss = layer(torch.ones(2, 4)).sum()
        loss.backward()
        optimizer.step()
    harness.step()
"""
LATE = """
import harness, torch

layer = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
for step in range(6):
    layer(torch.ones(2, 4)).sum().backward()
    optimizer.step()
for step in range(7):
    torch.relu(torch.ones(2, 4))
    harness.step()
"""
LOADER = """
import torch
from torch.utils.data import DataLoader, TensorDataset

train, test = TensorDataset(torch.randn(32, 4)), TensorDataset(torch.randn(8, 4))
for epoch in range(3):
    for (batch,) in DataLoader(train, batch_size=8):
        torch.relu(batch)
    for (batch,) in DataLoader(test, batch_size=2):
        torch.sigmoid(batch)
print(input())
"""
ENDS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
import torch

def step():
    torch.ones(2).add(1)

def raises():
    raise ValueError("no such batch")

def away():
    os.chdir("/")
    raises()

def hook():
    sys.excepthook = lambda *_: sys.exit(5)
    raises()

def bad_hook():
    sys.excepthook = lambda *_: 1 / 0
    raises()

def closed():
    sys.stdout.close()
    sys.stderr.close()
    sys.exit("unheard")

def pool():
    global executor
    executor = ThreadPoolExecutor(1)
    executor.submit(print, "in the pool")

for _ in range(4):
    step()
{"exit": lambda: sys.exit(3), "words": lambda: sys.exit("bad luck"), "raise": raises,
 "os": lambda: os._exit(7), "fork": lambda: os.fork(),
 "wait": lambda: os.waitpid(pid, 0) if (pid := os.fork()) else sys.exit(), "none": lambda: None,
 "away": away, "hook": hook, "bad_hook": bad_hook, "closed": closed, "pool": pool}[sys.argv[1]]()
"""


RANKS = """
import multiprocessing, sys
import torch

def work():
    weight = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(9):
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()

if __name__ == "__main__":
    process = multiprocessing.get_context(sys.argv[1]).Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
"""
COMPILED = """
import sys
import harness, torch

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, data):
        with harness.stage("forward"):
            return self.layer(data)

model = Model()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
compiled = torch.compile(model, backend="eager", fullgraph=True)
update = torch.compile(optimizer.step, backend="eager")
for step in range(7):
    compiled(torch.ones(2, 4)).sum().backward()
    update()
    if sys.argv[1] == "marks":
        harness.step()
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, text in (("train", TRAIN), ("marks", MARKS), ("loader", LOADER), ("ends", ENDS)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def adds(run: Run, name: str = "aten::addmm") -> dict[int, int]:
    operators = run.table("operators").filter(name=name)
    return dict(operators.group_by("step").len().sort("step").rows())


@pytest.mark.usefixtures("programs")
def test_a_script_runs_as_it_would_alone(harness: Harness) -> None:
    run = harness(*FEW, "--", "train.py", "9", "--lr", "1e-3")
    assert run.code == 0, run.err
    alone = subprocess.run(
        [sys.executable, "train.py", "9", "--lr", "1e-3"],
        capture_output=True,
        text=True,
        check=True,
        cwd=run.folder,
        env=environment() | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
    )
    assert run.out.startswith(alone.stdout)
    assert adds(run) == adds(run, "Optimizer.step#SGD.step") == {1: 1, 2: 1, 3: 1}
    assert "9 --lr 1e-3 on cpu" in run.out
    log = (run.latest / "harness.log").read_text().splitlines(keepends=True)
    assert alone.stdout == "".join(line for line in log if not line.startswith("USDT:"))


def test_what_ran_is_recorded(harness: Harness, programs: Path) -> None:
    git = ("git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(programs))
    for words in (("init", "-q"), ("add", "train.py"), ("commit", "-qm", "one")):
        subprocess.run([*git, *words], check=True)
    (programs / "train.py").write_text(TRAIN + "\n")
    run = harness(*FEW, "--", "train.py", "9")
    program = run.record.program
    assert program is not None
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert program.sha256 == hashlib.sha256((TRAIN + "\n").encode()).hexdigest()
    assert (program.source, program.args, program.folder) == ("train.py", ("9",), str(programs))
    assert (program.commit, program.is_changed) == (head.stdout.strip(), True)
    assert (program.exit_code, program.steps) == (0, 6)


@pytest.mark.usefixtures("programs")
def test_a_module_and_its_function_are_found(harness: Harness) -> None:
    run = harness(*FEW, "workload.step=train:train_step", "--", "-m", "train", "9")
    assert run.code == 2
    assert "train itself runs as __main__, and its functions are not counted" in run.err
    (run.folder / "uses.py").write_text(
        "import atexit, pickle, train\n\nclass Kept: pass\n\ntrain.main(9)\n"
        "atexit.register(lambda: pickle.dumps(Kept()) and print('kept to the end'))\n"
    )
    run = harness(*FEW, "workload.step=train:train_step", "--", "-m", "uses")
    assert run.code == 0, run.err
    assert adds(run) == {1: 1, 2: 1, 3: 1}
    assert "kept to the end" in run.out
    run = harness(*FEW, "workload.step=trains:train_step", "--", "-m", "uses")
    assert run.code == 3
    assert "trains was never imported" in " ".join(run.out.split())
    run = harness(*FEW, "workload.step=train:no", "--", "-m", "uses")
    assert run.code == 3
    assert "train.py has no no; " in " ".join(run.out.split())


@pytest.mark.usefixtures("programs")
def test_a_function_of_the_script_is_counted(harness: Harness) -> None:
    run = harness(*FEW, "workload.step=__main__:train_step", "--", "train.py", "6")
    assert (run.code, adds(run)) == (0, {1: 1, 2: 1, 3: 1})
    operators = run.table("operators")
    # The whole call is the step, with its optimizer's part.
    assert operators.filter(name="Optimizer.step#SGD.step")["step"].to_list() == [1, 2, 3]


def test_what_came_before_the_first_mark_is_forgotten(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    run = harness(*FEW, "--", "late.py")
    assert run.code == 0, run.err
    operators = run.table("operators")
    assert operators.filter(name="aten::addmm").is_empty()
    assert adds(run, "aten::relu") == {1: 1, 2: 1, 3: 1}
    assert [path.name for path in sorted((run.latest / "raw").iterdir())] == ["trace.json.gz"]


@pytest.mark.usefixtures("programs")
def test_the_programs_own_marks_come_before_its_optimizers_steps(harness: Harness) -> None:
    run = harness(*FEW, "--", "marks.py", "7")
    assert run.code == 0, run.err
    # Between two calls of harness.step() there are two steps of the optimizer.
    assert adds(run) == {1: 2, 2: 2, 3: 2}
    forward = run.table("operators").filter(name="aten::addmm")["stage"].unique().to_list()
    assert forward == ["forward"]


def test_what_is_compiled_may_hold_stages_and_steps(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "compiled.py").write_text(COMPILED)
    run = harness(*FEW, "--", "compiled.py", "marks")
    assert run.code == 0, run.err
    run = harness(*FEW, "--", "compiled.py", "none")
    assert (run.code, adds(run)) == (0, {1: 1, 2: 1, 3: 1})


@pytest.mark.usefixtures("programs")
def test_batches_of_the_first_loader_are_steps_and_stdin_is_the_programs(tmp_path: Path) -> None:
    done = subprocess.run(
        command(*FEW, "workload.step=dataloader", "--", "loader.py"),
        input="from outside\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
    )
    run = Run(done.returncode, done.stdout, done.stderr, tmp_path)
    assert run.code == 0, run.err
    assert run.out.startswith("from outside\n")
    # Four batches an epoch; those of the other loader lie in no step.
    assert adds(run, "aten::relu") == {1: 1, 2: 1, 3: 1}
    assert adds(run, "aten::sigmoid").keys() <= {None}


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("after", ["continue", "stop"])
def test_a_whole_program_is_one_window(harness: Harness, after: str) -> None:
    run = harness("workload.step=whole", f"workload.after={after}", "--", "train.py", "5")
    assert run.code == 0, run.err
    assert adds(run) == {0: 5}
    assert "won't be using warmup" not in run.err


def test_a_window_over_a_whole_program_has_an_end(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text(
        "import time, torch\nbegin = time.monotonic()\n"
        "while time.monotonic() - begin < 2.5: torch.ones(2).add(1); time.sleep(0.01)\n"
        "print('to its end')\n"
    )
    run = harness("workload.step=whole", "profiler.max_seconds=0.5", "--", "long.py")
    assert run.code == 0, run.err
    assert "to its end" in run.out
    assert "ended after profiler.max_seconds=0.5; the program went on" in " ".join(run.out.split())
    assert 10 < run.table("operators").filter(name="aten::add").height < 100


@pytest.mark.usefixtures("programs")
def test_too_few_steps_are_said(harness: Harness) -> None:
    run = harness(*FEW, "--", "train.py", "5")
    assert run.code == 3
    text = " ".join(run.out.split())
    assert "the program made 4 whole steps (steps of SGD, from one to the next)" in text
    assert "the schedule needs 6 with warm-up and baseline" in text


@pytest.mark.usefixtures("programs")
def test_a_program_without_steps_is_told_what_to_set(harness: Harness) -> None:
    run = harness(*FEW, "--", "ends.py", "none")
    assert run.code == 3
    text = " ".join(run.out.split())
    assert "neither an optimizer nor harness.step() made a step" in text
    assert "workload.step=whole records the program as one step" in text
    assert "processes of its own" not in text


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_program_whose_processes_do_the_work_is_told_how_to_record_them(
    harness: Harness, tmp_path: Path, method: str
) -> None:
    (tmp_path / "ranks.py").write_text(RANKS)
    run = harness("--", "ranks.py", method)
    assert run.code == 3, run.err
    text = " ".join(run.out.split())
    assert "the program started processes of its own, where nothing is recorded" in text
    assert "execution=torchrun starts them; or write harness.profile() into each" in text


@pytest.mark.usefixtures("programs")
def test_a_program_can_be_stopped_after_the_last_step(harness: Harness) -> None:
    run = harness(*FEW, "workload.after=stop", "--", "train.py", "100000000")
    assert (run.code, adds(run)) == (0, {1: 1, 2: 1, 3: 1})
    assert "trained" not in run.out


@pytest.mark.parametrize(
    ("way", "code", "reason", "shown"),
    [
        ("exit", 1, "the program ended with exit code 3", ""),
        ("words", 1, "the program ended with exit code 1", "bad luck\n"),
        ("raise", 1, "the program raised ValueError: no such batch", "line 10, in raises\n"),
        ("away", 1, "the program raised ValueError: no such batch", 'ValueError("no such batch")'),
        ("hook", 1, "the program raised ValueError: no such batch", ""),
        ("bad_hook", 1, "the program raised ValueError: no such batch", "ZeroDivisionError"),
        ("closed", 1, "the program ended with exit code 1", ""),
        ("pool", 0, "", ""),
        ("os", 1, "the child process exited with code 7 before it could report", ""),
        ("fork", 0, "", ""),
        ("wait", 0, "", ""),
    ],
)
@pytest.mark.usefixtures("programs")
def test_however_a_program_ends_its_steps_are_kept(
    harness: Harness, way: str, code: int, reason: str, shown: str
) -> None:
    settings = ("workload.warmup_steps=0", "profiler.baseline.steps=0")
    run = harness(*settings, "workload.step=__main__:step", "--", "ends.py", way)
    assert (run.code, run.record.reason) == (code, reason)
    assert shown in run.err
    assert "main_module.py" not in run.err
    assert adds(run, "aten::add") == {1: 1, 2: 1, 3: 1}


def test_a_terminal_stays_a_terminal(programs: Path) -> None:
    (programs / "asks.py").write_text(
        "import os, sys\nprint([os.isatty(n) for n in range(3)], os.get_terminal_size().columns)\n"
    )
    ours, theirs = pty.openpty()
    words = command("workload.step=whole", "--", "asks.py")
    process = subprocess.Popen(
        words, cwd=programs, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert process.wait() == 3
    assert b"[True, True, True] 80" in shown or b"[True, True, True] 0" in shown
    assert b"the program never imported torch" in b" ".join(shown.split())


@pytest.mark.usefixtures("programs")
def test_a_sweep_runs_a_program_once_a_job(harness: Harness) -> None:
    sweep = "workload.args=['6'],['7']"
    run = harness("-m", *FEW, "workload.step=__main__:train_step", sweep, "--", "train.py")
    assert run.code == 0, run.err
    assert (run.out.count("trained 6"), run.out.count("trained 7")) == (1, 1)
    (run.folder / "train.py").write_text(TRAIN.replace("trained", "taught"))
    again = harness("-m", *FEW, "workload.step=__main__:train_step", sweep, "--", "train.py")
    # Another file is another measurement, though the settings are the same.
    assert again.out.count("taught") == 2


@pytest.mark.parametrize(
    ("words", "setting", "fix"),
    [
        (("--", "no.py"), "workload.script=no.py", "name a Python file, or -m MODULE"),
        (("--", "python", "a.py", "1"), "workload.script=python", "-- a.py 1"),
        (
            ("--", "torchrun", "--nproc-per-node", "2", "a.py", "1"),
            "workload.script=torchrun",
            "python -m harness execution=torchrun execution.nproc=2 [settings] -- a.py 1",
        ),
        (("--", "a.ipynb"), "workload.script=a.ipynb", "jupyter nbconvert --to script a.ipynb"),
        (("--",), "--", "-- train.py --lr 1e-3, or -- -m package.train"),
        (("doctor", "--", "a.py"), "--", "leave out -- and what follows it"),
        (("workload=mlp", "--", "a.py"), "workload=mlp", "keep one of them"),
        (("workload.step=epoch", "--", "a.py"), "workload.step=epoch", "one of auto, optimizer"),
        (
            ("workload.step=__main__:no", "--", "a.py"),
            "a.py defines no function no at its top level",
            "__main__:function",
        ),
        (("execution=inline", "--", "a.py"), "execution=inline", "execution=isolated"),
    ],
)
def test_what_cannot_run_is_refused(
    harness: Harness, tmp_path: Path, words: tuple[str, ...], setting: str, fix: str
) -> None:
    for name in ("a.py", "a.ipynb"):
        (tmp_path / name).write_text("")
    run = harness(*words)
    assert run.code == 2
    assert setting in run.err
    assert fix in run.err
    assert not (tmp_path / "outputs").exists()
